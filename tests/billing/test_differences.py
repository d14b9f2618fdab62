"""What differs between the provider's subscriptions and ours."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.billing.differences import COMPARED, Kind, difference
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.entitlements import SubscriptionStatus

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
