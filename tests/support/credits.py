"""A catalog in which things cost credits, and credits for whoever buys them."""

from api.domain.catalog import Bucket
from api.ledger.entries import Why
from api.ledger.grants import NewGrant, give
from api.wiring import Core
from tests.support.clock import FakeClock

CATALOG = """
product = "credits"

[customer_types.business]
default_plan = "free"

[features.claim]
name = "Claims"
kind = "metered"

[features.chat]
name = "Chats"
kind = "metered"

[features.calls]
name = "Calls"
kind = "metered"

[features.seats]
name = "Seats"
kind = "allocation"

[features.export]
name = "Export"
kind = "boolean"

[costs]
claim = { credits = 5 }
chat = { credits = 3, per = 10 }

[packs.small]
name = "50 credits"
credits = 50
[packs.small.prices]
small = { amount_minor = 100, currency = "usd", interval = "once" }

[packs.large]
name = "500 credits"
credits = 500
[packs.large.prices]
large = { amount_minor = 900, currency = "usd", interval = "once" }

[plans.free]
name = "Free"
[plans.free.features]
claim = "unlimited"
chat = { month = { units = 100, overage = "credits" }, day = 150 }
calls.day = 10
seats = 3
"""


async def gift(
    core: Core,
    clock: FakeClock,
    units: int,
    *,
    source: str = "gift",
    customer: str = "acme",
    bucket: Bucket = Bucket.PERMANENT,
    priority: int = 100,
) -> None:
    """Give a customer credits."""
    number = await core.holders.number(customer)
    why = Why(f"give:{source}", "a test", "local:test")
    grant = NewGrant(number, source, bucket, priority, units, clock.now(), why)
    async with core.database.transaction() as conn:
        await give(conn, [grant], clock.now())


async def accounts(core: Core, customer: str = "acme") -> dict[str, int]:
    """Return what the entries of a customer sum to, account by account."""
    number = await core.holders.number(customer)
    rows = await core.database.fetch(
        "select account, sum(amount)::bigint as total from ("
        " select credit as account, amount from credit_entries where customer_id = $1"
        " union all select debit, -amount from credit_entries where customer_id = $1"
        ") as moved where account <> 'issued' group by account having sum(amount) <> 0",
        number,
    )
    return {row["account"]: row["total"] for row in rows}


async def actors(core: Core, customer: str = "acme") -> list[tuple[str, str]]:
    """Return who made each entry of a customer, in order, with its kind."""
    number = await core.holders.number(customer)
    rows = await core.database.fetch(
        "select kind, actor from credit_entries where customer_id = $1 order by id", number
    )
    return [(row["kind"], row["actor"]) for row in rows]
