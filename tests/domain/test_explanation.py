from dataclasses import replace

import pytest

from api.domain.catalog import Catalog, PastDuePolicy, WindowKind
from api.domain.entitlements import CustomerFacts, SubscriptionFacts, SubscriptionStatus, entitle
from api.domain.explanation import Explanation, explain
from api.domain.windows import Window
from tests.support.builders import (
    ANALYSES,
    SEATS,
    catalog,
    facts,
    instant,
    override,
    subscription,
)

AT = instant("2026-03-10 10:00")


def explained(held: CustomerFacts, feature: str, sold: Catalog | None = None) -> Explanation:
    return explain(sold or catalog(), held, feature, AT)


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (subscription(), "gives its plan and add-ons"),
        (subscription(status=SubscriptionStatus.UNPAID), "that is unpaid gives nothing"),
        (subscription(status=SubscriptionStatus.CANCELED), "that is canceled gives nothing"),
        (subscription(ends_at=instant("2026-03-01")), "It ended at 2026-03-01"),
        (subscription("forgotten"), "has no plan 'forgotten'"),
        (subscription(status=SubscriptionStatus.PAST_DUE), "the catalog withdraws"),
    ],
)
def test_every_subscription_says_why_it_gives_or_does_not(
    held: SubscriptionFacts, why: str
) -> None:
    sold = catalog(past_due=PastDuePolicy.WITHDRAW)
    found = explained(facts(subscriptions=(held,)), ANALYSES, sold)
    (holding,) = found.holdings
    assert why in holding.why
    assert holding.gives == (found.entitlements.plan == "starter")


def test_what_plan_and_add_on_said_stands_beside_what_came_of_it() -> None:
    found = explained(facts(subscriptions=(subscription(add_ons=(("more_seats", 4),)),)), SEATS)
    assert [(o.source, o.name, o.quantity, o.offer.limits[0].units) for o in found.offers] == [
        ("plan", "starter", 1, 3),
        ("add-on", "more_seats", 4, 1),
    ]
    assert found.entitlement.limits[0].units == 7


def test_a_promise_that_has_ended_is_shown_and_offers_nothing() -> None:
    ended = override(expires_at=instant("2026-03-05"))
    found = explained(facts(overrides=(ended,)), ANALYSES)
    assert found.override == ended
    assert [o.source for o in found.offers] == ["plan"]
    found = explained(facts(overrides=(override(),)), ANALYSES)
    assert [o.source for o in found.offers] == ["plan", "override"]
    assert found.entitlement.limits[0].units == 1000


def test_a_window_says_where_it_lies_and_whether_it_was_carried_over() -> None:
    held = facts(timezone="Asia/Tokyo")
    (present,) = explained(held, ANALYSES).windows
    own = Window(instant("2026-03-09 15:00"), instant("2026-03-10 15:00"))
    assert (present.window, present.pinned, present.limit.frame.zone) == (own, False, "Asia/Tokyo")
    pin = Window(instant("2026-03-10"), instant("2026-03-11 15:00"))
    carried = replace(held, pins={(ANALYSES, WindowKind.DAY): pin})
    (present,) = explained(carried, ANALYSES).windows
    assert (present.window, present.pinned) == (pin, True)
    ended = replace(
        held,
        pins={(ANALYSES, WindowKind.DAY): Window(instant("2026-03-08"), instant("2026-03-09"))},
    )
    (present,) = explained(ended, ANALYSES).windows
    assert (present.window, present.pinned) == (own, False)


def test_an_explanation_and_the_rights_themselves_are_one_answer() -> None:
    held = facts(subscriptions=(subscription("pro"),), overrides=(override(),))
    for feature in catalog().features:
        found = explained(held, feature)
        assert found.entitlements == entitle(catalog(), held, AT)
        assert found.entitlement == found.entitlements.features[feature]
