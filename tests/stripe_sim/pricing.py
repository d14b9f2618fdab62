"""How a price is made up, and what an item costs: per unit, in packs, by tiers, per currency."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from tests.stripe_sim.errors import Refused, invalid
from tests.stripe_sim.params import need, number, one_of

if TYPE_CHECKING:
    from tests.stripe_sim.world import World

Json = dict[str, Any]

SAID = {
    "billing_scheme", "currency_options", "tiers", "tiers_mode", "transform_quantity",
    "unit_amount", "unit_amount_decimal",
}  # fmt: skip
_MOST_PLACES = 12


def shape_of(params: Json) -> Json:
    """Return the fields of a new price that say what it asks for. Raises: Refused."""
    scheme = one_of(params, "billing_scheme", ("per_unit", "tiered"), "per_unit")
    if scheme == "tiered":
        need(params, "tiers")
        if "transform_quantity" in params:
            raise Refused("`transform_quantity` cannot be combined with `tiers`.")
        return {
            "billing_scheme": scheme,
            "tiers_mode": one_of(params, "tiers_mode", ("graduated", "volume"), ""),
            "unit_amount": None,
            "unit_amount_decimal": None,
        }
    packs = params.get("transform_quantity")
    if packs is not None:
        packs = {
            "divide_by": number(packs, "divide_by"),
            "round": one_of(packs, "round", ("up", "down"), ""),
        }
    if "unit_amount_decimal" not in params:
        need(params, "unit_amount")
    return {"billing_scheme": scheme, "transform_quantity": packs, **_amount(params)}


def hidden_of(params: Json, currency: str, made: Json) -> Json:
    """Return what of a new price is shown only to who expands it. Raises: Refused."""
    tiers = _tiers(params)
    options = {currency: _option(made, tiers)}
    for name, said in params.get("currency_options", {}).items():
        options[name] = _option(_amount(said), _tiers(said))
    return {"tiers": tiers, "currency_options": options}


def cost(world: World, item: Json, currency: str) -> int:
    """Return what an item costs for one period in a currency that its price has."""
    price, quantity = item["price"], int(item["quantity"] or 0)
    hidden = world.hidden.get(price["id"], {})
    option: Json = hidden.get("currency_options", {}).get(currency, price)
    if price["recurring"]["usage_type"] == "metered":
        return 0
    if price["billing_scheme"] == "tiered":
        amount = _by_tiers(option["tiers"], price["tiers_mode"], quantity)
    else:
        packs = price["transform_quantity"]
        if packs is not None:
            whole, rest = divmod(quantity, packs["divide_by"])
            quantity = whole + (1 if rest and packs["round"] == "up" else 0)
        amount = Decimal(option["unit_amount_decimal"] or 0) * quantity
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def sold_in(world: World, price: Json, currency: str) -> bool:
    """Whether a price has an amount in that currency."""
    return currency in world.hidden[price["id"]]["currency_options"]


def _by_tiers(tiers: list[Json], mode: str, quantity: int) -> Decimal:
    """Add unit by unit, as each tier is reached."""
    total, reached = Decimal(0), []
    for unit in range(1, quantity + 1):
        tier = next(t for t in tiers if t["up_to"] is None or unit <= t["up_to"])
        if tier not in reached:
            reached.append(tier)
            total += Decimal(tier["flat_amount_decimal"] or 0)
        total += Decimal(tier["unit_amount_decimal"] or 0)
    if mode == "graduated" or not reached:
        return total
    last = reached[-1]
    each, flat = (Decimal(last[f"{name}_amount_decimal"] or 0) for name in ("unit", "flat"))
    return flat + each * quantity


def _option(amount: Json, tiers: list[Json] | None) -> Json:
    return {
        "custom_unit_amount": None,
        "tax_behavior": "unspecified",
        "tiers": tiers,
        "unit_amount": amount["unit_amount"],
        "unit_amount_decimal": amount["unit_amount_decimal"],
    }


def _tiers(params: Json) -> list[Json] | None:
    if "tiers" not in params:
        return None
    made = [
        {
            "up_to": None if said.get("up_to") == "inf" else number(said, "up_to"),
            **_amount(said, "unit_amount"),
            **_amount(said, "flat_amount"),
        }
        for said in params["tiers"]
    ]
    if made[-1]["up_to"] is not None:
        raise invalid("The last tier must have no upper bound: `up_to` is `inf`.", "tiers")
    return made


def _amount(said: Json, name: str = "unit_amount") -> Json:
    exact = said.get(f"{name}_decimal", said.get(name))
    if exact in (None, ""):
        return {name: None, f"{name}_decimal": None}
    try:
        amount = Decimal(exact)
    except InvalidOperation:
        raise invalid(f"Invalid decimal: {exact}", name) from None
    if round(amount, _MOST_PLACES) != amount:
        raise invalid(f"At most {_MOST_PLACES} decimal places.", name)
    whole = int(amount) if amount == int(amount) else None
    return {name: whole, f"{name}_decimal": f"{amount.normalize():f}"}
