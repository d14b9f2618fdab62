"""What the provider has for sale beside what the catalog sells, and the steps between the two.

A price is never edited: one whose amount, currency or interval changes is replaced, and whoever
holds the old one keeps it. Each step leaves a state from which the next look plans the rest, so a
push that was killed after any call is completed by the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Protocol

from api.domain.catalog import Catalog, Price
from api.domain.errors import InvalidInput

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class ShelfProduct:
    """A product at the provider; ``item`` is what of our catalog it was made for, if it was."""

    id: str
    name: str
    active: bool
    catalog: str | None
    item: str | None
    default_price: str | None = None


@dataclass(frozen=True, slots=True)
class ShelfPrice:
    """A price at the provider.

    ``lookup`` moves on when the price is replaced; ``marked`` is the same name, and stays.
    ``interval`` is the provider's word, None for a price that is paid once. ``tax`` is its word
    for whether tax is inside the amount; the catalog says nothing of it, so it stays.
    """

    id: str
    product: str
    lookup: str | None
    marked: str | None
    amount_minor: int | None
    currency: str
    interval: str | None
    active: bool
    tax: str | None = None

    @property
    def name(self) -> str | None:
        """The catalog's name of this price, also after it was replaced."""
        return self.lookup or self.marked

    def sells(self, price: Price) -> bool:
        """Tell whether it asks for what the catalog's price asks for."""
        return (self.amount_minor, self.currency, self.interval) == (
            price.amount_minor,
            price.currency,
            price.interval,
        )


@dataclass(frozen=True, slots=True)
class Shelf:
    """All products and prices that the provider has."""

    products: Mapping[str, ShelfProduct]
    prices: Sequence[ShelfPrice]


class Act(StrEnum):
    """What a step does."""

    MAKE_PRODUCT = "make_product"
    ADOPT_PRODUCT = "adopt_product"
    CHANGE_PRODUCT = "change_product"
    MARK_PRICE = "mark_price"
    MAKE_PRICE = "make_price"
    REPLACE_PRICE = "replace_price"
    REVIVE_PRICE = "revive_price"
    DEFAULT_PRICE = "default_price"
    RETIRE_PRICE = "retire_price"
    RETIRE_PRODUCT = "retire_product"


@dataclass(frozen=True, slots=True)
class Step:
    """One call to the provider: of an ``item`` as ``plan:starter``, or of its price ``name``.

    ``beside``: the prices there are that the one to be made may be taken for, by id.
    """

    act: Act
    item: str
    product: str
    title: str = ""
    name: str = ""
    price: Price | None = None
    old: str | None = None
    tax: str | None = None
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it as people read it."""
        what = f"{self.item} {self.name}".rstrip()
        asks = ""
        if self.price is not None:
            every = f" every {self.price.interval}" if self.price.interval else " once"
            asks = f": {self.price.amount_minor} {self.price.currency}{every}"
        instead = f" (instead of {self.old})" if self.old else ""
        title = f" {self.title!r}" if self.title else ""
        return f"{self.act.value.replace('_', ' ')}  {what}{title}{asks}{instead}"

    def to_json(self) -> dict[str, object]:
        """Return it for a script or the audit log."""
        told = asdict(self)
        del told["beside"]
        return {key: value for key, value in told.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that are to be done, and those that are only told of: sold here no more."""

    steps: tuple[Step, ...]
    gone: tuple[Step, ...]


class ShelfKeeper(Protocol):
    """A provider on whose shelf things can be put. Failure policy: that of ``provider.py``."""

    @property
    def live(self) -> bool:
        """Whether real money changes hands under the configured key."""
        ...

    async def look(self) -> Shelf:
        """Read all products and prices."""
        ...

    async def do(self, catalog: str, step: Step) -> None:
        """Make one step; the same step twice, also at the same instant, has one effect."""
        ...


def product_id(catalog: str, item: str) -> str:
    """Return the id of the product of ``item``, the same on every machine."""
    return "_".join(_NOT_IN_AN_ID.sub("_", word) for word in ("headroom", catalog, item))


def planned(catalog: Catalog, shelf: Shelf, *, retire: bool) -> Plan:
    """Return what makes ``shelf`` sell what the catalog sells.

    Nothing is planned exactly if the two agree. What is sold no more is retired only if so asked;
    what another catalog sells is left alone. Raises: InvalidInput, where that has one of our keys.
    """
    shelf = _without_others(catalog, shelf)
    steps: list[Step] = []
    kept: set[str] = set()
    sold: set[str] = set()
    for item, (title, prices) in _sold(catalog).items():
        product = _product_of(catalog.product, item, prices, shelf)
        kept.add(product)
        sold.update(price.key for price in prices)
        steps += _of_product(catalog.product, item, title, product, shelf)
        for price in prices:
            steps += _of_price(item, product, price, shelf)
    gone = tuple(_gone(catalog.product, kept, sold, shelf))
    return Plan((*steps, *gone) if retire else tuple(steps), () if retire else gone)


def names(catalog: Catalog, shelf: Shelf) -> Mapping[str, str]:
    """Return the ids by names for an environment: ``STRIPE_PRODUCT_`` and ``STRIPE_PRICE_``.

    A product's name ends in the key of its plan, add-on or pack, a price's in its own key: in
    capitals, with ``_`` for whatever is neither letter nor digit. Two of one name are told apart
    by their kind, as ``STRIPE_PRODUCT_ADD_ON_TEAM``. Raises: InvalidInput, where prices cannot be.
    """
    shelf = _without_others(catalog, shelf)
    found: dict[str, str] = {}
    for item, (_, prices) in _sold(catalog).items():
        kind, key = item.split(":", 1)
        product = _product_of(catalog.product, item, prices, shelf)
        name = f"STRIPE_PRODUCT_{_capitals(key)}"
        found[f"STRIPE_PRODUCT_{_capitals(kind)}_{_capitals(key)}" if name in found else name] = (
            product
        )
        for price in prices:
            name = f"STRIPE_PRICE_{_capitals(price.key)}"
            if name in found:
                raise InvalidInput(f"Two prices would be called {name}: rename {price.key!r}.")
            holder = _holder(price.key, shelf)
            if holder is not None:
                found[name] = holder.id
    return {name: id_ for name, id_ in found.items() if id_ in shelf.products or "PRICE" in name}


def _without_others(catalog: Catalog, shelf: Shelf) -> Shelf:
    """Return the shelf without the prices of other catalogs, none of which may have our keys."""
    theirs = {
        product.id: product.catalog
        for product in shelf.products.values()
        if product.catalog not in (None, catalog.product)
    }
    sold = {price.key for _, prices in _sold(catalog).values() for price in prices}
    for price in shelf.prices:
        if price.product in theirs and price.lookup in sold:
            raise InvalidInput(
                f"The price {price.lookup!r} at the provider is of the catalog "
                f"{theirs[price.product]!r} ({price.product}), and this one is "
                f"{catalog.product!r}: two catalogs of one account need keys of their own. "
                "Rename it in one of them."
            )
    return replace(shelf, prices=[one for one in shelf.prices if one.product not in theirs])


def _sold(catalog: Catalog) -> dict[str, tuple[str, tuple[Price, ...]]]:
    found: dict[str, tuple[str, tuple[Price, ...]]] = {}
    for kind, things in (
        ("plan", catalog.plans),
        ("add_on", catalog.add_ons),
        ("pack", catalog.packs),
    ):
        for key, thing in things.items():
            if thing.prices:
                found[f"{kind}:{key}"] = (thing.name, thing.prices)
    return found


def _product_of(catalog: str, item: str, prices: Iterable[Price], shelf: Shelf) -> str:
    """Return the product made for an item, else the one whose price has its lookup key."""
    own = product_id(catalog, item)
    if own in shelf.products:
        return own
    for product in shelf.products.values():
        if (product.catalog, product.item) == (catalog, item):
            return product.id
    for price in prices:
        holder = _holder(price.key, shelf)
        taken = shelf.products.get(holder.product) if holder is not None else None
        if taken is not None and taken.item is None:
            return taken.id
    return own


def _of_product(catalog: str, item: str, title: str, product: str, shelf: Shelf) -> Iterable[Step]:
    known = shelf.products.get(product)
    if known is None:
        yield Step(Act.MAKE_PRODUCT, item, product, title)
    elif known.item is None:
        yield Step(Act.ADOPT_PRODUCT, item, product, title, old=known.name)
    elif (known.name, known.active, known.catalog, known.item) != (title, True, catalog, item):
        yield Step(Act.CHANGE_PRODUCT, item, product, title)


def _of_price(item: str, product: str, price: Price, shelf: Shelf) -> Iterable[Step]:
    holder = _holder(price.key, shelf)
    right = holder is not None and holder.sells(price) and holder.product == product
    # Whoever sees the same makes the same price, once; whoever sees that a person has since moved
    # a lookup key, or taken it away, makes another, and is not answered with the one of before.
    beside = tuple(sorted(p.id for p in shelf.prices if _alike(p, price.key, product)))
    make = Step(Act.MAKE_PRICE, item, product, name=price.key, price=price, beside=beside)
    if holder is None:
        lost = max((p.id for p in shelf.prices if p.name == price.key), default=None)
        yield replace(make, old=lost)
    else:
        if holder.marked != price.key:  # so that it is known when its lookup key has moved on
            yield Step(Act.MARK_PRICE, item, product, name=price.key, old=holder.id)
        if not right:
            yield replace(make, act=Act.REPLACE_PRICE, old=holder.id, tax=holder.tax)
        elif not holder.active:
            yield Step(Act.REVIVE_PRICE, item, product, name=price.key, old=holder.id)
    for old in shelf.prices:
        if old.name == price.key and old.active and (old != holder or not right):
            yield from _retired(item, old, shelf)


def _alike(held: ShelfPrice, key: str, product: str) -> bool:
    return held.name == key or (held.name is None and held.product == product)


def _gone(catalog: str, kept: set[str], sold: set[str], shelf: Shelf) -> Iterable[Step]:
    ours = {p.id: p for p in shelf.products.values() if p.catalog == catalog}
    for price in shelf.prices:
        product = ours.get(price.product)
        if product is not None and price.active and price.marked and price.marked not in sold:
            yield from _retired(product.item or "", price, shelf)
    for product in ours.values():
        if product.active and product.id not in kept:
            yield Step(Act.RETIRE_PRODUCT, product.item or "", product.id, product.name)


def _retired(item: str, price: ShelfPrice, shelf: Shelf) -> Iterable[Step]:
    product = shelf.products.get(price.product)
    if product is not None and product.default_price == price.id:
        # The provider does not let a product's default price be put away.
        yield Step(Act.DEFAULT_PRICE, item, price.product, old=price.id)
    yield Step(Act.RETIRE_PRICE, item, price.product, name=price.name or "", old=price.id)


def _holder(key: str, shelf: Shelf) -> ShelfPrice | None:
    held = [price for price in shelf.prices if price.lookup == key]
    return max(held, key=lambda price: (price.active, price.id), default=None)


def _capitals(key: str) -> str:
    return _NOT_IN_AN_ID.sub("_", key).upper()
