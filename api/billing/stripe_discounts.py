"""Discounts of a subscription at Stripe: one more beside those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.billing import stripe_schedules, stripe_selling
from api.billing.problems import ProviderRefused
from api.billing.stripe_api import StripeApi

_Json = dict[str, Any]
_Said = Mapping[str, Any]


async def planned(api: StripeApi, held: _Json, wish: _Said) -> _Json:
    """Return what the request needs; with ``once`` a code is refused that was used before.

    Raises: ProviderRefused. Cost: a call for the code; with ``once`` one for each hundred invoices.
    """
    code = await stripe_selling.promotion(api, wish["code"])
    present = held["said"]["discounts"]
    if wish["once"] and _same(code, present):
        raise ProviderRefused("This subscription has that discount already.", declined=False)
    if wish["once"]:
        billed = await api.pages(
            "invoices", subscription=held["said"]["id"], expand=["data.discounts"]
        )
        if any(_same(code, invoice["discounts"]) for invoice in billed):
            raise ProviderRefused(
                "That discount was used on this subscription before, and is given once.",
                declined=False,
            )
    kept = [stripe_schedules.named(one) for one in present]
    return {"code": code["id"], "kept": kept, **stripe_schedules.restated(held["said"])}


async def apply(api: StripeApi, request: _Said, key: str) -> _Json:
    """Put it on, and on the phases that are to come. Cost: one or two calls."""
    said: Any = {
        "discounts": [
            *({"discount": one} for one in request["kept"]),
            {"promotion_code": request["code"]},
        ]
    }
    options: Any = {"idempotency_key": key}
    found = await api.ask(api.v1.subscriptions.update_async(request["subscription"], said, options))
    await stripe_schedules.discount(api, request, found.to_dict()["discounts"], key)
    return {"subscription": found.id, "status": found.status}


def _same(code: _Json, discounts: Iterable[_Json]) -> bool:
    """Tell whether one of these is of this code, or of its coupon by whatever code."""
    coupon = code["promotion"]["coupon"]
    return any(
        one.get("promotion_code") == code["id"] or one["source"]["coupon"] == coupon
        for one in discounts
    )
