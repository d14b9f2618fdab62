"""Credits that come with paid months: what is told of subscriptions and invoices, and time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import pytest

from api.catalog.customers import CustomerInput
from api.catalog.file import parse
from api.ledger.expiry import expire
from tests.support.billing import CATALOG, PACKS, Desk, desk, with_credits
from tests.support.clock import FakeClock
from tests.support.stripe_events import Json, Life
from tests.support.stripe_server import KEY, StripeServer

STARTER = with_credits("starter", "units = 100\ntrial_units = 10")
BOTH = with_credits("pro", "units = 250", STARTER)
ROLLING = with_credits("starter", "units = 100\nrollover = 150")

Opening = Callable[..., AbstractAsyncContextManager[Desk]]


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(day("2026-01-31"))


@pytest.fixture
def at_desk(database_url: str, redis_url: str, clock: FakeClock) -> Opening:
    """Return what opens a desk with this catalog."""

    def opening(catalog: str = BOTH, **how: Any) -> AbstractAsyncContextManager[Desk]:
        return desk(database_url, redis_url, clock, catalog=catalog + PACKS, **how)

    return opening


@pytest.fixture
async def opened(at_desk: Opening) -> AsyncIterator[Desk]:
    async with at_desk() as one:
        yield one


def begun(at: datetime, end: str = "2026-02-28") -> Life:
    """Return a life whose month lies between month ends, as Stripe lays it."""
    life = Life("acme", at, named=True).lies(at, day(end), at)
    life.state["status"] = "active"
    return life


def renewed(life: Life, end: str) -> list[Json]:
    """Let the next period begin and be paid; return what Stripe tells of it."""
    held = life.state["items"]["data"][0]
    start = datetime.fromtimestamp(held["current_period_end"], UTC)
    life.at = start
    life.lies(start, day(end))
    return [life.became("active"), life.invoiced(paid=True)]


async def settle(at: Desk) -> None:
    """Let a worker live through what time has changed, without expiring anything."""
    await at.core.changes.publish_pending(at.clock.now())


async def amounts(at: Desk) -> list[tuple[str, int, int]]:
    """Return the kind of source, units and what is left, of every grant."""
    return [(g["source"].split(":")[0], g["units"], g["available"]) for g in await at.grants()]


async def test_a_paid_month_brings_its_credits_once(opened: Desk) -> None:
    life = begun(opened.clock.now())
    paid = life.invoiced(paid=True)
    await opened.tell(life.became("active"))
    assert await opened.balance() == 0
    await opened.tell(paid)
    (grant,) = await opened.grants()
    (held,) = await opened.held("acme")
    assert grant["source"] == f"plan:{held.id}:2026-01-31T00:00:00Z"
    assert (grant["units"], grant["bucket"], grant["priority"]) == (100, "subscription", 50)
    assert (grant["effective_at"], grant["expires_at"]) == (day("2026-01-31"), day("2026-02-28"))
    assert held.paid_until == day("2026-02-28")
    again = life.later(hours=1).invoiced(paid=True)
    await opened.tell(paid, again, life.became("active"))
    assert await opened.ledger() == [("grant", 100)]


async def test_an_invoice_that_comes_before_its_subscription_pays_for_it(opened: Desk) -> None:
    life = begun(opened.clock.now())
    active, paid = life.became("active"), life.invoiced(paid=True)
    await opened.tell(paid)
    assert (await opened.event(paid)).state == "applied"
    await opened.tell(active)
    assert await opened.balance() == 100


async def test_an_older_invoice_never_takes_back_what_is_paid(opened: Desk) -> None:
    life = begun(opened.clock.now())
    first, old = life.became("active"), life.invoiced(paid=True)
    opened.clock.set(day("2026-02-28"))
    await opened.tell(first, *renewed(life, "2026-03-31"), old)
    (held,) = await opened.held("acme")
    assert held.paid_until == day("2026-03-31")
    assert await opened.balance() == 100


async def test_an_invoice_that_was_not_paid_brings_nothing(opened: Desk) -> None:
    life = begun(opened.clock.now())
    await opened.tell(life.became("active"), life.invoiced(paid=False))
    assert await opened.ledger() == []


async def test_past_due_nothing_new_arrives_until_the_invoice_is_paid(opened: Desk) -> None:
    life = begun(opened.clock.now())
    await opened.tell(life.became("active"), life.invoiced(paid=True))
    opened.clock.set(day("2026-03-02"))
    start = life.state["items"]["data"][0]["current_period_end"]
    life.at = day("2026-03-02")
    life.lies(datetime.fromtimestamp(start, UTC), day("2026-03-31"))
    await opened.tell(life.became("past_due"))
    assert await opened.balance() == 0
    await opened.tell(life.later(hours=1).became("active"), life.invoiced(paid=True))
    assert await opened.balance() == 100
    assert (await opened.grants())[-1]["effective_at"] == day("2026-02-28")


async def test_a_trial_brings_its_own_and_the_first_paid_month_the_whole(opened: Desk) -> None:
    life = begun(opened.clock.now())
    await opened.tell(life.trial(days=14))
    assert await amounts(opened) == [("trial", 10, 10)]
    opened.clock.set(day("2026-02-14"))
    assert await opened.balance() == 0
    life.at = day("2026-02-14")
    life.lies(life.at, day("2026-03-14"), life.at)
    await opened.tell(life.became("active"))
    assert await opened.balance() == 0
    await opened.tell(life.invoiced(paid=True))
    assert await opened.balance() == 100


async def test_an_upgrade_brings_the_difference_and_a_downgrade_takes_nothing(
    opened: Desk,
) -> None:
    life = begun(opened.clock.now())
    await opened.tell(life.became("active"), life.invoiced(paid=True))
    await opened.spend(60)
    await opened.tell(life.later(days=3).took(pro_monthly=1))
    assert await amounts(opened) == [("plan", 100, 40), ("plan", 150, 150)]
    for turn in ("starter_monthly", "pro_monthly", "starter_monthly"):
        await opened.tell(life.later(days=1).took(**{turn: 1}))
    assert await opened.balance() == 190
    opened.clock.set(day("2026-02-28"))
    await opened.tell(*renewed(life, "2026-03-31"))
    assert await opened.balance() == 100


async def test_a_year_paid_at_once_brings_twelve_months_by_themselves(
    opened: Desk, clock: FakeClock
) -> None:
    life = begun(clock.now())
    life.took(starter_yearly=1)
    life.lies(day("2026-01-31"), day("2027-01-31"))
    await opened.tell(life.became("active"), life.invoiced(paid=True))
    customer = await opened.core.customers.get("acme")
    starts = [day("2026-01-31")]
    while True:
        row = await opened.core.database.fetchrow("select * from customers")
        assert row is not None
        if row["valid_until"] is None:
            break
        clock.set(row["valid_until"])
        # Whoever needs the rights at that instant brings the credits: no worker takes part.
        await opened.core.changes.publish(customer.id, clock.now())
        starts.append(clock.now())
        assert await opened.balance() == 100
    assert [at.day for at in starts] == [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    assert await opened.ledger() == [("grant", 100)] * 12
    clock.set(day("2027-01-31"))
    assert await opened.balance() == 0


@pytest.mark.parametrize("expired_first", [False, True])
async def test_what_is_left_lives_on_up_to_the_cap_whether_it_was_entered_as_expired_or_not(
    at_desk: Opening, clock: FakeClock, *, expired_first: bool
) -> None:
    async with at_desk(ROLLING) as books:
        life = begun(clock.now())
        await books.tell(life.became("active"), life.invoiced(paid=True))
        await books.spend(30)
        balances = []
        for end in ("2026-03-31", "2026-04-30", "2026-05-31"):
            events = renewed(life, end)
            clock.set(life.at)
            if expired_first:
                await expire(books.core.database, clock.now())
            await books.tell(*events)
            balances.append(await books.balance())
        assert balances == [170, 250, 250]
        await expire(books.core.database, clock.now())
        assert [g for g in await amounts(books) if g[2]] == [
            ("rollover", 150, 150),
            ("plan", 100, 100),
        ]


async def test_months_that_nobody_saw_are_lived_through_in_order(
    at_desk: Opening, clock: FakeClock
) -> None:
    async with at_desk(ROLLING) as books:
        life = begun(clock.now())
        life.took(starter_yearly=1)
        life.lies(day("2026-01-31"), day("2027-01-31"))
        await books.tell(life.became("active"), life.invoiced(paid=True))
        await books.spend(80)
        clock.set(day("2026-05-15"))
        await settle(books)
        # 20 live on into March, 120 into April, 150 (the cap) into May.
        assert await books.balance() == 250
        assert [(kind, units) for kind, units, _ in await amounts(books)] == [
            ("plan", 100),
            ("rollover", 20),
            ("plan", 100),
            ("rollover", 120),
            ("plan", 100),
            ("rollover", 150),
            ("plan", 100),
        ]
        before = await books.ledger()
        await settle(books)
        assert await books.ledger() == before


async def test_a_month_that_began_unseen_before_a_downgrade_is_that_of_the_better_plan(
    opened: Desk, clock: FakeClock
) -> None:
    life = begun(clock.now())
    life.took(pro_monthly=1)
    life.lies(day("2026-01-31"), day("2027-01-31"))
    await opened.tell(life.became("active"), life.invoiced(paid=True))
    clock.set(day("2026-03-05"))
    await opened.tell(life.later(days=33).took(starter_monthly=1))
    assert await amounts(opened) == [("plan", 250, 250), ("plan", 250, 250)]
    assert await opened.balance() == 250


async def test_whoever_comes_first_in_a_new_month_brings_its_credits_and_all_others_none(
    at_desk: Opening, clock: FakeClock
) -> None:
    async with at_desk(ROLLING) as books:
        life = begun(clock.now())
        life.took(starter_yearly=1)
        life.lies(day("2026-01-31"), day("2027-01-31"))
        await books.tell(life.became("active"), life.invoiced(paid=True))
        customer = await books.core.customers.get("acme")
        clock.set(day("2026-02-28"))
        changes, at = books.core.changes, clock.now()
        await asyncio.gather(
            *(changes.publish(customer.id, at) for _ in range(8)),
            *(changes.publish_pending(at) for _ in range(4)),
            *(expire(books.core.database, at) for _ in range(2)),
        )
        assert sorted(await books.ledger()) == [("expire", 100), *[("grant", 100)] * 3]


async def test_what_lived_on_burns_before_what_arrived(at_desk: Opening, clock: FakeClock) -> None:
    async with at_desk(ROLLING) as books:
        life = begun(clock.now())
        await books.tell(life.became("active"), life.invoiced(paid=True))
        events = renewed(life, "2026-03-31")
        clock.set(life.at)
        await books.tell(*events)
        _, old, new = await books.grants()
        assert (old["source"][:8], new["source"][:5]) == ("rollover", "plan:")
        assert old["id"] < new["id"]
        assert (old["priority"], old["expires_at"]) == (new["priority"], new["expires_at"])


async def test_a_subscription_that_ends_takes_along_what_is_left_of_what_it_brought(
    opened: Desk, clock: FakeClock
) -> None:
    life = begun(clock.now())
    await opened.tell(life.became("active"), life.invoiced(paid=True))
    await opened.spend(25)
    await opened.tell(life.later(days=2).ends_at_period_end())
    assert await opened.balance() == 75  # it is to end, and has not
    clock.advance(days=5)
    await opened.tell(life.later(days=3).deleted())
    assert await opened.balance() == 0
    assert await opened.ledger() == [("grant", 100), ("spend", 25), ("expire", 75)]
    (grant,) = await opened.grants()
    assert grant["expires_at"] == life.at
    await opened.tell(life.deleted())
    assert len(await opened.ledger()) == 3


async def test_an_end_that_is_never_told_ends_them_all_the_same(
    opened: Desk, clock: FakeClock
) -> None:
    life = begun(clock.now())
    await opened.tell(life.became("active"), life.invoiced(paid=True))
    life.later(days=2).state["cancel_at"] = int(day("2026-02-10").timestamp())
    await opened.tell(life.became("active"))
    clock.set(day("2026-02-10"))
    await settle(opened)
    assert await opened.ledger() == [("grant", 100), ("expire", 100)]


async def test_the_end_of_one_subscription_leaves_what_others_and_packs_brought(
    opened: Desk, clock: FakeClock
) -> None:
    life, other = begun(clock.now()), begun(clock.now())
    other.subscription_id = other.state["id"] = "sub_other"
    events = [other.became("active"), other.invoiced(paid=True)]
    for number, event in enumerate(events):
        event["id"] = f"evt_other_{number}"
    await opened.tell(life.became("active"), life.invoiced(paid=True), *events)
    assert await opened.balance() == 200
    await opened.tell(life.later(days=1).deleted())
    assert await opened.balance() == 100


async def test_other_units_in_the_catalog_count_from_the_next_month(
    opened: Desk, clock: FakeClock
) -> None:
    life = begun(clock.now())
    await opened.tell(life.became("active"), life.invoiced(paid=True))
    more = parse(with_credits("starter", "units = 900") + PACKS, "more.toml")
    await opened.core.revisions.apply(more, "test", "test", clock.now())
    assert await opened.core.changes.walk(clock.now()) == 1
    assert await opened.balance() == 100
    events = renewed(life, "2026-03-31")
    clock.set(life.at)
    await opened.tell(*events)
    assert await opened.balance() == 900


async def test_a_catalog_that_begins_to_bring_credits_brings_the_present_month_only(
    at_desk: Opening, clock: FakeClock
) -> None:
    async with at_desk(CATALOG) as books:
        life = begun(clock.now())
        life.took(starter_yearly=1)
        life.lies(day("2026-01-31"), day("2027-01-31"))
        await books.tell(life.became("active"), life.invoiced(paid=True))
        assert await books.ledger() == []
        clock.set(day("2026-06-10"))
        await books.core.revisions.apply(parse(ROLLING, "r.toml"), "test", "test", clock.now())
        await books.core.changes.walk(clock.now())
        assert await books.ledger() == [("grant", 100)]


async def test_the_plan_without_a_subscription_brings_its_own_each_month(
    at_desk: Opening, clock: FakeClock
) -> None:
    async with at_desk(with_credits("free", "units = 5\nrollover = 3")) as books:
        assert await books.balance() == 5
        clock.set(day("2026-02-28"))
        await settle(books)
        assert await books.balance() == 8
        await books.tell(begun(clock.now(), "2026-03-31").became("active"))
        assert await books.balance() == 8
        clock.set(day("2026-03-31"))
        await settle(books)
        assert await books.balance() == 0
        late = await books.core.changes.upsert_customer(CustomerInput("late"), clock.now(), "test")
        assert await books.balance(late.key) == 5


async def test_catalogs_that_bring_no_credits_ask_the_ledger_nothing(
    at_desk: Opening, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_desk(CATALOG) as books:
        asked: list[str] = []
        monkeypatch.setattr("api.catalog.plan_credits.lock", asked.append)
        life = begun(clock.now())
        await books.tell(life.became("active"), life.invoiced(paid=True), life.deleted())
        assert await books.states() == ["applied"] * 3
        assert asked == []


async def test_with_a_key_the_invoice_decides_and_not_the_event(
    at_desk: Opening, clock: FakeClock, stripe: StripeServer
) -> None:
    async with at_desk(api_key=KEY, api_base=stripe.address) as books:
        life = begun(clock.now())
        paid = life.invoiced(paid=True)
        stripe.holds(life).put(paid["data"]["object"] | {"status": "void"})
        await books.tell(paid)
        assert await books.balance() == 0
        lines = paid["data"]["object"]["lines"]["data"]
        many = [{**lines[0], "id": f"il_{n}"} for n in range(12)]
        many[-1] = {**many[-1], "period": {"start": 0, "end": int(day("2026-05-31").timestamp())}}
        paid["data"]["object"]["lines"]["data"] = many
        stripe.put(paid["data"]["object"])
        await books.tell(paid | {"id": "evt_again"})
        (held,) = await books.held("acme")
        assert held.paid_until == day("2026-05-31")
        assert await books.balance() == 100


async def test_without_a_key_an_invoice_that_was_cut_is_parked(opened: Desk) -> None:
    told = begun(opened.clock.now()).invoiced(paid=True)
    told["data"]["object"]["lines"]["has_more"] = True
    await opened.tell(told)
    assert (await opened.event(told)).problem == "cut_short"


async def test_a_subscription_that_moves_to_another_customer_leaves_nothing_behind(
    opened: Desk, clock: FakeClock
) -> None:
    await opened.core.changes.upsert_customer(CustomerInput("other"), clock.now(), "test")
    life = begun(clock.now())
    await opened.tell(life.became("active"), life.invoiced(paid=True))
    life.later(seconds=5).state["metadata"]["headroom_customer"] = "other"
    await opened.tell(life.became("active"))
    assert (await opened.balance(), await opened.balance("other")) == (0, 100)
