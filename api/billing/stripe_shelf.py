"""Stripe's products and prices, as a shelf.

Failure policy: that of ``stripe_api``. Nothing is retried here; a push that ends early is completed
by the next one.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from api.billing.problems import NotAtProvider, Unreadable
from api.billing.shelf import Act, Shelf, ShelfPrice, ShelfProduct, Step
from api.billing.stripe_api import StripeApi
from api.billing.stripe_prices import PRICE
from api.billing.stripe_shapes import Reference, id_of, read

CATALOG = "headroom_catalog"
ITEM = "headroom_item"
_MOST_NAME = 250


class _Product(msgspec.Struct):
    id: str
    name: str
    active: bool
    metadata: dict[str, str]
    default_price: Reference = None


class _Recurring(msgspec.Struct):
    interval: str
    interval_count: int
    usage_type: str


class _Price(msgspec.Struct):
    id: str
    product: Reference
    active: bool
    currency: str
    metadata: dict[str, str]
    lookup_key: str | None = None
    unit_amount: int | None = None
    billing_scheme: str = "per_unit"
    tax_behavior: str | None = None
    transform_quantity: dict[str, Any] | None = None
    recurring: _Recurring | None = None


class StripeShelf:
    """Products and prices of the account whose key is configured."""

    def __init__(self, api: StripeApi) -> None:
        self._api = api

    @property
    def live(self) -> bool:
        """Whether the key is of live mode."""
        return self._api.live

    async def look(self) -> Shelf:
        """Read all products and prices, also those put away. Cost: a call for each hundred."""
        products = [product_of(one) for one in await self._api.pages("products")]
        prices = [price_of(one) for one in await self._api.pages("prices")]
        return Shelf({product.id: product for product in products}, prices)

    async def do(self, catalog: str, step: Step) -> None:
        """Make one step. Raises: Unreadable, where Stripe refuses it as things stand."""
        products, prices = self._api.v1.products, self._api.v1.prices
        made_for: dict[str, Any] = {
            "name": step.title[:_MOST_NAME],
            "metadata": {CATALOG: catalog, ITEM: step.item},
        }
        match step.act:
            case Act.MAKE_PRODUCT:
                await self._make_product(step, {"id": step.product, **made_for})
            case Act.CHANGE_PRODUCT | Act.ADOPT_PRODUCT:
                about: Any = {**made_for, "active": True}
                await self._api.ask(products.update_async(step.product, about))
            case Act.DEFAULT_PRICE:
                none: Any = {"default_price": ""}
                await self._api.ask(products.update_async(step.product, none))
            case Act.RETIRE_PRODUCT:
                await self._api.ask(products.update_async(step.product, {"active": False}))
            case Act.MAKE_PRICE | Act.REPLACE_PRICE:
                terms: Any = _terms(step)
                options: Any = {"idempotency_key": _once(catalog, step)}
                await self._api.ask(prices.create_async(terms, options))
            case Act.MARK_PRICE:
                mark: Any = {"metadata": {PRICE: step.name}}
                await self._api.ask(prices.update_async(step.old or "", mark))
            case Act.REVIVE_PRICE:
                await self._api.ask(prices.update_async(step.old or "", {"active": True}))
            case Act.RETIRE_PRICE:
                await self._api.ask(prices.update_async(step.old or "", {"active": False}))

    async def _make_product(self, step: Step, about: dict[str, Any]) -> None:
        # Its id is what makes it once: a key would be answered for a day with a product that a
        # person has deleted since.
        made: Any = about
        try:
            await self._api.ask(self._api.v1.products.create_async(made))
        except Unreadable:
            # Somebody may have made it meanwhile: its id is the same for all of us.
            try:
                await self._api.read("products", step.product)
            except NotAtProvider:
                pass
            else:
                return
            raise


def _terms(step: Step) -> dict[str, Any]:
    if step.price is None:
        raise ValueError("a price is made of its terms")
    terms: dict[str, Any] = {
        "product": step.product,
        "currency": step.price.currency,
        "unit_amount": step.price.amount_minor,
        "lookup_key": step.name,
        "metadata": {PRICE: step.name},
    }
    if step.price.interval is not None:
        terms["recurring"] = {"interval": step.price.interval}
    if step.tax is not None:
        terms["tax_behavior"] = step.tax
    if step.act is Act.REPLACE_PRICE:
        terms["transfer_lookup_key"] = True
    return terms


def _once(catalog: str, step: Step) -> str:
    """Return a key that is the same for two who do the same step to the same state."""
    price = step.price
    parts = [catalog, step.act.value, step.item, step.product, step.title, step.name]
    parts += [step.old or "-", *step.beside]
    if price is not None:
        parts += [str(price.amount_minor), price.currency, price.interval or "once"]
    return f"headroom-shelf-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}"


def product_of(obj: object) -> ShelfProduct:
    """Return a product as Stripe tells it. Raises: Unreadable."""
    shape = read(obj, _Product, "product")
    return ShelfProduct(
        id=shape.id,
        name=shape.name,
        active=shape.active,
        catalog=shape.metadata.get(CATALOG),
        item=shape.metadata.get(ITEM),
        default_price=id_of(shape.default_price),
    )


def price_of(obj: object) -> ShelfPrice:
    """Return a price as Stripe tells it. Raises: Unreadable."""
    shape = read(obj, _Price, "price")
    every = shape.recurring
    by_the_one = shape.billing_scheme == "per_unit" and shape.transform_quantity is None
    plain = every is None or (every.interval_count == 1 and every.usage_type == "licensed")
    return ShelfPrice(
        id=shape.id,
        product=id_of(shape.product) or "",
        lookup=shape.lookup_key or None,
        marked=shape.metadata.get(PRICE),
        amount_minor=shape.unit_amount if by_the_one else None,
        currency=shape.currency,
        interval=None if every is None else every.interval if plain else f"{every} of another kind",
        active=shape.active,
        tax=None if shape.tax_behavior == "unspecified" else shape.tax_behavior,
    )
