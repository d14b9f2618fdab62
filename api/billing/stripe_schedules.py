"""A change of plan that Stripe makes by itself as the period ends: a schedule over a subscription.

A schedule of ours has two phases: what is held now, to the end of the period, and what is wanted,
for one interval; then it lets go. Where the subscription is under a schedule already, that one is
written anew, so at no instant is the subscription without what was asked last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.billing.problems import ProviderRefused, Unapplicable
from api.billing.stripe_api import StripeApi

_Json = dict[str, Any]
_Said = Mapping[str, Any]

EXPANDED = ["schedule"]
"""What must be written out in the subscription for ``planned``."""

_GOING = ("active", "not_started")


def going(subscription: _Said) -> str | None:
    """Return the schedule that the subscription is under, where it has something to say still."""
    schedule: _Json | None = subscription.get("schedule")
    return schedule["id"] if schedule is not None and schedule["status"] in _GOING else None


def planned(subscription: _Said, items: list[_Json], item: _Json, price: _Json) -> _Json:
    """Return phases in which ``price`` takes the place of ``item``'s from the period's end on.

    Discounts and the end of a trial are said again, as a phase has what it says and no more; a
    phase that says no trial's end ends it. Raises: ProviderRefused.
    """
    if subscription["cancel_at"] is not None:
        raise ProviderRefused(
            "This subscription ends with its period: resume it, then change it.", declined=False
        )
    schedule: _Json = subscription.get("schedule") or {}
    present = schedule.get("current_phase") if going(subscription) is not None else None
    recurring = price["recurring"]
    kept: _Json = {}
    if subscription.get("discounts"):
        kept["discounts"] = [{"discount": _id(one)} for one in subscription["discounts"]]
    trial = {"trial_end": subscription["trial_end"]} if subscription["status"] == "trialing" else {}
    return {
        "begins": None if present is None else present["start_date"],
        "phases": [
            {
                **kept,
                **trial,
                "items": [_line(one, one["price"]["id"]) for one in items],
                "end_date": item["current_period_end"],
            },
            {
                **kept,
                "items": [
                    _line(one, price["id"] if one["id"] == item["id"] else one["price"]["id"])
                    for one in items
                ],
                "duration": {key: recurring[key] for key in ("interval", "interval_count")},
                "proration_behavior": "none",
            },
        ],
    }


async def change(api: StripeApi, request: _Said, key: str) -> _Json:
    """Have the schedule say what was planned. Cost: one or two calls, three where it is refused."""
    schedules = api.v1.subscription_schedules
    schedule, begins = request["schedule"], request["begins"]
    made = None
    if schedule is None:
        said: Any = {"from_subscription": request["subscription"]}
        made = await api.ask(schedules.create_async(said, _under(f"{key}:schedule")))
        schedule, begins = made.id, made.to_dict()["current_phase"]["start_date"]
    present, coming = request["phases"]
    phases: Any = [{**present, "start_date": begins}, coming]
    wanted: Any = {"phases": phases, "end_behavior": "release"}
    try:
        await api.ask(schedules.update_async(schedule, wanted, _under(key)))
    except (ProviderRefused, Unapplicable):
        if made is not None:
            await release(api, {"schedule": made.id}, f"{key}:undo")
        raise
    return {"subscription": request["subscription"], "schedule": schedule}


async def release(api: StripeApi, request: _Said, key: str) -> None:
    """Let a subscription go on without its schedule, also where that has ended meanwhile."""
    name = request.get("schedule")
    if not name:
        return
    schedules = api.v1.subscription_schedules
    try:
        await api.ask(schedules.release_async(name, {}, _under(f"{key}:release")))
    except (ProviderRefused, Unapplicable):
        if (await api.read("subscription_schedules", name))["status"] in _GOING:
            raise


def _line(item: _Json, price: str) -> _Json:
    return {"price": price, "quantity": item.get("quantity") or 1}


def _id(discount: _Json | str) -> str:
    return discount if isinstance(discount, str) else str(discount["id"])


def _under(key: str) -> Any:  # noqa: ANN401 - the package's own options
    return {"idempotency_key": key}
