"""A customer's whole life against a model that only adds up what was accepted.

Random catalogs, subscriptions, zones, promises, losses of the counter store, clocks and calls: a
call passes exactly when, in every window, what was accepted there and its units stay within the
limit; and in the end the record's totals are what was accepted.
"""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.catalog import subscriptions
from api.catalog.customers import CustomerInput
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import (
    Anchor,
    Catalog,
    CustomerType,
    Durability,
    Feature,
    FeatureKind,
    Limit,
    Plan,
    PlanFeature,
    Price,
    WindowKind,
)
from api.domain.entitlements import OverrideFacts, SubscriptionStatus
from api.domain.errors import InvalidInput
from api.domain.windows import Window, window_at
from api.gates.outcome import Denied
from api.infra.postgres import Connection
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened

METERED = ("calls", "posts")
ALLOCATED = "seats"
ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Kiritimati")
LASTING = (WindowKind.LIFETIME,)
BOOT = """
product = "boot"
[customer_types.business]
default_plan = "free"
[features.calls]
name = "Calls"
kind = "metered"
[plans.free]
name = "Free"
[plans.free.features]
calls.day = 1
"""
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count()


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    made = []
    for rank, key in enumerate(("free", "starter", "pro")):
        features = {}
        for feature in METERED:
            if draw(st.integers(0, 4)) == 0:
                continue
            kinds = draw(st.lists(st.sampled_from(list(WindowKind)[:7]), max_size=3, unique=True))
            features[feature] = PlanFeature(
                feature,
                limits=tuple(
                    Limit(
                        kind,
                        draw(st.none() | st.integers(0, 15)),
                        Anchor.BILLING
                        if kind is WindowKind.BILLING_PERIOD or draw(st.booleans())
                        else Anchor.CALENDAR,
                    )
                    for kind in sorted(kinds, key=lambda k: k.code)
                ),
            )
        features[ALLOCATED] = PlanFeature(
            ALLOCATED, limits=(Limit(WindowKind.LIFETIME, draw(st.integers(0, 8))),)
        )
        interval = draw(st.sampled_from(("month", "year")))
        price = Price(key, 100, "usd", interval)
        made.append(Plan(key, key, rank=rank, prices=(price,), features=MappingProxyType(features)))
    return made


def catalog_of(made: list[Plan]) -> Catalog:
    features = [Feature(key, key, FeatureKind.METERED) for key in METERED]
    seats = Feature(ALLOCATED, ALLOCATED, FeatureKind.ALLOCATION, durability=Durability.JOURNALED)
    return Catalog(
        product=f"life {next(_numbers)}",
        features={f.key: f for f in (*features, seats)},
        plans={p.key: p for p in made},
        add_ons={},
        customer_types={"business": CustomerType("business", "Business", "free")},
        default_customer_type="business",
    )


@dataclass
class Accepted:
    """Everything that was accepted, and nothing else."""

    uses: list[tuple[str, datetime, int]] = field(default_factory=list)

    def within(self, feature: str, window: Window) -> int:
        return sum(u for f, at, u in self.uses if f == feature and at in window)

    def total(self, feature: str) -> int:
        return sum(u for f, _, u in self.uses if f == feature)


STEPS = ("consume",) * 6 + ("wait", "wait", "together", "subscribe", "zone", "promise", "lose")


@pytest.mark.one_server
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_a_life_of_changes_agrees_with_adding_up(
    database_url: str, redis_url: str, data: st.DataObject
) -> None:
    seconds = data.draw(st.integers(0, 3 * 366 * 86_400))
    clock = FakeClock(BEGINNING + timedelta(seconds=seconds))
    async with opened(database_url, redis_url, clock, BOOT, customers=()) as core:
        await live(core, clock, data)


async def live(core: Core, clock: FakeClock, data: st.DataObject) -> None:
    await core.revisions.apply(catalog_of(data.draw(plans())), "test", "test", clock.now())
    key = f"life-{next(_numbers)}"
    number = (await core.changes.upsert_customer(CustomerInput(key), clock.now(), "test")).id
    accepted = Accepted()
    for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=4, max_size=24)):
        at = clock.now()
        if step == "wait":
            seconds = data.draw(st.sampled_from((1, 59, 3_600, 40_000, 86_400, 2_700_000)))
            clock.advance(seconds=seconds)
        elif step == "zone":
            zone = data.draw(st.sampled_from(ZONES))
            await core.changes.upsert_customer(CustomerInput(key, timezone=zone), at, "test")
        elif step == "subscribe":
            await subscribe(core, number, data, at)
        elif step == "promise":
            await promise(core, key, data, at)
        elif step == "lose":
            await core.drainer.drain(range(256))
            await core.door.command("FLUSHALL")
        else:
            features = data.draw(
                st.lists(
                    st.sampled_from((*METERED, ALLOCATED)),
                    min_size=1 if step == "consume" else 2,
                    max_size=1 if step == "consume" else 3,
                    unique=True,
                )
            )
            items = [(f, data.draw(st.integers(1, 6))) for f in features]
            await consume(core, key, number, items, accepted, at)
    await core.drainer.drain(range(256))
    for feature in (*METERED, ALLOCATED):
        assert await recorded(core, number, feature) == accepted.total(feature)


async def consume(
    core: Core,
    key: str,
    number: int,
    items: list[tuple[str, int]],
    accepted: Accepted,
    at: datetime,
) -> None:
    entitled = (await core.customers.entitled([number], at))[number]
    pins = entitled.held.facts.pins or {}
    expected = True
    for feature, units in items:
        entitlement = entitled.entitlements.features[feature]
        expected = expected and entitlement.granted
        for limit in entitlement.limits:
            window = window_at(limit.frame, at, pins.get((feature, limit.window)))
            used = (
                accepted.total(feature)
                if limit.window in LASTING
                else accepted.within(feature, window)
            )
            expected = expected and (limit.units is None or used + units <= limit.units)
    outcome = await core.gate.consume_together(key, items, None, ms(at))
    assert isinstance(outcome, Denied) is not expected
    if isinstance(outcome, Denied):
        return
    accepted.uses += [(f, at, u) for f, u in items]
    for consumption in outcome:
        for figure in consumption.windows:
            limit = next(
                x
                for x in entitled.entitlements.features[consumption.feature].limits
                if x.window is figure.window
            )
            window = window_at(limit.frame, at, pins.get((consumption.feature, limit.window)))
            assert figure.used == (
                accepted.total(consumption.feature)
                if limit.window in LASTING
                else accepted.within(consumption.feature, window)
            )
            if window.ends_at is not None:
                assert figure.resets_at_s == int(window.ends_at.timestamp())


async def subscribe(core: Core, number: int, data: st.DataObject, at: datetime) -> None:
    plan = data.draw(st.sampled_from(("starter", "pro")))
    record = SubscriptionRecord(
        customer_id=number,
        provider="test",
        provider_id=f"sub-{number}-{data.draw(st.integers(0, 1))}",
        status=data.draw(st.sampled_from(SubscriptionStatus)),
        plan=plan,
        price=plan,
        billing_anchor=at - timedelta(seconds=data.draw(st.integers(0, 5_000_000))),
        ends_at=data.draw(st.none() | st.just(at + timedelta(days=3))),
    )

    async def write(conn: Connection) -> None:
        await subscriptions.upsert(conn, record, at)

    await core.changes.change(number, at, write)


async def promise(core: Core, key: str, data: st.DataObject, at: datetime) -> None:
    feature = data.draw(st.sampled_from(METERED))
    override = OverrideFacts(
        feature,
        limits=(Limit(data.draw(st.sampled_from((WindowKind.DAY, WindowKind.MONTH))), 20),),
        expires_at=data.draw(st.none() | st.just(at + timedelta(hours=30))),
    )
    try:
        await core.changes.set_override(key, override, at=at, actor="test", reason="test")
    except InvalidInput as error:
        assert "plan" in error.message  # noqa: PT017 - only this reason is expected


async def recorded(core: Core, number: int, feature: str) -> int:
    units = await core.database.fetchval(
        "select sum(t.units) from usage_totals t join features f on f.id = t.feature_id"
        " where t.customer_id = $1 and f.key = $2",
        number,
        feature,
    )
    return int(units or 0)
