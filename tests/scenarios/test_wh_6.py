"""WH-6: an event that cannot be applied is kept with its error, retried, then parked.

Other events go on. An operator lists, shows, and replays one or all.
"""

from api.billing.watch import BusinessHours, Watch
from api.catalog.file import parse
from tests.support.clock import FakeClock
from tests.support.paying import Paying, paying
from tests.support.scene import BOOKKEEPER
from tests.support.stripe_events import Json, Life

LIST = """
query { webhookEvents(state: PARKED) { edges { node { eventId error } } } }
"""
REPLAY_ONE = """
mutation ($id: String!) { replayWebhook(eventId: $id, reason: "price added") { state } }
"""
REPLAY_ALL = """
mutation ($dry: Boolean!) {
  replayWebhooks(reason: "customers made", dryRun: $dry) { eventId }
}
"""
REPLAY_TYPE = """
mutation ($type: String!) { replayWebhooks(reason: "again", type: $type) { eventId } }
"""
NEW_CUSTOMER = """
mutation ($key: String!) { upsertCustomer(input: {key: $key}) { key } }
"""


async def until_parked(books: Paying, event: Json) -> int:
    """Live through the retries; return how many attempts there were."""
    for _ in range(20):
        if (await books.event(event))["state"] != "FAILED":
            break
        books.clock.advance(minutes=10)
        await books.work()
    seen = await books.event(event)
    assert seen["state"] == "PARKED"
    return int(seen["attempts"])


async def test_an_unknown_price_is_parked_and_replayed_when_the_catalog_has_it(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"studio": 1})
        told = life.created("active")
        await books.tell(told, life=life)
        seen = await books.event(told)
        assert (seen["state"], seen["problem"]) == ("FAILED", "unknown_price")
        assert "'studio'" in seen["error"]

        # Others go on meanwhile.
        other = Life("globex", clock.now(), named=True, prices={"pro": 1})
        await books.tell(other.created("active"), life=other)
        assert await books.plan("globex") == "pro"

        assert await until_parked(books, told) == 8
        [edge] = (await books.ask(LIST))["webhookEvents"]["edges"]
        assert edge["node"]["eventId"] == told["id"]

        sold = BOOKKEEPER.replace(
            "[plans.pro.prices]\n",
            "[plans.pro.prices]\nstudio = "
            '{ amount_minor = 12900, currency = "usd", interval = "month" }\n',
        )
        await books.core.revisions.apply(parse(sold, "t.toml"), "ann", "studio", clock.now())
        await books.ask(REPLAY_ONE, id=told["id"])
        assert await books.work() == 1
        assert await books.plan() == "pro"


async def test_unknown_customers_are_parked_and_replayed_together_when_they_exist(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        lives = [
            Life(key, clock.now(), named=True, prices={"starter": 1}) for key in ("late", "later")
        ]
        told = [life.created("active") for life in lives]
        for life, one in zip(lives, told, strict=True):
            await books.tell(one, life=life)
            assert (await books.event(one))["problem"] == "unknown_customer"
        for one in told:
            await until_parked(books, one)
        for life in lives:
            await books.ask(NEW_CUSTOMER, key=life.key)

        ids = {one["id"] for one in told}
        shown = await books.ask(REPLAY_ALL, dry=True)
        assert {one["eventId"] for one in shown["replayWebhooks"]} == ids
        assert await books.work() == 0
        done = await books.ask(REPLAY_ALL, dry=False)
        assert {one["eventId"] for one in done["replayWebhooks"]} == ids
        assert await books.work() == 2
        assert [await books.plan(life.key) for life in lives] == ["starter", "starter"]

        acts = await books.core.database.fetch(
            "select reason from audit_log where action = 'webhooks.replay'"
        )
        assert [act["reason"] for act in acts] == ["customers made"]


async def test_a_newer_catalog_rouses_what_the_older_could_not_place_once(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        watch = Watch(books.core.database, "stripe", BusinessHours())
        life = Life("acme", clock.now(), named=True, prices={"studio": 1})
        told = life.created("active")
        await books.tell(told, life=life)
        await until_parked(books, told)
        assert await watch.rouse(clock.now()) == 0

        async def apply(price: str) -> None:
            clock.advance(minutes=1)
            sold = BOOKKEEPER.replace(
                "[plans.pro.prices]\n",
                f"[plans.pro.prices]\n{price} = "
                '{ amount_minor = 12900, currency = "usd", interval = "month" }\n',
            )
            await books.core.revisions.apply(parse(sold, "t.toml"), "ann", price, clock.now())

        # One that does not help is tried once, and the event is parked again.
        await apply("atelier")
        assert await watch.rouse(clock.now()) == 1
        await books.work()
        await until_parked(books, told)
        assert await watch.rouse(clock.now()) == 0

        await apply("studio")
        assert await watch.rouse(clock.now()) == 1
        await books.work()
        assert await books.plan() == "pro"


async def test_what_failed_of_one_type_is_replayed_by_that_type(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("late", clock.now(), named=True, prices={"starter": 1})
        told = life.created("active")
        await books.tell(told, life=life)
        await books.ask(NEW_CUSTOMER, key="late")
        assert (await books.ask(REPLAY_TYPE, type="invoice.paid"))["replayWebhooks"] == []
        done = await books.ask(REPLAY_TYPE, type="customer.subscription.created")
        assert [one["eventId"] for one in done["replayWebhooks"]] == [told["id"]]
        await books.work()
        assert await books.plan("late") == "starter"
