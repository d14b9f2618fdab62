"""What a request asks to have written out in the answer, as deep as it says."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.errors import invalid
from tests.stripe_sim.events import cut
from tests.stripe_sim.shapes import copied, listed
from tests.stripe_sim.world import World

Json = dict[str, Any]

_KINDS = {
    "sub": "subscription", "cus": "customer", "in": "invoice", "pi": "payment_intent",
    "ch": "charge", "re": "refund", "dp": "dispute", "price": "price", "prod": "product",
    "pm": "payment_method", "di": "discount", "sub_sched": "subscription_schedule",
    "seti": "setup_intent", "cs_test": "checkout.session", "cs": "checkout.session",
}  # fmt: skip

_OF_PRICES = ("tiers", "currency_options")
_DEEPEST = 4


def shown(world: World, answer: Json, paths: list[str]) -> Json:
    """Return a copy of the answer as Stripe shows it, with all that is asked written out."""
    if answer.get("object") in ("list", "search_result"):
        made = {**answer, "data": [cut(one) for one in answer["data"]]}
    else:
        made = cut(answer)
    for path in paths:
        if path.count(".") >= _DEEPEST:
            raise invalid("You cannot expand more than 4 levels of a property.", "expand")
        _expand(world, [made], path.split("."), path)
    return made


def _expand(world: World, within: list[Json], names: list[str], path: str) -> None:
    if not names:
        return
    inner: list[Json] = []
    for obj in within:
        inner += _opened(world, obj, names[0], path)
    _expand(world, inner, names[1:], path)


def _opened(world: World, obj: Json, name: str, path: str) -> list[Json]:
    if name not in obj and obj.get("object") == "price" and name in _OF_PRICES:
        obj[name] = copied(world.hidden[obj["id"]])[name]
    if name not in obj and (made := _included(world, obj, name)) is not None:
        obj[name] = made
    if name not in obj:
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    value = obj[name]
    if isinstance(value, str):
        obj[name] = value = _read(world, value, path)
    if isinstance(value, list):
        obj[name] = value = [_read(world, v, path) if isinstance(v, str) else v for v in value]
        return value
    return [value] if isinstance(value, dict) else []


def _read(world: World, object_id: str, path: str) -> Json:
    kind = _KINDS.get(object_id.rsplit("_", 1)[0])
    found = world.store.find(kind, object_id) if kind else None
    if found is None:
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    return cut(found)


def _included(world: World, obj: Json, name: str) -> Json | None:
    """Return a list that Stripe leaves out unless it is asked for."""
    object_id = obj.get("id", "")
    match obj.get("object"), name:
        case "invoice", "payments":
            found = [cut(p) for p in world.store.all("invoice_payment", invoice=object_id)]
            return listed(found, f"/v1/invoice_payments?invoice={object_id}")
        case "customer", "subscriptions":
            found = [
                cut(s)
                for s in world.store.newest_first("subscription", {"customer": object_id})
                if s["status"] not in ("canceled", "incomplete_expired")
            ]
            url = f"/v1/customers/{object_id}/subscriptions"
            return listed(found[:10], url, more=len(found) > 10)
        case "charge", "refunds":
            found = [cut(r) for r in world.store.newest_first("refund", {"charge": object_id})]
            return listed(found[:10], f"/v1/charges/{object_id}/refunds", more=len(found) > 10)
        case "checkout.session", "line_items":
            found = world.sold.get(object_id, [])
            url = f"/v1/checkout/sessions/{object_id}/line_items"
            return listed([cut(one) for one in found[:10]], url, more=len(found) > 10)
        case _:
            return None
