"""Customers who spend credits, and what must be true of their books whatever happened."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.catalog.customers import CustomerInput
from api.domain import keys
from api.domain.catalog import Bucket
from api.domain.decision import WindowFigure
from api.gates.held import Whose
from api.ledger.checks import balance_mismatch, ledger_sum_mismatch
from api.ledger.entries import Why
from api.ledger.grants import NewGrant, give
from api.ledger.holds import HoldState
from api.wiring import Core
from tests.support.gate import ms

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.chat]
name = "Chats"
kind = "metered"
replay_seconds = 86400

[features.claim]
name = "Claims"
kind = "metered"
replay_seconds = 86400

[costs.chat]
credits = 2

[costs.claim]
credits = 5

[plans.free]
name = "Free"
[plans.free.features]
chat.month = { units = 3, overage = "credits" }
chat.year = 40
claim = "unlimited"
"""
"""``chat``: 3 a month are included, the others cost 2 each, and 40 a year are the most.
``claim``: credits alone, and no counter."""

DEADLINE = timedelta(minutes=3)
"""Past the time for which units may be pending."""
ACTOR = "test"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Books:
    """What the record says of one customer."""

    units: int
    charged: int
    available: int
    held: int
    spent: int
    operations: int


async def grant(
    core: Core,
    customer: str,
    units: int,
    at: datetime,
    *,
    expires_at: datetime | None = None,
    priority: int = 100,
) -> int:
    """Give credits; return the grant's id."""
    number = next(_numbers)
    new = NewGrant(
        customer_id=await core.holders.number(customer),
        source=f"test:{number}",
        bucket=Bucket.PERMANENT,
        priority=priority,
        units=units,
        effective_at=at,
        why=Why(f"~test:{number}", "a test", ACTOR),
        expires_at=expires_at,
    )
    async with core.database.transaction() as conn:
        [made] = await give(conn, [new], at)
    assert made is not None
    return made


async def newcomer(core: Core, credits_: int, at: datetime) -> str:
    """Make a customer with so many credits; return its key."""
    customer = f"c{next(_numbers)}"
    await core.changes.upsert_customer(CustomerInput(customer), at, ACTOR)
    if credits_:
        await grant(core, customer, credits_, at)
    return customer


def whose(customer: str, hold_id: str, at: datetime, key: str | None = None) -> Whose:
    """Return which hold is meant, asked for at this instant."""
    return Whose(customer, hold_id, key, ms(at), ACTOR)


async def books(core: Core, customer: str, feature: str = "chat") -> Books:
    """Read what the record says of one customer, of one feature's usage."""
    number = await core.holders.number(customer)
    usage = await core.database.fetchrow(
        "select coalesce(sum(e.units), 0)::bigint as units,"
        " coalesce(sum(e.charged), 0)::bigint as charged from usage_events e"
        " join features f on f.id = e.feature_id where e.customer_id = $1 and f.key = $2",
        number,
        feature,
    )
    credits_ = await core.database.fetchrow(
        "select coalesce(sum(amount) filter (where account = 'available'), 0)::bigint as available,"
        " coalesce(sum(amount) filter (where account = 'held'), 0)::bigint as held,"
        " coalesce(sum(amount) filter (where account = 'spent'), 0)::bigint as spent"
        " from credit_postings where customer_id = $1",
        number,
    )
    operations = await core.database.fetchval(
        "select count(*) from credit_operations where customer_id = $1 and kind in"
        " ('consume', 'hold')",
        number,
    )
    assert usage is not None
    assert credits_ is not None
    return Books(
        usage["units"],
        usage["charged"],
        credits_["available"],
        credits_["held"],
        credits_["spent"],
        operations,
    )


async def figures(
    core: Core, customer: str, at: datetime, feature: str = "chat"
) -> tuple[WindowFigure, ...]:
    """Return a feature's windows as the gate shows them."""
    found = (await core.gate.figures(customer, [feature], ms(at)))[feature]
    assert found is not None
    return found


async def standing(
    core: Core, customer: str, at: datetime, feature: str = "chat"
) -> list[tuple[int, int]]:
    """Return (used, held) of each window of a feature."""
    return [(w.used, w.held) for w in await figures(core, customer, at, feature)]


async def drain(core: Core) -> None:
    """Bring everything that was counted to the record."""
    await core.door.command("PING")
    while await core.drainer.drain(range(keys.SHARDS)):
        pass


async def work(core: Core, at: datetime) -> None:
    """Take the turns of a worker until nothing is left to do."""
    await drain(core)
    while await core.holding.expire(at):
        pass
    while await core.holding.tell_again():
        pass
    while await core.deadlines.turn(at):
        pass
    await drain(core)


async def agree(core: Core, customer: str, at: datetime, *, pending: int = 0) -> None:
    """Hold counters, record and ledger against each other."""
    number = await core.holders.number(customer)
    # Asked first, so that counters are there to be compared, by the newest rights.
    await figures(core, customer, at)
    snapshot = await core.holders.publish_key(customer, at)
    await figures(core, customer, at)
    assert await core.drift.compare(customer, snapshot, at) == ()
    assert await balance_mismatch(core.database, at, number) == []
    assert await ledger_sum_mismatch(core.database, number) == []
    # One that was decided while the journal was read stands there until its deadline, and is then
    # forgotten: it waits for nothing.
    waiting = await core.database.fetchval(
        "select count(*) from credit_pending p where p.customer_id = $1 and p.state = 'open' and"
        " not exists (select from credit_operations o where o.customer_id = p.customer_id"
        " and o.attempt_id = p.attempt_id)",
        number,
    )
    assert waiting == pending
    # What is held is shown as such, the same by counters and record.
    holds = await core.holding.list_(customer, 100, state=HoldState.OPEN)
    assert all(hold.record.held > 0 for hold in holds)
    held = sum(hold.record.held_credits for hold in holds)
    assert (await books(core, customer)).held == held
    caps = [w for w in await figures(core, customer, at) if not w.overage]
    chats = [hold.record for hold in holds if hold.feature == "chat" and hold.record.counted]
    assert all(
        w.held
        == sum(r.held for r in chats if w.starts_at_s is None or r.at.timestamp() >= w.starts_at_s)
        for w in caps
    )
