from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.domain.catalog import Catalog, WindowKind
from api.domain.entitlements import CustomerFacts, entitle
from api.domain.transitions import Slot, carried, lasting, settle
from api.domain.windows import Window, window_at
from tests.support.builders import (
    ANALYSES,
    BILLING,
    POSTS,
    catalog,
    daily,
    facts,
    instant,
    limit,
    monthly,
    override,
    plan,
    subscription,
)

DAY = WindowKind.DAY
MONTH = WindowKind.MONTH


def window(begins: str, ends: str) -> Window:
    return Window(instant(begins), instant(ends))


@dataclass
class Life:
    """A customer whose facts and catalog change at instants that grow."""

    held: CustomerFacts
    sold: Catalog
    pins: Mapping[Slot, Window]
    valid_until: datetime | None = None

    def turn(
        self, at: datetime | str, sold: Catalog | None = None, **changed: object
    ) -> Mapping[Slot, Window]:
        """Change facts or catalog, the way that ``Changes`` does, and return the pins."""
        at = instant(at) if isinstance(at, str) else at
        before = replace(self.held, pins=self.pins)
        settled = settle(self.sold, before, self.valid_until, at)
        self.held = replace(self.held, **changed)  # type: ignore[arg-type]
        self.sold = sold or self.sold
        after = entitle(self.sold, self.held, at)
        self.pins = carried(settled.entitlements, after, settled.pins, at)
        self.valid_until = after.valid_until
        return self.pins

    def present(self, feature: str, kind: WindowKind, at: datetime | str) -> Window:
        at = instant(at) if isinstance(at, str) else at
        entitlement = entitle(self.sold, self.held, at).features[feature]
        (frame,) = [x.frame for x in entitlement.limits if x.window is kind]
        return window_at(frame, at, self.pins.get((feature, kind)))


def life(sold: Catalog | None = None, **held: object) -> Life:
    """Return the life of a customer that has held all this since before anything was counted."""
    sold, begun = sold or catalog(), facts(**held)
    return Life(begun, sold, {}, entitle(sold, begun, instant("2000-01-01")).valid_until)


# A zone moved


def test_a_zone_moved_east_runs_the_day_on_to_the_new_midnight() -> None:
    customer = life()
    pins = customer.turn("2026-03-10 10:00", timezone="Asia/Tokyo")
    assert pins[ANALYSES, DAY] == window("2026-03-10", "2026-03-11 15:00")
    assert pins[POSTS, MONTH] == window("2026-03-01", "2026-04-30 15:00")
    assert customer.present(ANALYSES, DAY, "2026-03-11 15:00") == window(
        "2026-03-11 15:00", "2026-03-12 15:00"
    )


def test_a_zone_moved_there_and_back_ends_at_a_midnight_of_the_first() -> None:
    customer = life()
    customer.turn("2026-03-10 10:00", timezone="Asia/Tokyo")
    pins = customer.turn("2026-03-10 10:01", timezone="UTC")
    assert pins[ANALYSES, DAY] == window("2026-03-10", "2026-03-12")


def test_a_zone_with_the_same_boundaries_needs_no_pin() -> None:
    customer = life()
    assert customer.turn("2026-03-10 10:00", timezone="Africa/Abidjan") == {}


def test_a_change_of_nothing_about_windows_pins_nothing() -> None:
    customer = life()
    assert customer.turn("2026-03-10 10:00", overrides=(override(),)) == {}


def test_a_pin_that_has_ended_is_forgotten() -> None:
    customer = life()
    customer.turn("2026-03-10 10:00", timezone="Asia/Tokyo")
    later = instant("2026-03-20")
    assert set(lasting(customer.pins, later)) == {(POSTS, MONTH)}
    assert set(customer.turn(later, overrides=(override(),))) == {(POSTS, MONTH)}


def test_fixed_and_endless_windows_are_never_pinned() -> None:
    kinds = (limit(WindowKind.MINUTE, 1), limit(WindowKind.HOUR, 1), limit(WindowKind.LIFETIME, 1))
    customer = life(catalog(plans=[plan("free", posts=kinds)]))
    assert customer.turn("2026-03-10 10:00", timezone="Asia/Tokyo") == {}


# An anchor moved


def test_a_subscription_that_moves_the_billing_anchor_keeps_the_period_running() -> None:
    billed = monthly(10, anchor=BILLING)
    sold = catalog(plans=[plan("free", posts=billed), plan("starter", rank=1, posts=billed)])
    customer = life(sold, created_at=instant("2026-01-05 09:30"))
    assert customer.present(POSTS, MONTH, "2026-03-20") == window(
        "2026-03-05 09:30", "2026-04-05 09:30"
    )
    anchored = subscription(billing_anchor=instant("2026-03-20 12:00"))
    pins = customer.turn("2026-03-20 12:00", subscriptions=(anchored,))
    assert pins == {(POSTS, MONTH): window("2026-03-05 09:30", "2026-04-20 12:00")}


def test_a_window_switched_from_calendar_to_billing_keeps_running() -> None:
    sold = catalog(
        plans=[
            plan("free", posts=monthly(10)),
            plan("starter", rank=1, posts=monthly(300, anchor=BILLING)),
        ]
    )
    customer = life(sold)
    anchored = subscription(billing_anchor=instant("2026-03-20 12:00"))
    pins = customer.turn("2026-03-20 12:00", subscriptions=(anchored,))
    assert pins[POSTS, MONTH] == window("2026-03-01", "2026-04-20 12:00")


def test_a_yearly_price_runs_the_period_on_to_the_next_yearly_boundary() -> None:
    period = (limit(WindowKind.BILLING_PERIOD, 10),)
    sold = catalog(plans=[plan("starter", rank=1, posts=period)])
    customer = life(sold)
    customer.turn("2026-03-01", subscriptions=(subscription(),))
    yearly = subscription(price="starter_yearly", billing_anchor=instant("2026-03-20"))
    pins = customer.turn("2026-03-20", subscriptions=(yearly,))
    slot = (POSTS, WindowKind.BILLING_PERIOD)
    assert pins[slot] == window("2026-03-01", "2027-03-20")


# A catalog changed


def test_a_catalog_that_switches_a_window_to_billing_keeps_it_running() -> None:
    customer = life()
    switched = catalog(plans=[plan("free", posts=monthly(10, anchor=BILLING))])
    pins = customer.turn("2026-03-10 10:00", sold=switched)
    assert pins[POSTS, MONTH] == window("2026-03-01", "2026-04-05 09:30")


def test_a_catalog_that_only_changes_figures_pins_nothing() -> None:
    customer = life()
    figures = catalog(plans=[replace(p, features={**p.features}) for p in catalog().plans.values()])
    assert customer.turn("2026-03-10 10:00", sold=figures) == {}


# A window that goes and comes back


def test_going_through_a_plan_without_the_window_gives_no_fresh_day() -> None:
    sold = catalog(
        plans=[plan("free", analyses=daily(50)), plan("pro", rank=2, analyses=monthly(900))]
    )
    customer = life(sold)
    customer.turn("2026-03-10 10:00", subscriptions=(subscription("pro"),))
    customer.turn("2026-03-10 10:01", timezone="Asia/Tokyo")
    customer.turn("2026-03-10 15:30", subscriptions=())
    # Tokyo's day began at 15:00; that of UTC, in which 50 may be used up, goes on.
    assert customer.present(ANALYSES, DAY, "2026-03-10 15:30") == window(
        "2026-03-10", "2026-03-11 15:00"
    )


def test_a_window_that_comes_back_after_its_end_begins_as_the_frame_says() -> None:
    sold = catalog(
        plans=[plan("free", analyses=daily(50)), plan("pro", rank=2, analyses=monthly(900))]
    )
    customer = life(sold)
    customer.turn("2026-03-10 10:00", subscriptions=(subscription("pro"),))
    customer.turn("2026-03-12 10:00", subscriptions=())
    assert customer.present(ANALYSES, DAY, "2026-03-12 10:00") == window("2026-03-12", "2026-03-13")


# What changes by itself


def test_a_subscription_that_ended_silently_is_lived_through_before_the_next_change() -> None:
    billed = monthly(10, anchor=BILLING)
    sold = catalog(plans=[plan("free", posts=billed), plan("starter", rank=1, posts=billed)])
    ending = subscription(billing_anchor=instant("2026-03-01"), ends_at=instant("2026-03-20"))
    customer = life(sold, created_at=instant("2026-01-05"), subscriptions=(ending,))
    # On the 20th the anchor falls back to the 5th: the period that began on the 1st of March
    # and would have ended on 1 April runs to 5 April. Nothing happens until the 25th.
    assert customer.turn("2026-03-25", overrides=(override(),))[POSTS, MONTH] == window(
        "2026-03-01", "2026-04-05"
    )


def test_a_subscription_that_ends_with_its_period_begins_the_next_one_there() -> None:
    billed = monthly(10, anchor=BILLING)
    sold = catalog(plans=[plan("free", posts=billed), plan("starter", rank=1, posts=billed)])
    ending = subscription(billing_anchor=instant("2026-03-01"), ends_at=instant("2026-04-01"))
    customer = life(sold, created_at=instant("2026-01-05"), subscriptions=(ending,))
    assert customer.turn("2026-04-02", overrides=(override(),))[POSTS, MONTH] == window(
        "2026-04-01", "2026-05-05"
    )


def test_several_silent_changes_are_lived_through_one_by_one() -> None:
    billed = monthly(10, anchor=BILLING)
    sold = catalog(
        plans=[plan(k, rank=r, posts=billed) for r, k in enumerate(("free", "starter", "pro"))]
    )
    customer = life(sold, created_at=instant("2026-01-05"))
    customer.turn(
        "2026-03-01",
        subscriptions=(
            subscription(
                "pro", id=1, billing_anchor=instant("2026-03-03"), ends_at=instant("2026-03-10")
            ),
            subscription(
                "starter", id=2, billing_anchor=instant("2026-03-17"), ends_at=instant("2026-03-20")
            ),
        ),
    )
    # pro's [3 Mar, 3 Apr) -> starter's 17 April -> the creation's 5 May.
    settled = settle(
        sold,
        replace(customer.held, pins=customer.pins),
        customer.valid_until,
        instant("2026-03-21"),
    )
    assert settled.pins[POSTS, MONTH].ends_at == instant("2026-05-05")
    assert settled.entitlements.plan == "free"


# What holds of every life

ZONES = ["UTC", "Asia/Tokyo", "Pacific/Honolulu", "America/Sao_Paulo", "Pacific/Apia"]
SHAPES = [
    daily(5),
    daily(5, anchor=BILLING),
    monthly(5),
    monthly(5, anchor=BILLING),
    (*daily(5), *monthly(50, anchor=BILLING)),
    (limit(WindowKind.WEEK, 5), limit(WindowKind.BILLING_PERIOD, 9)),
]
START = instant("2018-10-20")
instants = st.integers(0, 120 * 86_400).map(lambda s: START + timedelta(seconds=s))
subscriptions = st.builds(
    lambda key, number, anchor, end, yearly: subscription(
        key,
        id=number,
        billing_anchor=anchor,
        ends_at=end,
        price=f"{key}_yearly" if yearly else f"{key}_monthly",
    ),
    st.sampled_from(["starter", "pro"]),
    st.integers(1, 3),
    instants,
    st.none() | instants,
    st.booleans(),
)
catalogs = st.builds(
    lambda free, starter, pro: catalog(
        plans=[
            plan("free", posts=free),
            plan("starter", rank=1, posts=starter),
            plan("pro", rank=2, posts=pro),
        ]
    ),
    *[st.sampled_from(SHAPES)] * 3,
)
turns = st.fixed_dictionaries(
    {"hours": st.integers(0, 24 * 20)},
    optional={
        "timezone": st.sampled_from(ZONES),
        "subscriptions": st.lists(subscriptions, max_size=2).map(tuple),
        "sold": catalogs,
    },
)


@pytest.mark.parametrize("kind", [DAY, WindowKind.WEEK, MONTH, WindowKind.BILLING_PERIOD])
@given(catalogs, st.lists(turns, min_size=1, max_size=6))
def test_nobody_gains_a_fresh_window_by_any_sequence_of_changes(
    kind: WindowKind, sold: Catalog, sequence: list[dict[str, object]]
) -> None:
    """Whatever changes, a window that was promised to last until its end does last until then."""
    customer = life(sold, created_at=START)
    at = START
    promised: Window | None = None
    for turned in sequence:
        at += timedelta(hours=int(str(turned["hours"])))
        given_ = {k: v for k, v in turned.items() if k != "hours"}
        customer.turn(at, **given_)  # type: ignore[arg-type]
        limited = entitle(customer.sold, customer.held, at).features[POSTS].limits
        frames = {x.window: x.frame for x in limited}
        if promised is not None and at not in promised:
            promised = None
        if kind not in frames:
            continue
        present = window_at(frames[kind], at, customer.pins.get((POSTS, kind)))
        assert at in present
        if promised is not None:
            assert present.starts_at <= promised.starts_at
            assert present.ends_at is not None
            assert promised.ends_at is not None
            assert present.ends_at >= promised.ends_at
            assert window_at(frames[kind], present.ends_at).starts_at == present.ends_at
        promised = present
