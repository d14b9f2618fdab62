from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from api.domain.catalog import (
    MAX_UNITS,
    Catalog,
    FeatureKind,
    Limit,
    PastDuePolicy,
    PlanFeature,
    WindowKind,
)
from api.domain.combining import combine
from api.domain.entitlements import (
    CustomerFacts,
    Entitlement,
    Entitlements,
    SubscriptionStatus,
    entitle,
)
from api.domain.windows import Frame
from tests.support.builders import (
    ANALYSES,
    BILLING,
    COMPANIES,
    CREATED,
    EXPORT,
    FEATURES,
    POSTS,
    SEATS,
    add_on,
    catalog,
    daily,
    facts,
    feature,
    instant,
    limit,
    monthly,
    offer,
    override,
    plan,
    seats,
    subscription,
)

AT = instant("2026-03-10 10:00")
DAY = WindowKind.DAY
MONTH = WindowKind.MONTH


def judged(
    held: CustomerFacts | None = None, sold: Catalog | None = None, at: datetime = AT
) -> Entitlements:
    return entitle(sold or catalog(), held or facts(), at)


def units(entitlement: Entitlement) -> dict[WindowKind, int | None]:
    return {x.window: x.units for x in entitlement.limits}


def limits_of(combined: PlanFeature | None) -> dict[WindowKind, int | None]:
    assert combined is not None
    return {x.window: x.units for x in combined.limits}


# Plans


def test_without_a_subscription_the_types_default_plan_holds() -> None:
    found = judged()
    assert (found.plan, found.plans) == ("free", ("free",))
    assert units(found.features[ANALYSES]) == {DAY: 50}
    assert not found.features[EXPORT].granted
    assert found.valid_until is None


def test_a_type_that_the_catalog_has_dropped_counts_as_the_default_one() -> None:
    assert judged(facts(type="forgotten")).plan == "free"


@pytest.mark.parametrize(
    ("status", "plan_key"),
    [
        (SubscriptionStatus.TRIALING, "starter"),
        (SubscriptionStatus.ACTIVE, "starter"),
        (SubscriptionStatus.PAST_DUE, "starter"),
        (SubscriptionStatus.INCOMPLETE, "free"),
        (SubscriptionStatus.INCOMPLETE_EXPIRED, "free"),
        (SubscriptionStatus.PAUSED, "free"),
        (SubscriptionStatus.UNPAID, "free"),
        (SubscriptionStatus.CANCELED, "free"),
    ],
)
def test_a_subscription_gives_its_plan_only_while_its_status_does(
    status: SubscriptionStatus, plan_key: str
) -> None:
    assert judged(facts(subscriptions=(subscription(status=status),))).plan == plan_key


def test_past_due_gives_the_free_plan_where_the_catalog_withdraws() -> None:
    held = facts(subscriptions=(subscription(status=SubscriptionStatus.PAST_DUE),))
    found = judged(held, catalog(past_due=PastDuePolicy.WITHDRAW))
    assert (found.plan, found.withheld) == ("free", ("starter",))


@pytest.mark.parametrize(
    "status", [SubscriptionStatus.UNPAID, SubscriptionStatus.PAUSED], ids=lambda s: str(s.value)
)
def test_what_a_payment_would_bring_back_is_named(status: SubscriptionStatus) -> None:
    assert judged(facts(subscriptions=(subscription(status=status),))).withheld == ("starter",)


def test_a_plan_that_nobody_sells_any_more_is_not_held() -> None:
    held = facts(subscriptions=(subscription("forgotten"), subscription("starter", id=2)))
    assert judged(held).plans == ("starter",)


def test_the_plan_of_a_customer_is_the_highest_in_rank() -> None:
    held = facts(subscriptions=(subscription("pro"), subscription("starter", id=2)))
    found = judged(held)
    assert (found.plan, found.plans) == ("pro", ("pro", "starter"))


def test_a_subscription_that_ends_gives_its_plan_until_that_instant() -> None:
    end = instant("2026-03-20")
    held = facts(subscriptions=(subscription(ends_at=end),))
    before = judged(held, at=end - timedelta(microseconds=1))
    assert (before.plan, before.valid_until) == ("starter", end)
    after = judged(held, at=end)
    assert (after.plan, after.valid_until) == ("free", None)


def test_a_withheld_plan_that_ends_is_no_longer_withheld() -> None:
    end = instant("2026-03-20")
    held = facts(subscriptions=(subscription(status=SubscriptionStatus.UNPAID, ends_at=end),))
    before = judged(held)
    assert (before.withheld, before.valid_until) == (("starter",), end)
    assert judged(held, at=end).withheld == ()


def test_the_next_change_is_the_earliest_of_all() -> None:
    held = facts(
        subscriptions=(subscription(ends_at=instant("2026-03-20")),),
        overrides=(
            override(expires_at=instant("2026-03-09")),
            override(POSTS, limits=monthly(1), expires_at=instant("2026-03-15")),
        ),
    )
    assert judged(held).valid_until == instant("2026-03-15")


# Combining


def test_of_several_plans_the_largest_limit_counts() -> None:
    combined = combine([offer(POSTS, monthly(300)), offer(POSTS, monthly(1000))], [])
    assert limits_of(combined) == {MONTH: 1000}


def test_unlimited_is_the_largest_limit() -> None:
    combined = combine([offer(POSTS, monthly(None)), offer(POSTS, monthly(1000))], [])
    assert limits_of(combined) == {MONTH: None}


def test_a_window_that_only_one_plan_limits_is_not_limited() -> None:
    both = PlanFeature(POSTS, limits=(*daily(20), *monthly(300)))
    assert limits_of(combine([both, offer(POSTS, monthly(100))], [])) == {MONTH: 300}


def test_plans_with_limits_in_different_windows_do_not_add_up_to_no_limit() -> None:
    best, other = offer(POSTS, monthly(300)), offer(POSTS, daily(20))
    assert limits_of(combine([best, other], [])) == {MONTH: 300}
    assert limits_of(combine([other, best], [])) == {DAY: 20}
    # Nor does a window that one of them leaves unlimited make the other's vanish.
    open_day = PlanFeature(POSTS, limits=(*daily(None), *monthly(300)))
    assert limits_of(combine([open_day, other], [])) == {DAY: None, MONTH: 300}


def test_the_best_plan_comes_first_when_plans_are_combined() -> None:
    sold = catalog(
        plans=[
            plan("by_month", rank=5, posts=monthly(300)),
            plan("by_day", rank=4, posts=daily(20)),
        ]
    )
    held = facts(subscriptions=(subscription("by_day"), subscription("by_month", id=2)))
    assert units(judged(held, sold).features[POSTS]) == {MONTH: 300}


def test_a_plan_without_any_limit_gives_more_than_any_other() -> None:
    assert limits_of(combine([PlanFeature(POSTS), offer(POSTS, monthly(300))], [])) == {}


def test_a_shadow_lets_pass_and_so_gives_more_than_a_limit_that_binds() -> None:
    shadow = limit(MONTH, 5, shadow=True)
    combined = combine([offer(POSTS, monthly(300)), PlanFeature(POSTS, limits=(shadow,))], [])
    assert combined is not None
    assert combined.limits == (shadow,)


def test_what_any_plan_includes_of_what_costs_credits_stays_included() -> None:
    included = limit(MONTH, 5, overage=True)
    for other in (PlanFeature(POSTS), offer(POSTS, daily(300)), offer(POSTS, monthly(None))):
        combined = combine([other, PlanFeature(POSTS, limits=(included,))], [])
        assert combined is not None
        assert combined.limits == (included,)
    more = replace(included, units=7)
    both = [PlanFeature(POSTS, limits=(x,)) for x in (more, included)]
    combined = combine(both, [(offer(POSTS, monthly(10)), 2)])
    assert combined is not None
    assert combined.limits == (replace(included, units=27),)


def test_an_override_changes_how_much_is_included_and_not_that_it_is() -> None:
    free = plan("free", analyses=(limit(DAY, 50, overage=True),))
    found = judged(facts(overrides=(override(),)), catalog(plans=[free])).features[ANALYSES]
    assert [(x.units, x.overage) for x in found.limits] == [(1000, True)]


def test_what_no_plan_enables_is_not_given() -> None:
    assert combine([PlanFeature(EXPORT, enabled=False)], []) is None
    assert combine([], []) is None


def test_add_ons_add_theirs_times_quantity() -> None:
    held = facts(subscriptions=(subscription("starter", add_ons=(("more_seats", 4),)),))
    found = judged(held)
    assert units(found.features[SEATS]) == {WindowKind.LIFETIME: 7}
    assert found.add_ons == (("more_seats", 4),)


def test_an_add_on_gives_what_the_plan_does_not() -> None:
    extra = offer(POSTS, monthly(100))
    assert limits_of(combine([], [(extra, 2), (extra, 1)])) == {MONTH: 300}
    assert limits_of(combine([PlanFeature(POSTS, enabled=False)], [(extra, 2)])) == {MONTH: 200}


def test_an_add_on_never_limits_a_window_that_the_plan_leaves_open() -> None:
    assert limits_of(combine([PlanFeature(POSTS)], [(offer(POSTS, monthly(100)), 1)])) == {}
    unlimited = combine([offer(POSTS, monthly(None))], [(offer(POSTS, monthly(100)), 1)])
    assert limits_of(unlimited) == {MONTH: None}


def test_sums_stay_within_what_can_be_counted() -> None:
    huge = offer(POSTS, monthly(MAX_UNITS))
    assert limits_of(combine([huge], [(huge, 1000)])) == {MONTH: MAX_UNITS}


def test_add_ons_of_a_subscription_that_gives_nothing_do_not_count() -> None:
    held = facts(
        subscriptions=(
            subscription(status=SubscriptionStatus.CANCELED, add_ons=(("more_seats", 4),)),
        )
    )
    assert units(judged(held).features[SEATS]) == {WindowKind.LIFETIME: 1}


def test_add_ons_can_come_in_a_subscription_of_their_own() -> None:
    held = facts(
        subscriptions=(
            subscription("starter"),
            subscription(None, id=2, add_ons=(("more_seats", 1),)),
        )
    )
    assert units(judged(held).features[SEATS]) == {WindowKind.LIFETIME: 4}


def test_an_unknown_add_on_and_a_quantity_of_nothing_count_nothing() -> None:
    held = facts(subscriptions=(subscription(add_ons=(("forgotten", 3), ("more_seats", 0))),))
    found = judged(held)
    assert found.add_ons == ()
    assert units(found.features[SEATS]) == {WindowKind.LIFETIME: 3}


@pytest.mark.parametrize(
    ("offered", "extra", "value"),
    [
        ([1, 5], [], 5),
        ([1], [(2, 3)], 7),
        ([], [(2, 3)], 6),
        (["gold", "silver"], [], "silver"),
        (["basic"], [("extended", 2)], "extended"),
        ([True, False], [], True),
        ([False], [(True, 1)], True),
        ([1.5], [(1, 1)], 2.5),
    ],
)
def test_of_values_the_largest_counts_and_add_ons_add_numbers(
    offered: list[int | str], extra: list[tuple[int | str, int]], value: object
) -> None:
    combined = combine(
        [PlanFeature(COMPANIES, value=v) for v in offered],
        [(PlanFeature(COMPANIES, value=v), n) for v, n in extra],
    )
    assert combined is not None
    assert combined.value == value


# Overrides


def test_an_override_replaces_the_plans_limit_and_keeps_how_it_is_denied() -> None:
    free = plan("free", analyses=daily(50, anchor=BILLING, code="FREE_CAP_EXCEEDED", status=429))
    found = judged(facts(overrides=(override(),)), catalog(plans=[free])).features[ANALYSES]
    (limited,) = found.limits
    assert (limited.units, limited.code, limited.status) == (1000, "FREE_CAP_EXCEEDED", 429)
    assert limited.frame.anchor == CREATED


def test_an_override_can_also_promise_less() -> None:
    assert units(judged(facts(overrides=(override(limits=daily(5)),))).features[ANALYSES]) == {
        DAY: 5
    }


def test_an_override_adds_limits_in_other_windows() -> None:
    found = judged(facts(overrides=(override(limits=monthly(500)),))).features[ANALYSES]
    assert units(found) == {DAY: 50, MONTH: 500}


def test_an_override_replaces_the_sum_with_add_ons() -> None:
    held = facts(
        subscriptions=(subscription(add_ons=(("more_seats", 4),)),),
        overrides=(override(SEATS, limits=seats(2)),),
    )
    assert units(judged(held).features[SEATS]) == {WindowKind.LIFETIME: 2}


def test_an_override_grants_what_no_plan_gives() -> None:
    promised = override(EXPORT, enabled=True, limits=())
    assert judged(facts(overrides=(promised,))).features[EXPORT].granted


def test_an_override_takes_away_what_the_plan_gives() -> None:
    assert (
        not judged(facts(overrides=(override(enabled=False, limits=()),)))
        .features[ANALYSES]
        .granted
    )


def test_an_override_sets_a_value() -> None:
    promised = override(COMPANIES, value=40, limits=())
    assert judged(facts(overrides=(promised,))).features[COMPANIES].value == 40


def test_an_allocation_promised_without_a_limit_is_still_counted() -> None:
    sold = catalog(features=[*FEATURES, feature("sites", FeatureKind.ALLOCATION)])
    promised = override("sites", enabled=True, limits=())
    found = judged(facts(overrides=(promised,)), sold).features["sites"]
    assert units(found) == {WindowKind.LIFETIME: None}


def test_an_override_ends_at_its_instant() -> None:
    end = instant("2026-03-20")
    held = facts(overrides=(override(expires_at=end),))
    assert units(judged(held, at=end - timedelta(seconds=1)).features[ANALYSES]) == {DAY: 1000}
    assert units(judged(held, at=end).features[ANALYSES]) == {DAY: 50}


# Where windows lie


def frame(held: CustomerFacts, limits: tuple[Limit, ...]) -> Frame:
    sold = catalog(plans=[plan("free", posts=limits), plan("starter", rank=1, posts=limits)])
    (limited,) = judged(held, sold).features[POSTS].limits
    return limited.frame


def test_calendar_windows_lie_in_the_customers_zone() -> None:
    assert frame(facts(timezone="Asia/Tokyo"), monthly(1)) == Frame(MONTH, "Asia/Tokyo")


def test_minutes_hours_and_lifetimes_lie_the_same_for_everybody() -> None:
    for kind in (WindowKind.MINUTE, WindowKind.HOUR, WindowKind.LIFETIME):
        found = frame(facts(timezone="Asia/Tokyo"), (limit(kind, 1, anchor=BILLING),))
        assert found == Frame(kind)


def test_without_a_subscription_the_billing_period_begins_at_the_customers_creation() -> None:
    held = facts(created_at=CREATED.replace(microsecond=123))
    assert frame(held, monthly(1, anchor=BILLING)) == Frame(MONTH, anchor=CREATED)
    period = frame(held, (limit(WindowKind.BILLING_PERIOD, 1),))
    assert period == Frame(WindowKind.BILLING_PERIOD, anchor=CREATED)


def test_with_a_subscription_the_billing_period_begins_at_its_anchor() -> None:
    anchored = subscription(billing_anchor=instant("2026-01-31 08:00"))
    found = frame(facts(subscriptions=(anchored,)), monthly(1, anchor=BILLING))
    assert found.anchor == instant("2026-01-31 08:00")
    without = replace(anchored, billing_anchor=None)
    found = frame(facts(subscriptions=(without,)), monthly(1, anchor=BILLING))
    assert found.anchor == anchored.current_period_start


def test_a_yearly_price_makes_a_billing_period_of_twelve_months() -> None:
    period = (limit(WindowKind.BILLING_PERIOD, 1),)
    held = facts(subscriptions=(subscription(price="starter_yearly"),))
    assert frame(held, period).period_months == 12
    assert frame(facts(subscriptions=(subscription(),)), period).period_months == 1


def test_of_several_subscriptions_the_best_plans_anchor_counts_and_then_the_oldest() -> None:
    first, second = instant("2026-01-03"), instant("2026-01-17")
    pro = subscription("pro", id=9, billing_anchor=second)
    starter = subscription("starter", id=1, billing_anchor=first)
    sold = catalog(plans=[plan("pro", rank=2, posts=monthly(9000, anchor=BILLING))])
    (limited,) = judged(facts(subscriptions=(starter, pro)), sold).features[POSTS].limits
    assert limited.frame.anchor == second
    twins = (subscription("pro", id=8, billing_anchor=first), pro)
    (limited,) = judged(facts(subscriptions=twins), sold).features[POSTS].limits
    assert limited.frame.anchor == first


def test_limits_come_shortest_window_first() -> None:
    all_kinds = tuple(limit(kind, 9) for kind in reversed(WindowKind))
    found = judged(sold=catalog(plans=[plan("free", posts=all_kinds)])).features[POSTS]
    assert [x.window for x in found.limits] == list(WindowKind)


def test_the_same_facts_give_the_same_answer_in_whatever_order_they_are_read() -> None:
    held = (
        subscription("pro", id=1, add_ons=(("more_seats", 1),)),
        subscription("starter", id=2, add_ons=(("more_posts", 2),)),
        subscription("starter", id=3, status=SubscriptionStatus.UNPAID),
    )
    sold = catalog(
        add_ons=[add_on("more_seats", seats=seats(1)), add_on("more_posts", posts=monthly(9))]
    )
    one = judged(facts(subscriptions=held), sold)
    assert judged(facts(subscriptions=held[::-1]), sold) == one


def test_a_trial_whose_end_was_never_told_gives_its_plan_for_three_days_more() -> None:
    end = instant("2026-03-20")
    trial = subscription(status=SubscriptionStatus.TRIALING, trial_ends_at=end)
    held = facts(subscriptions=(trial,))
    for after in (-timedelta(days=1), timedelta(days=2)):
        given = entitle(catalog(), held, end + after)
        assert (given.plan, given.valid_until) == ("starter", end + timedelta(days=3))
    assert entitle(catalog(), held, end + timedelta(days=3)).plan == "free"
    active = facts(subscriptions=(subscription(trial_ends_at=end),))
    assert entitle(catalog(), active, end + timedelta(days=30)).plan == "starter"
