"""What Stripe sells under our names, and the pages on which customers buy it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.billing.acts import Planned
from api.billing.problems import NotAtProvider, ProviderRefused, Unapplicable
from api.billing.stripe_api import StripeApi
from api.billing.stripe_payments import PACK, QUANTITY
from api.billing.stripe_shapes import LINK

_Json = dict[str, Any]
_Said = Mapping[str, Any]

_KEYS_IN_A_LIST = 10


async def prices(api: StripeApi, keys: Iterable[str]) -> dict[str, _Json]:
    """Return the prices of these keys. Raises: ProviderRefused. Cost: one call for each ten."""
    wanted = list(dict.fromkeys(keys))
    found: dict[str, _Json] = {}
    for at in range(0, len(wanted), _KEYS_IN_A_LIST):
        some = wanted[at : at + _KEYS_IN_A_LIST]
        page = await api.read("prices", lookup_keys=some, active=True, limit=_KEYS_IN_A_LIST)
        found |= {price["lookup_key"]: price for price in page["data"]}
    for key in wanted:
        if key not in found:
            raise ProviderRefused(
                f"Stripe sells nothing under {key!r}: push the catalog, then ask again.",
                declined=False,
            )
    return found


async def promotion(api: StripeApi, code: str) -> _Json:
    """Return the promotion code of these letters. Raises: ProviderRefused."""
    found = await api.read("promotion_codes", code=code, active=True)
    if not found["data"]:
        raise ProviderRefused("There is no such promotion code.", declined=False)
    named: _Json = found["data"][0]
    return named


async def knows(api: StripeApi, customer: str) -> bool:
    """Tell whether a customer is there still; Stripe shows one that was deleted as such."""
    try:
        return not (await api.read("customers", customer)).get("deleted")
    except NotAtProvider:
        return False


async def planned(api: StripeApi, wish: _Said) -> Planned:
    """Plan a page. Cost: a call for ten prices, one for a code, one for each earlier page."""
    sold = await prices(api, [one["price"] for one in wish["lines"]])
    lines = [
        {"price": sold[one["price"]]["id"], "quantity": one["quantity"]} for one in wish["lines"]
    ]
    said: _Json = {
        "mode": "subscription" if wish.get("pack") is None else "payment",
        "line_items": lines,
        "client_reference_id": wish["customer_key"],
        "success_url": wish["success_url"],
        "cancel_url": wish["cancel_url"],
        "metadata": {LINK: wish["customer_key"]},
    }
    if wish.get("provider_customer"):
        said["customer"] = wish["provider_customer"]
    elif wish.get("email"):
        said["customer_email"] = wish["email"]
    if wish.get("promotion_code"):
        code = await promotion(api, wish["promotion_code"])
        said["discounts"] = [{"promotion_code": code["id"]}]
    else:
        said["allow_promotion_codes"] = True
    if wish.get("pack") is not None:
        said["metadata"] |= {PACK: wish["pack"], QUANTITY: str(lines[0]["quantity"])}
        if "customer" not in said:
            said["customer_creation"] = "always"
    else:
        said["subscription_data"] = {"metadata": {LINK: wish["customer_key"]}}
        if wish.get("trial_days"):
            said["subscription_data"]["trial_period_days"] = wish["trial_days"]
    closes = [one for one in wish["instead_of"] if await _open(api, one)]
    return Planned({"page": said, "closes": closes, "plan": wish.get("pack") is None})


async def stands(api: StripeApi, page: str, request: _Said, wish: _Said) -> bool:
    """Tell whether a page is open, and sells on the terms that hold now."""
    said = request["page"]
    trial = said.get("subscription_data", {}).get("trial_period_days")
    same = trial == wish.get("trial_days") and said.get("customer") == wish.get("provider_customer")
    return same and await _open(api, page)


async def checkout(api: StripeApi, request: _Said, key: str) -> _Json:
    """Open a page, once those are closed that it takes the place of."""
    sessions = api.v1.checkout.sessions
    for page in request["closes"]:
        try:
            await api.ask(sessions.expire_async(page, {}, _under(f"{key}:{page}")))
        except (ProviderRefused, Unapplicable):
            if await _open(api, page):
                raise
    said: Any = dict(request["page"])
    made = await api.ask(sessions.create_async(said, _under(key)))
    closed = {"closed": list(request["closes"])} if request["closes"] else {}
    return {"checkout": made.id, "url": made.url, **closed}


async def _open(api: StripeApi, page: str) -> bool:
    try:
        return bool((await api.read("checkout", "sessions", page))["status"] == "open")
    except NotAtProvider:
        return False


def _under(key: str) -> Any:  # noqa: ANN401 - the package's own options
    return {"idempotency_key": key}
