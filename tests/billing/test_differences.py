"""What differs between the provider's subscriptions and ours, and which of two is too many."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from api.billing.differences import COMPARED, Kind, difference, duplicates
from api.catalog.file import parse
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.entitlements import SubscriptionStatus
from tests.support.billing import CATALOG, SEVERAL

AT = datetime(2026, 3, 10, 10, tzinfo=UTC)
RECORD = SubscriptionRecord(
    customer_id=1,
    provider="stripe",
    provider_id="sub_1",
    status=SubscriptionStatus.ACTIVE,
    plan="starter",
    price="starter_monthly",
    current_period_start=AT,
    current_period_end=AT + timedelta(days=31),
    id=1,
)
OTHERWISE = {
    "customer_id": 2,
    "status": SubscriptionStatus.PAST_DUE,
    "plan": "pro",
    "price": "pro_monthly",
    "pending_plan": "pro",
    "scheduled_plan": "pro",
    "scheduled_price": "pro_monthly",
    "add_ons": (("more_seats", 2),),
    "cancel_at_period_end": True,
}


def test_the_same_state_is_no_difference() -> None:
    assert difference(RECORD, replace(RECORD, id=7, paid_until=AT)) is None


@pytest.mark.parametrize("name", COMPARED)
def test_each_fact_that_the_provider_decides_is_compared(name: str) -> None:
    other: dict[str, Any] = {name: OTHERWISE.get(name, AT + timedelta(days=3))}
    told = replace(RECORD, **other)
    found = difference(told, RECORD)
    assert found is not None
    assert found.kind is Kind.CHANGED
    assert [field for field, _, _ in found.fields] == [name]


def test_one_that_is_live_there_and_unknown_here_is_missing_and_one_that_ended_is_not() -> None:
    found = difference(RECORD, None)
    assert found is not None
    assert found.kind is Kind.MISSING
    assert difference(replace(RECORD, status=SubscriptionStatus.CANCELED), None) is None


PAID = replace(RECORD, provider_id="paid", id=5, paid_until=AT)
PRO = replace(RECORD, provider_id="pro", plan="pro")
YOUNGER = replace(RECORD, provider_id="younger", billing_anchor=AT + timedelta(hours=1))
OLDER = replace(RECORD, provider_id="older", billing_anchor=AT)
LATE = replace(RECORD, provider_id="late", id=1, status=SubscriptionStatus.PAST_DUE)
ENDED = replace(RECORD, provider_id="ended", id=9, status=SubscriptionStatus.CANCELED)
SEATS = replace(RECORD, provider_id="seats", id=8, plan=None)


def test_of_several_live_ones_paid_then_highest_then_best_then_oldest_stays() -> None:
    catalog = parse(CATALOG, "test.toml")
    for order in permutations([PAID, PRO, OLDER, YOUNGER, LATE, SEATS, ENDED]):
        extra = duplicates(catalog, order, "business")
        assert [record.provider_id for record in extra] == ["pro", "older", "younger", "late"]


def test_where_plans_are_held_together_only_the_same_one_twice_is_too_many() -> None:
    catalog = parse(SEVERAL, "test.toml")
    extra = duplicates(catalog, [PAID, PRO, OLDER], "business")
    assert [record.provider_id for record in extra] == ["older"]
