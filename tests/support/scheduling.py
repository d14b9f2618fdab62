"""Holders of plans that are to change as their period ends, and what is shown of it."""

from datetime import datetime
from typing import Any

from api.catalog import subscriptions
from api.catalog.subscriptions import SubscriptionRecord
from tests.support.dealing import Dealing

SHOWN = """
query ($key: String!) {
  customer(key: $key) {
    plan { key }
    subscriptions { pendingPlan { key } pendingPlanAt }
  }
}
"""


async def shown(deal: Dealing) -> tuple[str, str | None, str | None]:
    """Return the plan, the plan to come, and when it comes."""
    said = (await deal.ask(SHOWN, key="acme"))["customer"]
    held = said["subscriptions"][-1]
    coming = held["pendingPlan"]
    return said["plan"]["key"], coming and coming["key"], held["pendingPlanAt"]


async def record(deal: Dealing) -> SubscriptionRecord:
    customer = await deal.core.customers.get("acme")
    return (await subscriptions.by_customer(deal.core.database, customer.id))[-1]


async def scheduled(deal: Dealing, plan: str = "starter", price: str = "pro") -> str:
    """Let a holder of pro go down to starter with the period; return the subscription."""
    bought = await deal.subscribe(price)
    deal.stripe.advance(days=2)
    done = await deal.done("changePlan", plan=plan, when="PERIOD_END")
    assert done["state"] == "ANSWERED"
    await deal.hear()
    return bought


def end_of(deal: Dealing, bought: str) -> datetime:
    return deal.stripe.at(deal.stripe.get(bought)["items"]["data"][0]["current_period_end"])


def schedules(deal: Dealing, *status: str) -> list[dict[str, Any]]:
    return [s for s in deal.stripe.all("subscription_schedule") if s["status"] in status]


async def after_the_period(deal: Dealing) -> str:
    """Let the period end, and all that it brings arrive; return the plan."""
    deal.stripe.advance(days=31)
    await deal.hear()
    return await deal.plan()
