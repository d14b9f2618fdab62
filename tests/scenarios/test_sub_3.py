"""SUB-3: entitlements differ from the subscription.

They are recomputed on every change and checked on a schedule; an operator has ``entitlements
rebuild`` and ``entitlements explain`` for one customer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from api.catalog import audit
from api.catalog.stored_form import pack_feature
from api.domain import keys
from api.domain.entitlements import SubscriptionStatus
from api.infra.packing import pack
from api.worker.sweep import DriftSweep
from tests.support.clock import FakeClock
from tests.support.scene import Scene, recorded, scene, subscribe, used

PLACE = keys.snapshot(keys.shard_of("acme"), "acme")
EXPLAIN = """
query ($feature: String!) {
  explainEntitlement(customer: "acme", feature: $feature) {
    plan plans granted changesAt
    subscriptions { status plan gives why }
    offers { source name limits { window units } }
    limits { window units }
    decision { allowed code }
  }
}
"""
REBUILD = """
mutation {
  rebuildEntitlements(customer: "acme", reason: "paid, and still refused") {
    before { feature windows { limit used } }
    after { feature windows { limit used } }
  }
}
"""


@pytest.fixture
async def books(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Scene]:
    async with scene(database_url, redis_url, clock) as built:
        await subscribe(built.core, "acme", "starter", clock.now())
        yield built


async def spoil(books: Scene, *, version: int | None = None) -> None:
    """Make the counter store believe that the customer may post 5,000, whatever the record says."""
    core = books.core
    core_facts = await core.holders.snapshot("acme", books.clock.now())
    feature_id = core.revisions.newest.feature_ids["tx_post"]
    kind, limits = core_facts.features[feature_id]
    [(window, _, shadow, bounds, code, status)] = limits
    head = (
        core.door.epoch(keys.shard_of("acme")),
        core_facts.version if version is None else version,
        core_facts.valid_until_s,
        core_facts.refresh_at_s,
        core_facts.customer_id,
    )
    about = b"".join(map(pack, head))
    spoiled = pack_feature(feature_id, (kind, [(window, 5_000, shadow, bounds, code, status)]))
    await core.door.command("HSET", PLACE, str(feature_id), about + spoiled)
    if version is not None:
        await core.door.command("HSET", PLACE, "m", about + pack(core_facts.built_at_s))


async def test_rights_are_computed_anew_on_every_change_of_the_subscription(
    books: Scene, clock: FakeClock
) -> None:
    course = [
        ("starter", SubscriptionStatus.ACTIVE, 300),
        ("pro", SubscriptionStatus.ACTIVE, 3_000),
        ("pro", SubscriptionStatus.PAST_DUE, None),
        ("pro", SubscriptionStatus.ACTIVE, 3_000),
        ("pro", SubscriptionStatus.CANCELED, None),
        ("firm", SubscriptionStatus.TRIALING, 30_000),
    ]
    for plan, status, limit in course:
        clock.advance(minutes=1)
        await subscribe(books.core, "acme", plan, clock.now(), status=status)
        answered = await books.consume("tx_post", 1 if limit is None else limit + 1)
        assert answered.status_code == 402
        assert answered.json().get("limit") == limit


@pytest.mark.parametrize("version", [None, 1_000_000])
async def test_what_the_store_believes_wrongly_is_explained_and_rebuilt(
    books: Scene, version: int | None
) -> None:
    await books.consume("tx_post", 300)
    await spoil(books, version=version)
    # The fault: more is given than was sold.
    assert (await books.consume("tx_post")).status_code == 200

    said = (await books.ask(EXPLAIN, feature="tx_post"))["explainEntitlement"]
    assert (said["plan"], said["granted"]) == ("starter", True)
    assert said["limits"] == [{"window": "MONTH", "units": 300}]
    assert said["offers"] == [
        {"source": "plan", "name": "starter", "limits": [{"window": "MONTH", "units": 300}]}
    ]
    [subscription] = said["subscriptions"]
    assert (subscription["status"], subscription["gives"]) == ("ACTIVE", True)
    assert said["decision"] == {"allowed": True, "code": None}  # against the record: it is wrong

    rebuilt = (await books.ask(REBUILD))["rebuildEntitlements"]
    posts = [{one["feature"]: one for one in rebuilt[when]} for when in ("before", "after")]
    assert [one["tx_post"]["windows"] for one in posts] == [
        [{"limit": 5_000, "used": 301}],
        [{"limit": 300, "used": 301}],
    ]
    refused = await books.consume("tx_post")
    assert (refused.status_code, refused.json()["limit"], refused.json()["used"]) == (402, 300, 301)
    said = (await books.ask(EXPLAIN, feature="tx_post"))["explainEntitlement"]
    assert said["decision"] == {"allowed": False, "code": "MONTHLY_CAP_EXCEEDED"}
    await books.core.drainer.drain(range(256))
    assert await recorded(books.core, "tx_post") == 301


@pytest.mark.parametrize("version", [None, 1_000_000])
async def test_what_the_store_believes_wrongly_is_found_and_replaced_on_schedule(
    books: Scene, version: int | None
) -> None:
    await books.consume("tx_post", 300)
    sweep, now = DriftSweep(books.core), books.clock.now()
    await sweep.turn(now, 0)
    assert not await repairs(books)
    await spoil(books, version=version)
    await sweep.turn(now, 0)
    assert (await books.consume("tx_post")).json()["limit"] == 300
    assert [act.actor for act in await repairs(books)] == ["worker"]


async def test_a_change_that_a_crash_left_untold_is_told_on_schedule(
    books: Scene, clock: FakeClock
) -> None:
    await books.consume("tx_post", 300)
    # The commit of an upgrade whose process died before it could tell the counter store.
    number = await books.core.holders.number("acme")
    async with books.core.database.transaction() as conn:
        await conn.execute(
            "update subscriptions set plan = 'pro', price = 'pro' where customer_id = $1", number
        )
        await books.core.changes.change_on(conn, number, clock.now(), _nothing)
        await conn.execute("update customers set version = version + 1 where id = $1", number)
    assert (await books.consume("tx_post")).status_code == 402
    assert await books.core.changes.publish_pending(clock.now()) == 1
    assert (await books.consume("tx_post")).status_code == 200
    assert await books.core.changes.publish_pending(clock.now()) == 0
    assert await used(books.core, "tx_post", clock.now()) == [301]


async def repairs(books: Scene) -> list[audit.Act]:
    acts = await audit.list_(books.core.database)
    return [act for act in acts if act.action == "entitlements.repair"]


async def _nothing(_conn: object) -> None:
    """Write nothing more."""
