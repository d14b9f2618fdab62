"""A pass over everything goes on past what is odd or lost, and says where it did not end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from api.billing import stripe_payments
from api.billing.budget import Budget
from api.billing.problems import OtherAccount
from api.billing.reconcile import NOT_LINKED, Reconciliation
from api.billing.stripe_account import StripeAccount
from api.billing.stripe_door import StripeDoor
from api.domain.errors import Unavailable
from api.worker.retention import Retention
from tests.scenarios.test_ops_5 import a_turn
from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired
from tests.support.waiting import until

WEEKLY = timedelta(days=400)


@dataclass
class Rests:
    """Seconds that pass only where somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def budget(self) -> Budget:
        return Budget(1000, 1.0, clock=lambda: self.now, sleep=self.sleep)


@asynccontextmanager
async def held_up(both: Pair) -> AsyncIterator[None]:
    """Let no answer of Stripe's arrive."""
    server = both.stripe.server
    assert server is not None
    server.gate = asyncio.Event()
    yield
    server.gate.set()
    server.gate = None


@asynccontextmanager
async def keyed(both: Pair, key: str) -> AsyncIterator[None]:
    """Compare with another key for a while."""
    before, both.stripe.door.key = (both.compare, both.stripe.door.key), key
    core = both.desk.core
    async with StripeDoor(secrets=(), api_key=key, api_base=both.stripe.address) as door:
        both.compare = Reconciliation(core.database, StripeAccount(door), core.revisions)
        yield
    both.compare, both.stripe.door.key = before


async def scheduled(both: Pair) -> str:
    """Let acme subscribe, with a schedule: it is read whole when it is listed."""
    sub = await both.subscribe("acme")
    await both.hear()
    api = both.desk.door.api
    await api.ask(api.v1.subscription_schedules.create_async({"from_subscription": sub}))
    await both.hear()
    return sub


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("path", ["subscriptions/sub_00000001", "customers/cus_", "invoices"])
async def test_what_is_not_answered_once_is_asked_again_and_the_pass_ends(
    database_url: str, redis_url: str, clock: FakeClock, path: str, status: int
) -> None:
    rests = Rests()
    async with paired(database_url, redis_url, clock, budget=rests.budget()) as both:
        await scheduled(both)
        both.customers["stranger"] = both.stripe.customer()
        await both.subscribe("stranger")
        both.stripe.webhooks.drop("*")
        before = both.stripe.faults.asked(f"/v1/{path}", "GET")
        both.stripe.faults.fail_next(2, status=status, path=f"/v1/{path}", retry_after=7)
        report = await both.sync()
        assert both.stripe.faults.asked(f"/v1/{path}", "GET") >= before + 3
        assert rests.slept == ([7, 7] if status == 429 else [1, 2])
        assert [found.kind.value for found in report.differences] == ["unknown"]
        assert (await both.compare.runs(1))[0]["error"] is None


async def test_an_outage_ends_a_pass_after_a_few_attempts_and_a_refused_key_at_once(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    rests = Rests()
    async with paired(database_url, redis_url, clock, budget=rests.budget()) as both:
        both.stripe.faults.outage = True
        with pytest.raises(Unavailable):
            await both.sync()
        assert rests.slept == [1, 2, 4]
        both.stripe.faults.clear()
        both.stripe.door.key = "sk_test_another"
        with pytest.raises(Unavailable, match="STRIPE_SECRET_KEY"):
            await both.sync()
        assert rests.slept == [1, 2, 4]


async def test_what_is_not_understood_is_counted_told_and_skipped(
    database_url: str, redis_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with paired(database_url, redis_url, clock, customers=("acme", "bolt")) as both:
        await both.subscribe("acme")
        await both.subscribe("bolt")
        await both.hear()
        named = both.stripe.disputes.open(both.stripe.all("charge")[0]["id"])["id"]
        both.stripe.webhooks.drop("*")
        # A status that Stripe adds one day: one that is not known here instead.
        less = stripe_payments._STANDING_DISPUTE - {both.stripe.get(named)["status"]}  # noqa: SLF001
        monkeypatch.setattr(stripe_payments, "_STANDING_DISPUTE", less)
        both.desk.clock.advance(days=1)
        report = await both.sync()
        [found] = report.differences
        assert (found.kind.value, found.subscription_id) == ("unreadable", named)
        assert "needs_response" in found.fields[0][2]
        assert report.counts["unreadable"] == 1
        assert report.counts["invoices"] == len(both.stripe.all("invoice"))
        assert (await both.compare.runs(1))[0]["error"] is None


async def test_one_that_is_gone_when_it_is_read_whole_does_not_end_the_pass(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock, customers=("acme", "bolt")) as both:
        sub = await scheduled(both)
        await both.subscribe("bolt")
        await both.hear()
        both.stripe.faults.fail_next(1, status=404, path=f"/v1/subscriptions/{sub}$")
        report = await both.sync()
        assert report.counts["compared"] == 2
        assert [(f.kind.value, f.subscription_id) for f in report.differences] == [
            ("unreadable", sub)
        ]


async def test_a_pass_that_is_cut_off_is_not_told_as_one_that_ended(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        async with held_up(both):
            going = asyncio.create_task(both.sync())
            asked = both.stripe.faults.asked()
            await until(lambda: both.stripe.faults.asked() > asked)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
        [run] = await both.compare.runs()
        assert "cut off" in run["error"]


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "cancelled"])
async def test_a_scheduled_pass_that_did_not_end_is_begun_again_within_minutes(
    database_url: str, redis_url: str, clock: FakeClock, *, killed: bool
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        assert await a_turn(both) == 2
        both.desk.clock.advance(days=1)
        await both.subscribe("acme")
        both.stripe.webhooks.drop("*")
        if killed:
            await both.desk.core.database.execute(
                "update schedules set begun_at = $1, alive_at = $1, ended = false"
                " where name = 'reconciliation daily'",
                both.desk.clock.now(),
            )
        else:
            async with held_up(both):
                going = asyncio.create_task(a_turn(both))
                asked = both.stripe.faults.asked()
                await until(lambda: both.stripe.faults.asked() > asked)
                going.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await going
        both.desk.clock.advance(minutes=9)
        assert await a_turn(both) == 0
        both.desk.clock.advance(minutes=1)
        assert await a_turn(both) == 1
        assert await both.desk.plan("acme") == "starter"
        both.desk.clock.advance(minutes=11)
        assert await a_turn(both) == 0


async def test_an_outage_has_the_pass_tried_again_soon_and_is_told_once_a_day(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        both.stripe.faults.outage = True
        for _ in range(3):
            assert await a_turn(both) == 2
            both.desk.clock.advance(minutes=10)
        assert await both.alerts() == [("reconciliation_failed", "warning")] * 2
        both.stripe.faults.clear()
        assert await a_turn(both) == 2
        both.desk.clock.advance(minutes=10)
        assert await a_turn(both) == 0


async def test_a_customer_who_is_not_linked_yet_is_found_by_name_or_said_not_to_be(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    names = ("acme", "o'neil")
    async with paired(database_url, redis_url, clock, customers=names) as both:
        sub = await both.subscribe("acme")
        both.customers["o'neil"] = both.stripe.customer()
        told = {"metadata": {"headroom_customer": "o'neil"}}
        other = await both.subscribe("o'neil", "pro_monthly", **told)
        both.stripe.webhooks.drop("*")
        both.desk.clock.advance(minutes=5)
        # Stripe's search does not know yet of what is new.
        both.stripe.faults.fail_next(1, status=400, path="/v1/customers/search")
        report = await both.sync("acme")
        assert (report.differing, report.counts[NOT_LINKED]) == (0, 1)
        for key, name in (("acme", sub), ("o'neil", other)):
            report = await both.sync(key)
            assert [(d.kind.value, d.subscription_id) for d in report.differences] == [
                ("missing", name)
            ]
            assert report.counts[NOT_LINKED] == 0
        await both.desk.work()
        assert (await both.desk.plan("acme"), await both.desk.plan("o'neil")) == ("starter", "pro")


async def test_what_a_person_is_to_see_to_is_not_looked_at_again_each_day(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await both.subscribe("acme")
        await both.hear()
        database = both.desk.core.database
        store = both.stripe.world.store
        held = store.get("subscription", sub)
        store.drop(held)
        for _ in range(3):
            both.desk.clock.advance(days=1)
            assert (await both.sync()).counts["gone"] == 1
            for _ in range(40):
                both.desk.clock.advance(minutes=15)
                await both.desk.work()
            rows = await database.fetch(
                "select state from webhook_events where origin = 'own' and object_id = $1", sub
            )
            assert [row["state"] for row in rows] == ["parked"]
        # It is there again: what was parked is tried instead of a second look beside it.
        store._held["subscription"][sub] = held  # noqa: SLF001 - as it was before
        await both.cancel(sub)
        both.stripe.webhooks.drop("*")
        await both.sync()
        await both.desk.work()
        assert await both.desk.plan("acme") == "free"
        count = "select count(*) from webhook_events where origin = 'own' and object_id = $1"
        assert await database.fetchval(count, sub) == 1


async def test_another_account_is_refused_until_a_person_accepts_it(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await both.subscribe("acme")
        await both.hear()
        await both.sync()
        both.stripe.world.account = "acct_other"
        with pytest.raises(OtherAccount, match=r"acct_other.*acct_00000001.*accept-account"):
            await both.sync()
        assert "accept-account" in (await both.compare.runs(1))[0]["error"]
        accepted = await both.compare.account.accept(
            actor="local:tester", reason="we moved", at=both.desk.clock.now()
        )
        assert (accepted.id, accepted.live) == ("acct_other", False)
        assert (await both.sync()).differing == 0
        row = await both.desk.core.database.fetchrow(
            "select * from audit_log where action = 'reconciliation.accept_account'"
        )
        assert row is not None
        assert row["detail"]["before"] == "acct_00000001"


async def test_a_live_key_is_refused_for_a_record_of_test_objects_also_where_it_may_not_say_whose(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await both.subscribe("acme")
        await both.hear()
        both.stripe.faults.fail_next(1, status=403, path="/v1/account")
        assert (await both.sync()).differing == 0
        async with keyed(both, "rk_live_1"):
            both.stripe.faults.fail_next(1, status=403, path="/v1/account")
            with pytest.raises(OtherAccount, match=r"live mode.*test mode"):
                await both.sync()
        await both.desk.core.database.execute("delete from provider_accounts")
        async with keyed(both, "rk_live_1"):
            # Nothing was kept yet: the events that came tell the mode.
            with pytest.raises(OtherAccount, match=r"live mode.*test mode"):
                await both.sync()
        assert (await both.sync()).differing == 0


async def test_a_refund_that_is_forgotten_here_does_not_differ_for_ever(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await both.subscribe("acme")
        await both.hear()
        core, api = both.desk.core, both.desk.door.api
        paid = both.stripe.all("payment_intent")[0]["id"]
        await api.ask(api.v1.refunds.create_async({"payment_intent": paid, "amount": 100}))
        both.stripe.webhooks.drop("*")
        assert (await both.sync(purchases_back=WEEKLY)).counts["payments_differing"] == 1
        await both.desk.work()
        retention = Retention(core.database, core.partitions, core.settings)
        for _ in range(2):
            both.stripe.advance(days=100)
            await both.hear()
            await retention.forget(both.desk.clock.now())
            report = await both.sync(purchases_back=WEEKLY)
            assert report.counts["payments_differing"] == 0
            await both.desk.work()
