"""Empty objects of every kind: each declared field with a value of its type.

A field that may be null is null, a text is empty, a number is zero, an enum is its first word.
The simulation writes what matters over that.
"""

# ruff: noqa: ANN401 - a field may be anything

from __future__ import annotations

import types
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import orjson
from stripe import ListObject, StripeObject
from stripe._stripe_object import UntypedStripeObject

from tests.stripe_sim.annotations import class_of, fields_of, resolved

Json = dict[str, Any]

# Stripe leaves these out where they do not apply, or where nobody asked to expand them.
_LEFT_OUT = {
    "customer": ("cash_balance", "invoice_credit_balance", "sources", "subscriptions", "tax_ids"),
    "charge": ("refunds",),
    "invoice": ("payments", "confirmation_secret"),
    "checkout.session": ("line_items",),
    "product": ("features",),
    "price": ("tiers", "currency_options"),
    "coupon": ("applies_to", "currency_options"),
}

_NOWHERE = ("deleted", "currency_options")


def new(kind: str, **fields: Any) -> Json:
    """Return an object of that kind with these fields, and empty ones otherwise."""
    made: Json = orjson.loads(_blank(kind))
    return {"id": made.get("id"), "object": kind, **made, **fields}


def listed(data: list[Json], url: str, *, more: bool = False) -> Json:
    """Return a list as Stripe embeds it."""
    return {"object": "list", "data": data, "has_more": more, "url": url}


def copied(obj: Json) -> Json:
    """Return an independent copy."""
    made: Json = orjson.loads(orjson.dumps(obj))
    return made


@cache
def _blank(kind: str) -> bytes:
    cls = class_of(kind)
    assert cls is not None, kind
    made = _object(cls)
    for name in _LEFT_OUT.get(kind, ()):
        made.pop(name, None)
    if kind == "event":
        made["data"].pop("previous_attributes", None)
    return orjson.dumps(made)


def _object(cls: type[StripeObject]) -> Json:
    fields = {name: kind for name, kind in fields_of(cls).items() if name not in _NOWHERE}
    made = {name: _value(kind, cls.__module__) for name, kind in fields.items()}
    name = getattr(cls, "OBJECT_NAME", None)
    return made | ({"object": name} if isinstance(name, str) else {})


def _value(kind: Any, module: str) -> Any:  # noqa: PLR0911 - one case for each form of annotation
    kind = resolved(kind, module)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if type(None) in args:
            return None
        words = [one for one in args if get_origin(one) is Literal]
        return _value((words or list(args))[0], module)
    if origin is Literal:
        return args[0]
    if origin is list:
        return []
    if origin is ListObject:
        return listed([], "")
    if origin is UntypedStripeObject:
        return {}
    if isinstance(kind, type) and issubclass(kind, StripeObject):
        return _object(kind)
    return {str: "", int: 0, bool: False, float: 0.0, Decimal: "0"}[kind]
