"""A core whose calls stop between the counters and the decision, as a process that dies does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from api.domain import keys
from api.domain.admission import Action
from api.domain.catalog import Bucket
from api.domain.decision import WindowFigure
from api.infra.clock import Clock
from api.ledger import grants
from api.ledger.charges import Charge, ChargedItem, Charges, HoldTerms, Outcome
from api.ledger.entries import Why
from api.ledger.grants import NewGrant
from api.metering.counters import Counters, Operation, Reply, Verdict, pending_answer
from api.metering.undo import Undo
from api.wiring import Core
from tests.support.gate import ms, opened

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.chat]
name = "Chats"
kind = "metered"

[costs.chat]
credits = 1

[plans.free.features]
chat.day = { units = 3, overage = "credits" }
chat.month = 100
"""
SHARD = keys.shard_of("acme")


@dataclass
class Attempt:
    """What the counters let pass, and nobody has decided."""

    operation: Operation
    reply: Reply
    epoch: int


@dataclass
class Halfway:
    """Customer ``acme``, whose plan includes 3 chats a day; it may use 100 a month, for credits."""

    core: Core
    counters: Counters
    charges: Charges
    customer_id: int
    feature_id: int
    numbers: Any = field(default_factory=lambda: count(1))

    async def give(self, units: int, at: datetime) -> None:
        number = next(self.numbers)
        new = NewGrant(
            self.customer_id,
            f"test:{number}",
            Bucket.PERMANENT,
            100,
            units,
            at,
            Why(f"~test:{number}", "a test", "test"),
        )
        async with self.core.database.transaction() as conn:
            await grants.give(conn, [new], at)

    async def pend(
        self, units: int, at: datetime, key: str | None = None, *, hold: bool = False
    ) -> Attempt:
        """Have the counters let ``units`` pass, and go no further."""
        await self.figures(at)
        attempt = f"~t{next(self.numbers)}"
        operation = Operation(
            Action.HOLD if hold else Action.PEND,
            "acme",
            key or attempt,
            [(self.feature_id, units)],
            f"chat:{units}" if key else "",
            600_000,
            600_000,
            attempt,
            [True],
        )
        epoch = self.core.door.epoch(SHARD)
        reply = await self.counters.admit(operation, ms(at))
        assert reply.verdict is Verdict.PENDING
        return Attempt(operation, reply, epoch)

    async def decide(self, made: Attempt, *, until: datetime | None = None) -> Outcome:
        """Have the record decide, as the gate does."""
        return (await self.charges.decide(self.charge(made, until=until))).outcome

    def charge(self, made: Attempt, *, until: datetime | None = None) -> Charge:
        """Return what the record is to decide."""
        at = datetime.fromtimestamp(made.reply.at_ms / 1000, self.core.clock.now().tzinfo)
        ((_, units),) = made.operation.items
        (charged,) = made.reply.charged
        return Charge(
            customer_id=self.customer_id,
            operation_id=made.operation.operation_id,
            attempt=made.reply.attempt,
            at=at,
            fingerprint=made.operation.fingerprint or "own",
            expires_at=at + timedelta(minutes=10),
            answer=pending_answer(made.reply),
            items=[ChargedItem(self.feature_id, units, charged, charged)],
            reason="test",
            actor="test",
            shard=SHARD,
            epoch=made.epoch,
            hold=None if until is None else HoldTerms(until, None),
        )

    async def undo(self, made: Attempt) -> None:
        await Undo(self.core.door).undo(
            "acme",
            made.operation.operation_id,
            made.reply,
            made.operation.items,
            held=made.operation.action is Action.HOLD,
        )

    async def drain(self) -> None:
        while await self.core.drainer.drain([SHARD]):
            pass

    async def lose_counters(self) -> None:
        await self.core.door.command("FLUSHALL")

    async def figures(self, at: datetime) -> tuple[WindowFigure, ...]:
        windows = (await self.core.gate.figures("acme", ["chat"], ms(at)))["chat"]
        assert windows is not None
        return windows

    async def used(self, at: datetime) -> list[int]:
        """Return what is used of the day's included chats, and in the month."""
        return [window.used for window in await self.figures(at)]

    async def held(self, at: datetime) -> list[int]:
        return [window.held for window in await self.figures(at)]

    async def recorded(self) -> tuple[int, int]:
        """Return what the record has counted, and what of it credits paid for."""
        row = await self.core.database.fetchrow(
            "select coalesce(sum(units), 0) as units, coalesce(sum(charged), 0) as charged"
            " from usage_totals"
        )
        assert row is not None
        return int(row["units"]), int(row["charged"])

    async def pending(self) -> list[tuple[str, str]]:
        rows = await self.core.database.fetch("select attempt_id, state from credit_pending")
        return [(row["attempt_id"], row["state"]) for row in rows]


@asynccontextmanager
async def halfway(database_url: str, redis_url: str, clock: Clock) -> AsyncGenerator[Halfway]:
    """Open a core for such calls."""
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield Halfway(
            core,
            Counters(core.door, journal_max=10_000, max_skew_ms=0),
            Charges(core.database, core.partitions.ensure),
            await core.database.fetchval("select id from customers where key = 'acme'"),
            core.revisions.newest.feature_ids["chat"],
        )
