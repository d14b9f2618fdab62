"""CR-8: credits expire, or the subscription that brought them ends: by an entry, never an edit."""

from datetime import timedelta
from pathlib import Path

from api.catalog.customers import CustomerInput
from api.ledger.expiry import expire
from tests.support.clock import FakeClock
from tests.support.paying import Paying, paying
from tests.support.stripe_events import Buying, Life

LEADS = (Path(__file__).parents[2] / "examples" / "leads.toml").read_text("utf-8")


async def ledger(opened: Paying) -> list[tuple[str, int, str]]:
    """Return kind, amount and bucket of every entry, in order."""
    rows = await opened.core.database.fetch("select * from credit_entries order by id")
    return [(row["kind"], row["amount"], row["bucket"]) for row in rows]


async def accounts(opened: Paying) -> dict[str, int]:
    """Return every account's sum; all together are zero."""
    rows = await opened.core.database.fetch(
        "select account, sum(amount)::bigint as amount from credit_postings group by account"
    )
    sums = {row["account"]: row["amount"] for row in rows}
    assert sum(sums.values()) == 0
    return sums


async def test_a_gift_expires_by_an_entry_and_what_was_bought_stays(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, catalog=LEADS, reads=False) as leads:
        await leads.core.changes.upsert_customer(CustomerInput("acme"), clock.now(), "test")
        await leads.tell(
            Buying("gift", clock.now(), pack="welcome").completed("no_payment_required"),
            Buying("pack", clock.now(), pack="lead_50").completed(),
        )
        clock.advance(days=29)
        assert await expire(leads.core.database, clock.now()) == 0
        clock.advance(days=1)
        assert await expire(leads.core.database, clock.now()) == 1
        assert await expire(leads.core.database, clock.now()) == 0
        assert await ledger(leads) == [
            ("grant", 10, "promotional"),
            ("grant", 50, "permanent"),
            ("expire", 10, "promotional"),
        ]
        assert await accounts(leads) == {"issued": -60, "available": 50, "expired": 10}


async def test_a_month_ends_with_what_lives_on_and_a_subscription_with_all_it_brought(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, catalog=LEADS, reads=False) as leads:
        await leads.core.changes.upsert_customer(CustomerInput("acme"), clock.now(), "test")
        life = Life("acme", clock.now(), named=True, prices={"pro_monthly": 1})
        await leads.tell(life.created("active"), life.invoiced(paid=True))
        await leads.tell(Buying("pack", clock.now(), pack="lead_50").completed())
        clock.set(life.at + timedelta(days=31))
        await expire(leads.core.database, clock.now())
        await leads.tell(life.later(days=31).renewed(), life.invoiced(paid=True))
        assert await ledger(leads) == [
            ("grant", 200, "subscription"),
            ("grant", 50, "permanent"),
            ("expire", 200, "subscription"),
            ("grant", 100, "subscription"),
            ("grant", 200, "subscription"),
        ]
        clock.advance(days=3)
        await leads.tell(life.later(days=3).deleted())
        assert (await ledger(leads))[5:] == [
            ("expire", 100, "subscription"),
            ("expire", 200, "subscription"),
        ]
        assert await accounts(leads) == {"issued": -550, "available": 50, "expired": 500}


async def test_the_next_month_s_credits_are_there_in_its_first_second_with_no_worker_running(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    yearly = (
        LEADS.replace(
            "[plans.pro.prices]",
            '[plans.pro.prices]\npro_yearly = { amount_minor = 49000, currency = "usd", '
            'interval = "year" }',
        )
        .replace("units = 200", "units = 10")
        .replace("rollover = 100", "")
        .replace("trial_units = 25", "")
    )
    async with paying(database_url, redis_url, clock, catalog=yearly, reads=False) as leads:
        await leads.core.changes.upsert_customer(CustomerInput("acme"), clock.now(), "test")
        life = Life("acme", clock.now(), named=True, prices={"pro_yearly": 1})
        life.lies(life.at, life.at.replace(year=life.at.year + 1), life.at)
        await leads.tell(life.created("active"), life.invoiced(paid=True))
        for expected in (200, 200, 402):
            assert (await leads.consume("lead_claim")).status_code == expected
        row = await leads.core.database.fetchrow(
            "select valid_until from customers where key = 'acme'"
        )
        assert row is not None
        clock.set(row["valid_until"] - timedelta(seconds=1))
        assert (await leads.consume("lead_claim")).status_code == 402
        clock.set(row["valid_until"])
        for expected in (200, 200, 402):
            assert (await leads.consume("lead_claim")).status_code == expected


async def test_what_lives_on_cannot_be_spent_from_the_month_that_ended_by_a_late_call(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, catalog=LEADS, reads=False) as leads:
        await leads.core.changes.upsert_customer(CustomerInput("acme"), clock.now(), "test")
        life = Life("acme", clock.now(), named=True, prices={"pro_monthly": 1})
        await leads.tell(life.created("active"), life.invoiced(paid=True))
        end = life.at + timedelta(days=31)
        clock.set(end - timedelta(hours=2))
        assert (await leads.consume("lead_claim", 20)).status_code == 200
        clock.set(end)
        await leads.tell(life.later(days=31).renewed(), life.invoiced(paid=True))
        before = await accounts(leads)
        # It was on its way while the month turned, or comes of a machine whose clock is behind.
        clock.set(end - timedelta(milliseconds=300))
        assert (await leads.consume("lead_claim", 20)).status_code == 402
        clock.set(end + timedelta(seconds=1))
        await expire(leads.core.database, clock.now())
        assert await accounts(leads) == before
