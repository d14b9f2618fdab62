"""A change of plan that Stripe makes by itself as the period ends: a schedule over a subscription.

A schedule of ours has two phases: what is held now, to the end of the period, and what is wanted,
for one interval; then it lets go. Where the subscription is under a schedule already, that one is
written anew, so at no instant is the subscription without what was asked last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from api.billing.problems import ProviderRefused, Unapplicable
from api.billing.stripe_api import StripeApi

_Json = dict[str, Any]
_Said = Mapping[str, Any]

EXPANDED = ["schedule"]
"""What must be written out in the subscription for ``planned``."""

OURS = "headroom_action"
"""The key of ``metadata`` by which a schedule is known that was made, or written anew, here."""

_GOING = ("active", "not_started")


def going(subscription: _Said) -> str | None:
    """Return the schedule that the subscription is under, where it has something to say still."""
    schedule: _Json | None = subscription.get("schedule")
    return schedule["id"] if schedule is not None and schedule["status"] in _GOING else None


def planned(
    subscription: _Said,
    items: list[_Json],
    wanted: Mapping[str, str | None],
    ends: int,
    recurring: _Said,
) -> _Json:
    """Return phases in which items have the prices that are ``wanted`` from ``ends`` on.

    None gives an item up; ``recurring`` is the beat of the plan that is to come.

    Discounts and the end of a trial are said again, as a phase has what it says and no more; a
    phase that says no trial's end ends it. Raises: ProviderRefused.
    """
    if subscription["cancel_at"] is not None:
        raise ProviderRefused(
            "This subscription ends with its period: resume it, then change it.", declined=False
        )
    schedule: _Json = subscription.get("schedule") or {}
    present = schedule.get("current_phase") if going(subscription) is not None else None
    kept: _Json = {}
    if subscription.get("discounts"):
        kept["discounts"] = [{"discount": named(one)} for one in subscription["discounts"]]
    trial = {"trial_end": subscription["trial_end"]} if subscription["status"] == "trialing" else {}
    return {
        "begins": None if present is None else present["start_date"],
        "phases": [
            {
                **kept,
                **trial,
                "items": [_line(one, one["price"]["id"]) for one in items],
                "end_date": ends,
            },
            {
                **kept,
                "items": [
                    _line(one, price)
                    for one in items
                    if (price := wanted.get(one["id"], one["price"]["id"])) is not None
                ],
                "duration": {key: recurring[key] for key in ("interval", "interval_count")},
                "proration_behavior": "none",
            },
        ],
    }


def restated(subscription: _Said) -> _Json:
    """Return the phases of a schedule of ours from the present one on; None if none is to come.

    Somebody else's may say more than can be said again here. Raises: ProviderRefused.
    """
    schedule: _Json = subscription.get("schedule") or {}
    present = schedule.get("current_phase") if going(subscription) is not None else None
    phases = (
        [p for p in schedule["phases"] if p["start_date"] >= present["start_date"]]
        if present
        else []
    )
    if len(phases) < 2:  # noqa: PLR2004 - the present one, and one to come
        return {"phases": None}
    if OURS not in schedule["metadata"]:
        raise ProviderRefused(
            "This subscription changes by a schedule made at Stripe: put the discount on that.",
            declined=False,
        )
    said = ("start_date", "end_date", "trial_end", "proration_behavior")
    return {
        "phases": [
            {key: phase[key] for key in said if phase.get(key) is not None}
            | {"items": [_line(one, one["price"]) for one in phase["items"]]}
            for phase in phases
        ]
    }


async def discount(
    api: StripeApi, request: _Said, discounts: Sequence[_Json | str], key: str
) -> None:
    """Let discounts go on in the phases to come, which else would have none of them."""
    if request["phases"] is None:
        return
    kept = {"discounts": [{"discount": named(one)} for one in discounts]}
    said: Any = {"phases": [phase | kept for phase in request["phases"]]}
    update = api.v1.subscription_schedules.update_async
    await _unless_over(api, request, update(request["schedule"], said, _under(f"{key}:phases")))


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
    wanted: Any = {"phases": phases, "end_behavior": "release", "metadata": {OURS: "change_plan"}}
    try:
        await api.ask(schedules.update_async(schedule, wanted, _under(key)))
    except (ProviderRefused, Unapplicable):
        if made is not None:
            await release(api, {"schedule": made.id}, f"{key}:undo")
        raise
    return {"subscription": request["subscription"], "schedule": schedule}


async def release(api: StripeApi, request: _Said, key: str) -> None:
    """Let a subscription go on without its schedule, also where that has ended meanwhile."""
    if request["schedule"] is not None:
        call = api.v1.subscription_schedules.release_async
        options = _under(f"{key}:release")
        await _unless_over(api, request, call(request["schedule"], {}, options))


async def _unless_over(api: StripeApi, request: _Said, call: Awaitable[Any]) -> None:
    """Ask it of a schedule, and take a no for done where that has ended meanwhile."""
    try:
        await api.ask(call)
    except (ProviderRefused, Unapplicable):
        if (await api.read("subscription_schedules", request["schedule"]))["status"] in _GOING:
            raise


def _line(item: _Json, price: str) -> _Json:
    return {"price": price, "quantity": item.get("quantity") or 1}


def named(discount: _Json | str) -> str:
    """Return a discount's id, whether it is written out or not."""
    return discount if isinstance(discount, str) else str(discount["id"])


def _under(key: str) -> Any:  # noqa: ANN401 - the package's own options
    return {"idempotency_key": key}
