"""Ledgers in PostgreSQL beside their models: what is asked of both, and whether they agree."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple, TypeVar

from api.domain.catalog import Bucket, CreditCost, Rounding
from api.domain.credits import Grant, cost_of
from api.domain.errors import InvalidInput
from api.domain.holds import Change as ModelChange
from api.domain.holds import Hold, Item, Verdict
from api.domain.ledger import Ledger, Operation, Paid
from api.infra.postgres import Connection, Database
from api.ledger import adjusting, grants, returns, standing
from api.ledger.charges import Charge, ChargedItem, Charges, Decided, HoldTerms
from api.ledger.checks import balance_mismatch, ledger_sum_mismatch
from api.ledger.entries import Why
from api.ledger.expiry import expire
from api.ledger.holds import Change, HoldRecord, Holds, Resolution, Told
from tests.support.clock import FakeClock

FEATURES = ("chat", "search")
COSTS = (
    CreditCost("", 1),
    CreditCost("", 3, per=7),
    CreditCost("", 10, per=4, rounding=Rounding.DOWN, minimum=2),
    CreditCost("", 5, per=3, rounding=Rounding.NEAREST, minimum=1),
)
REPLAYED_FOR = timedelta(hours=1)
T = TypeVar("T")


class Asked(NamedTuple):
    """A charge or hold, without its time, so that it can be asked again.

    ``uses`` are feature, units, and how many of them the plan includes; a hold takes the first.
    """

    customer: int
    key: str | None
    uses: tuple[tuple[int, int, int], ...]
    cost: int
    hold_minutes: int | None

    @property
    def items(self) -> list[Item]:
        uses = self.uses[:1] if self.hold_minutes is not None else self.uses
        return [
            Item(FEATURES[feature], units, charged, cost_of(COSTS[self.cost], charged))
            for feature, units, included in uses
            for charged in [max(0, units - included)]
        ]


class Turned(NamedTuple):
    """A change of the ``pick``-th newest hold, likewise; a ``stranger`` has no such hold."""

    key: str | None
    pick: int
    stranger: bool
    resolution: Resolution
    units: int | None = None
    final: bool = True
    minutes: int = 0


class Given(NamedTuple):
    """A grant to be given; minutes count from now."""

    customer: int
    source: str
    units: int
    bucket: Bucket
    priority: int
    starts: int
    lasts: int | None
    features: tuple[str, ...] | None


@dataclass
class TwinLedgers:
    """Two customers. Each method asks the record and the model, and compares their answers."""

    database: Database
    clock: FakeClock
    ids: Sequence[int]
    features: dict[str, int]
    charges: Charges
    numbers: count[int]
    models: tuple[Ledger, Ledger] = field(default_factory=lambda: (Ledger(), Ledger()))
    holds: list[tuple[int, str]] = field(default_factory=list)
    spent: list[tuple[int, str, Item]] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.record_of_holds = Holds(self.database)

    @property
    def at(self) -> datetime:
        return self.clock.now()

    def fresh(self) -> str:
        return f"~{next(self.numbers)}"

    def later(self, minutes: int) -> datetime:
        return self.at + timedelta(minutes=minutes)

    def operation(self, one: Asked | Turned, own: str) -> Operation:
        return Operation(one.key or own, repr(one), self.at, self.at + REPLAYED_FOR)

    async def inside(self, write: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        async with self.database.transaction() as conn:
            return await write(conn)

    async def give(self, given: Given) -> None:
        starts = self.later(given.starts)
        ends = None if given.lasts is None else starts + timedelta(minutes=given.lasts)
        pays_for = given.features
        new = grants.NewGrant(
            customer_id=self.ids[given.customer],
            source=given.source,
            bucket=given.bucket,
            priority=given.priority,
            units=given.units,
            effective_at=starts,
            why=why(given.source),
            expires_at=ends,
            features=None if pays_for is None else frozenset(self.features[f] for f in pays_for),
        )
        [number] = await self.inside(lambda conn: grants.give(conn, [new], self.at))
        grant = Grant(
            id=number or -1,
            bucket=given.bucket,
            priority=given.priority,
            effective_at=starts,
            created_at=self.at,
            expires_at=ends,
            features=None if pays_for is None else frozenset(pays_for),
        )
        done = self.models[given.customer].give(grant, given.source, given.units)
        assert done is (number is not None)

    async def charge(self, batch: Sequence[Asked]) -> None:
        attempts = [self.fresh() for _ in batch]
        told = await asyncio.gather(
            *(
                self.charges.decide(self._charge(one, attempt))
                for one, attempt in zip(batch, attempts, strict=True)
            )
        )
        for place in turns([one.key and (one.customer, one.key) for one in batch]):
            self._charged_alike(batch[place], attempts[place], told[place])

    def _charge(self, one: Asked, attempt: str) -> Charge:
        operation = self.operation(one, attempt)
        terms = None
        if one.hold_minutes is not None:
            terms = HoldTerms(self.later(one.hold_minutes), COSTS[one.cost])
        return Charge(
            customer_id=self.ids[one.customer],
            operation_id=operation.id,
            attempt=attempt,
            at=operation.at,
            fingerprint=operation.fingerprint,
            expires_at=operation.expires_at,
            answer=attempt.encode(),
            items=[ChargedItem(self.features[item.feature], *item[1:]) for item in one.items],
            reason="used",
            actor="test",
            hold=terms,
        )

    def _charged_alike(self, one: Asked, attempt: str, told: Decided) -> None:
        terms = None
        if one.hold_minutes is not None:
            terms = self.later(one.hold_minutes), COSTS[one.cost]
        ledger = self.models[one.customer]
        decision = ledger.charge(self.operation(one, attempt), attempt, one.items, terms)
        self.seen[f"{'charge' if terms is None else 'hold'}: {decision.verdict.name}"] += 1
        names = {number: key for key, number in self.features.items()}
        paid = tuple(Paid(names[p.feature_id], Bucket(p.bucket), p.credits) for p in told.paid)
        assert (told.outcome.value, told.credits, told.balance, paid) == (
            decision.verdict.value,
            decision.credits,
            decision.balance,
            decision.paid,
        )
        replayed = decision.verdict is Verdict.REPLAYED
        assert told.answer == (decision.attempt.encode() if replayed else b"")
        if decision.verdict is Verdict.DONE and terms is not None:
            self.holds.append((one.customer, attempt))
        elif decision.verdict is Verdict.DONE:
            self.spent += [(one.customer, attempt, item) for item in one.items if item.credits]

    async def change(self, batch: Sequence[Turned]) -> None:
        names = [self.fresh() for _ in batch]
        told = await asyncio.gather(
            *(
                self.record_of_holds.change(self._change(one, name))
                for one, name in zip(batch, names, strict=True)
            )
        )
        for place in turns([one.key and (self._held(one)[0], one.key) for one in batch]):
            self._changed_alike(batch[place], names[place], told[place])

    def _held(self, one: Turned) -> tuple[int, str]:
        customer, hold = self.holds[-1 - one.pick % len(self.holds)]
        return (1 - customer if one.stranger else customer), hold

    def _change(self, one: Turned, name: str) -> Change:
        operation = self.operation(one, name)
        customer, hold = self._held(one)
        return Change(
            customer_id=self.ids[customer],
            hold_id=hold,
            operation_id=operation.id,
            resolution=one.resolution,
            at=operation.at,
            fingerprint=operation.fingerprint,
            expires_at=operation.expires_at,
            reason="used",
            actor="test",
            units=one.units,
            final=one.final,
            until=self.later(one.minutes),
        )

    def _changed_alike(self, one: Turned, name: str, told: Told) -> None:
        customer, hold = self._held(one)
        kind = one.resolution.value
        change = ModelChange(kind, hold, one.units, one.final, self.later(one.minutes))
        resolved = self.models[customer].resolve(self.operation(one, name), change)
        self.seen[f"{kind}: {resolved.verdict.name}"] += 1
        assert told.outcome.value == resolved.verdict.value
        assert (told.hold and of_record(told.hold)) == (resolved.hold and of_model(resolved.hold))
        if told.outcome.value == Verdict.DONE.value and told.hold is not None:
            self.ends[hold] += told.hold.resolved_at is not None
            assert self.ends[hold] <= 1

    async def expire_holds(self) -> None:
        due = set(await self.record_of_holds.due(self.at, 1000))
        for place, (customer, hold) in enumerate(reversed(self.holds)):
            of = self.models[customer].holds[hold]
            assert (of.state == "open" and of.expires_at <= self.at) is (
                (self.ids[customer], hold) in due
            )
            if (self.ids[customer], hold) in due:
                await self.change([Turned(None, place, stranger=False, resolution=_EXPIRE)])

    async def expire_grants(self) -> None:
        await expire(self.database, self.at, 1000)
        for ledger in self.models:
            ledger.expire_grants(self.at)

    async def revoke(self, customer: int, grant: int, units: int | None) -> None:
        number, name = self.ids[customer], self.fresh()
        taken = await self.inside(
            lambda conn: grants.revoke(conn, number, grant, units, why(name), self.at)
        )
        assert taken == self.models[customer].revoke(grant, units, name)

    async def restore(self, customer: int, grant: int, units: int) -> None:
        number, name = self.ids[customer], self.fresh()
        given = await self.inside(
            lambda conn: grants.restore(conn, number, grant, units, why(name), self.at)
        )
        assert given == self.models[customer].restore(grant, units, name)

    async def take(self, customer: int, units: int) -> None:
        number, name = self.ids[customer], self.fresh()
        taken = True
        try:
            await self.inside(lambda conn: adjusting.take(conn, number, units, why(name), self.at))
        except InvalidInput:
            taken = False
        assert self.models[customer].take(units, name, self.at) is taken

    async def give_back(self, pick: int, kept: int) -> None:
        customer, attempt, item = self.spent[-1 - pick % len(self.spent)]
        of = returns.Kept(item.charged, item.charged, min(kept, item.charged))
        number, feature = self.ids[customer], self.features[item.feature]
        back = await self.inside(
            lambda conn: returns.give_back(conn, number, feature, of, why(attempt), self.at)
        )
        ledger = self.models[customer]
        assert back == ledger.give_back(attempt, item.feature, kept=of.now, charged=of.charged)

    async def agree(self) -> None:
        """Compare all there is: balances, buckets, usage, holds, entries, sums."""
        balances = await standing.balances(self.database, self.ids, self.at)
        for number, ledger in zip(self.ids, self.models, strict=True):
            await self._same_entries(number, ledger)
            assert balances[number].available == ledger.balance(self.at)
            assert {b.bucket: (b.available, b.held) for b in balances[number].buckets} == {
                bucket: in_bucket(ledger, bucket, self.at) for bucket in Bucket
            }
            rows = await self.database.fetch(
                "select f.key, b.units, b.charged from balances b"
                " join features f on f.id = b.feature_id where customer_id = $1",
                number,
            )
            usage = {(row["key"], n): row[n] for row in rows for n in ("units", "charged")}
            assert usage == ledger.usage
            rows = await self.database.fetch("select * from holds where customer_id = $1", number)
            assert {row["id"]: of_record(HoldRecord.of(row)) for row in rows} == {
                hold.id: of_model(hold) for hold in ledger.holds.values()
            }
            assert await balance_mismatch(self.database, self.at, number) == []
            assert await ledger_sum_mismatch(self.database, number) == []

    async def _same_entries(self, number: int, ledger: Ledger) -> None:
        rows = await self.database.fetch(
            "select kind, grant_id, amount from credit_entries where customer_id = $1 order by id",
            number,
        )
        assert [tuple(row) for row in rows] == [entry[:3] for entry in ledger.entries]
        self.seen.update(entry.kind for entry in ledger.entries)
        rows = await self.database.fetch(
            "select grant_id, account, sum(amount)::bigint as amount from credit_postings"
            " where customer_id = $1 group by 1, 2",
            number,
        )
        assert sum(row["amount"] for row in rows) == 0
        for row in rows:
            assert row["amount"] == ledger.account(row["grant_id"], row["account"])
            assert row["amount"] >= 0 or row["account"] == "issued"
        rows = await self.database.fetch(
            "select id, available, held from credit_grants where customer_id = $1", number
        )
        assert {(row["id"], row["available"], row["held"]) for row in rows} == {
            (g, ledger.account(g, "available"), ledger.account(g, "held")) for g in ledger.grants
        }
        aside = sum(h.item.credits - h.spent for h in ledger.holds.values() if h.state == "open")
        assert sum(row["held"] for row in rows) == aside


_EXPIRE = Resolution.EXPIRE


def why(name: str) -> Why:
    return Why(name, "a test", "test")


def turns(names: Sequence[Hashable | None]) -> list[int]:
    """Return the order in which these are decided: what has the name of another waits for it."""
    order: list[int] = []
    waiting = list(range(len(names)))
    while waiting:
        taken: set[Hashable] = set()
        later: list[int] = []
        for place in waiting:
            if names[place] is not None and names[place] in taken:
                later.append(place)
            else:
                taken.add(names[place])
                order.append(place)
        waiting = later
    return order


def in_bucket(ledger: Ledger, bucket: Bucket, at: datetime) -> tuple[int, int]:
    of = [grant for grant in ledger.grants.values() if grant.bucket is bucket]
    live = [g for g in of if g.effective_at <= at and (g.expires_at is None or at < g.expires_at)]
    return (
        sum(ledger.account(grant.id, "available") for grant in live),
        sum(ledger.account(grant.id, "held") for grant in of),
    )


def of_record(hold: HoldRecord) -> tuple[object, ...]:
    """Return what the model knows of a hold too."""
    asked = (hold.id, hold.units, hold.charged, hold.credits, hold.expires_at)
    return (*asked, hold.captured, hold.spent, hold.version, hold.state.value)


def of_model(hold: Hold) -> tuple[object, ...]:
    asked = (hold.id, hold.item.units, hold.item.charged, hold.item.credits, hold.expires_at)
    return (*asked, hold.captured, hold.spent, hold.version, hold.state)
