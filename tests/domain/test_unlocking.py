"""The plans that a denial names, against a customer who is moved to each of them."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from api.domain.admission import Action, Count, Judgement, Outcome, judge
from api.domain.catalog import Anchor, Catalog, FeatureKind, Limit, Plan, PlanFeature, WindowKind
from api.domain.decision import Decision, WindowFigure, deny
from api.domain.entitlements import CustomerFacts, Entitlements, OverrideFacts, counted, entitle
from api.domain.snapshot import decode_holding, encode_holding, holding_of
from api.domain.transitions import carried
from api.domain.unlocking import Asked, Holding, Known, plans_that_allow
from api.domain.windows import window_at
from tests.support.builders import (
    BILLING,
    CREATED,
    POSTS,
    add_on,
    catalog,
    daily,
    facts,
    feature,
    instant,
    limit,
    monthly,
    override,
    plan,
    seats,
    subscription,
)

AT = instant("2026-03-10 10:00")
Ledger = list[tuple[datetime, int]]


def limits_in(kind: FeatureKind) -> st.SearchStrategy[tuple[Limit, ...]]:
    windows = list(WindowKind) if kind is FeatureKind.METERED else [WindowKind.LIFETIME]
    return st.lists(
        st.builds(
            Limit,
            st.sampled_from(windows),
            st.none() | st.integers(0, 30),
            st.sampled_from(Anchor),
            shadow=st.sampled_from((False, False, False, True)),
        ),
        min_size=int(kind is FeatureKind.ALLOCATION),
        max_size=3 if kind is FeatureKind.METERED else 1,
        unique_by=lambda x: x.window,
    ).map(lambda found: tuple(sorted(found, key=lambda x: x.window.code)))


@st.composite
def sold(draw: st.DrawFn, kind: FeatureKind) -> Catalog:
    plans = []
    for rank, key in enumerate(("free", "starter", "pro", "max")):
        offered = (
            {"it": PlanFeature("it", draw(st.integers(0, 5)) > 0, limits=draw(limits_in(kind)))}
            if draw(st.integers(0, 3))
            else {}
        )
        public = draw(st.integers(0, 4)) > 0
        plans.append(Plan(key, key, public=public, rank=rank, features=offered))
    beside = draw(st.sets(st.sampled_from(("free", "starter", "pro"))))
    more = replace(add_on("more", it=draw(limits_in(kind))), plans=frozenset(beside))
    return catalog(plans=plans, features=[feature("it", kind)], add_ons=[more])


@st.composite
def customers(draw: st.DrawFn, kind: FeatureKind) -> CustomerFacts:
    promised = OverrideFacts(
        "it",
        enabled=draw(st.sampled_from((None, None, True, False))),
        limits=draw(limits_in(kind)),
        expires_at=draw(st.sampled_from((None, AT, AT + timedelta(hours=1)))),
    )
    more = (("more", draw(st.integers(1, 3))),) if draw(st.booleans()) else ()
    held = draw(st.sampled_from(("free", "starter")))
    return facts(
        timezone=draw(st.sampled_from(("UTC", "Asia/Kolkata", "America/Los_Angeles"))),
        overrides=(promised,) if draw(st.booleans()) else (),
        subscriptions=(subscription(held, add_ons=more, billing_anchor=CREATED),),
    )


def moved(customer: CustomerFacts, to: Plan, offered: Catalog) -> CustomerFacts:
    """Move the customer's subscription to another plan; the add-ons not sold beside it go."""
    (held,) = customer.subscriptions
    stay = tuple((k, n) for k, n in held.add_ons if offered.add_ons[k].sold_beside(to.key))
    return replace(customer, subscriptions=(replace(held, plan=to.key, add_ons=stay),))


def asked(
    customer: CustomerFacts, entitlements: Entitlements, ledger: Ledger, units: int
) -> Judgement:
    pins = customer.pins or {}
    counts = {}
    for x in counted(entitlements.features["it"]) or ():
        window = window_at(x.frame, AT, pins.get(("it", x.window)))
        used = sum(n for when, n in ledger if when in window)
        counts["it", x.window] = Count(window, used)
    return judge(Action.CHECK, [("it", units)], entitlements.features, pins, counts, AT)


def denied(
    offered: Catalog, customer: CustomerFacts, entitlements: Entitlements, judged: Judgement, n: int
) -> Decision:
    windows = None
    if judged.figures[0] is not None:
        windows = tuple(
            WindowFigure(
                f.limit.window,
                f.limit.units,
                f.used,
                None if f.window.ends_at is None else int(f.window.starts_at.timestamp()),
                None if f.window.ends_at is None else int(f.window.ends_at.timestamp()),
                shadow=f.limit.shadow,
                granted=f.granted,
            )
            for f in judged.figures[0]
        )
    # As the counter store tells it.
    holding = decode_holding(encode_holding(holding_of(customer, entitlements, AT), 1, 1))
    it, at_s = offered.features["it"], int(AT.timestamp())
    return deny(offered, holding, customer.key, it, n, windows, at_s=at_s)


@settings(max_examples=600)
@given(data=st.data())
def test_a_plan_is_named_exactly_where_moving_to_it_would_help(data: st.DataObject) -> None:
    """Exact where every window of the plan is known; else no plan that helps is left out."""
    kind = data.draw(st.sampled_from((FeatureKind.METERED, FeatureKind.ALLOCATION)))
    offered, customer = data.draw(sold(kind)), data.draw(customers(kind))
    past = st.sampled_from((0, 30, 1_800, 20_000, 80_000, 500_000, 2_000_000, 9_000_000))
    drawn = data.draw(st.lists(st.tuples(past, st.integers(1, 15)), max_size=4))
    ledger = [(AT - timedelta(seconds=ago), n) for ago, n in drawn]
    units = data.draw(st.integers(1, 12))
    before = entitle(offered, customer, AT)
    judged = asked(customer, before, ledger, units)
    if judged.outcome is not Outcome.DENIED:
        return
    named = denied(offered, customer, before, judged, units).unlocked_by
    known = {x.window for x in counted(before.features["it"]) or ()}
    for other in offered.plans.values():
        offer_ = other.features.get("it")
        if not other.public or other.key in before.plans or offer_ is None or not offer_.enabled:
            assert other.key not in named
            continue
        there = moved(customer, other, offered)
        after = entitle(offered, there, AT)
        there = replace(there, pins=carried(before, after, {}, AT))
        helps = asked(there, after, ledger, units).outcome is Outcome.ALLOWED
        limits = after.features["it"].limits
        if all(x.window in known for x in limits if x.units is not None and not x.shadow):
            assert (other.key in named) == helps
        elif helps:
            assert other.key in named


def named(
    offered: Catalog, known: dict[WindowKind, Known], add_ons: tuple[tuple[str, int], ...] = ()
) -> tuple[str, ...]:
    held = Holding("business", "free", ("free",), add_ons=add_ons, zone="UTC")
    return plans_that_allow(offered, held, Asked(POSTS, 1, known, int(AT.timestamp())))


def since(text: str, used: int) -> Known:
    return Known(used, int(instant(text).timestamp()))


def test_a_window_that_is_not_known_holds_what_began_within_it() -> None:
    offered = catalog(plans=[plan("starter", rank=1, posts=monthly(12)), plan("pro")])
    assert named(offered, {WindowKind.DAY: since("2026-03-10", 12)}) == ()
    assert named(offered, {WindowKind.DAY: since("2026-03-10", 11)}) == ("starter",)
    # A week that began in February may have been used up there.
    assert named(offered, {WindowKind.WEEK: since("2026-02-26", 12)}) == ("starter",)
    # All of a month's use was today when the month is of today.
    by_day = catalog(plans=[plan("starter", rank=1, posts=daily(12)), plan("pro")])
    assert named(by_day, {WindowKind.MONTH: since("2026-03-10", 12)}) == ()
    assert named(by_day, {WindowKind.MONTH: since("2026-03-01", 12)}) == ("starter",)
    ever = catalog(plans=[plan("starter", rank=1, posts=seats(12)), plan("pro")])
    assert named(ever, {WindowKind.MONTH: since("2026-03-01", 12)}) == ()


def test_a_billing_period_that_may_begin_anew_is_not_held_against_a_plan() -> None:
    own = limit(WindowKind.BILLING_PERIOD, 12)
    offered = catalog(plans=[plan("starter", rank=1, posts=(own,)), plan("pro")])
    assert named(offered, {WindowKind.DAY: since("2026-03-10", 12)}) == ("starter",)
    offered = catalog(plans=[plan("starter", rank=1, posts=monthly(12, anchor=BILLING))])
    assert "starter" in named(offered, {WindowKind.DAY: since("2026-03-10", 12)})


def test_add_ons_that_stay_count_and_those_that_cannot_do_not() -> None:
    plans = [plan("starter", rank=1, posts=monthly(12)), plan("pro")]
    known = {WindowKind.MONTH: since("2026-03-01", 12)}
    held = (("more_posts", 1),)
    assert named(catalog(plans=plans), known) == ()
    assert named(catalog(plans=plans), known, add_ons=held) == ("starter",)
    apart = replace(add_on("more_posts", posts=monthly(100)), plans=frozenset({"free"}))
    assert named(catalog(plans=plans, add_ons=[apart]), known, add_ons=held) == ()


def test_an_override_that_has_ended_says_nothing_in_a_denial() -> None:
    ends = override(POSTS, enabled=False, limits=monthly(2), expires_at=AT)
    held = facts(overrides=(ends,))
    before = holding_of(held, entitle(catalog(), held, AT), AT - timedelta(seconds=1))
    assert (before.blocked, set(before.overridden)) == ((POSTS,), {POSTS})
    after = holding_of(held, entitle(catalog(), held, AT), AT)
    assert (after.blocked, after.overridden) == ((), {})
