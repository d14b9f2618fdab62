"""Events of products and prices: what the catalog sells and was changed outside raises an alert.

Nothing is put right by itself: who changed it may have meant it, and a push says what it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from api.billing.applying import Tools, Work
from api.billing.provider import Offer
from api.billing.shelf import Act, Shelf, Step, planned
from api.catalog import audit
from api.catalog.alerts import alert, window_of
from api.domain.catalog import Catalog, Price
from api.domain.errors import Unavailable

PUSHING = timedelta(minutes=2)
"""So long after its beginning a push is taken to be at work, and the shelf to be half done."""

_WINDOW = timedelta(hours=1)

Found = Mapping[str, str]
"""What is wrong with a product or price, by its name in the catalog."""


class ShelfEvents:
    """Compares what is for sale with the catalog."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def apply(self, work: Work) -> None:
        """Raise an alert for each thing sold that events tell of, and that is not as it should be.

        An alert is there once for its hour whoever raises it, so the lock need not be held until
        then: a long shelf may take longer to read. Raises: Unavailable, also while a push works.
        """
        offers = [hint.offer for hint in work.hints if hint.offer is not None]
        catalog = (await self._tools.revisions.current()).catalog
        provider = self._tools.provider
        found: Found = {}
        if not provider.reads:
            found = told(catalog, offers)
        elif _concerned(catalog, offers):
            found = differing(catalog, await provider.shelf(), offers)
            if found:
                await self._expect_no_push(work)
        newest = max(event.created_at for event in work.events)
        async with self._tools.database.transaction() as conn:
            for subject, wrong in sorted(found.items()):
                await alert(
                    conn,
                    "shelf_changed",
                    f"The payment provider does not sell {subject} as the catalog does: {wrong}. "
                    "It was changed there, or a newer catalog was not pushed: `headroom catalog "
                    "push` shows the difference, and with --execute puts it right.",
                    at=work.at,
                    period=window_of(newest, _WINDOW),
                    subject=subject,
                    detail={"events": [event.event_id for event in work.events]},
                )
            await work.done(conn, None)

    async def _expect_no_push(self, work: Work) -> None:
        begun = await audit.last_at(self._tools.database, "catalog.push")
        if begun is not None and work.at - begun < PUSHING:
            raise Unavailable("A push of the catalog is at work; it is looked at again after it.")


def differing(catalog: Catalog, shelf: Shelf, offers: Sequence[Offer]) -> Found:
    """Return what a push would change of the things that ``offers`` are about."""
    products = {offer.product.id for offer in offers if offer.product}
    names = _names(offers)

    def wrong(step: Step) -> bool:
        if step.name:
            return step.act is not Act.MARK_PRICE and step.name in names
        known = shelf.products.get(step.product)
        # One made by hand is as good as ours while it is active: a push adds mark and title.
        good = known is not None and known.active and known.item is None
        return step.act is not Act.DEFAULT_PRICE and step.product in products and not good

    found: dict[str, str] = {}
    for step in planned(catalog, shelf, retire=False).steps:
        if wrong(step):
            found.setdefault(f"{step.item} {step.name}".rstrip(), f"a push would {step}")
    return found


def told(catalog: Catalog, offers: Sequence[Offer]) -> Found:
    """Return what is wrong by the events' own words, where nothing can be read."""
    sold = _sold(catalog)
    items = {name for name, _ in sold.values()}
    found: dict[str, str] = {}
    for offer in offers:
        product, price = offer.product, offer.price
        if product is not None and product.catalog == catalog.product and product.item in items:
            if offer.gone or not product.active:
                found[product.item] = _state(gone=offer.gone)
        elif price is not None:
            for name in {price.lookup, offer.before} & sold.keys():
                item, asked = sold[str(name)]
                if offer.gone or not price.active:
                    found[f"{item} {name}"] = f"{price.id} {_state(gone=offer.gone)}"
                elif price.lookup != name:
                    found[f"{item} {name}"] = f"{price.id} has that lookup key no more"
                elif not price.sells(asked):
                    found[f"{item} {name}"] = f"{price.id} asks for something else"
    return found


def _state(*, gone: bool) -> str:
    return "was deleted" if gone else "was deactivated"


def _concerned(catalog: Catalog, offers: Iterable[Offer]) -> bool:
    sold = _sold(catalog)
    return any(offer.product for offer in offers) or not sold.keys().isdisjoint(_names(offers))


def _names(offers: Iterable[Offer]) -> set[str]:
    prices = [
        (offer.price.lookup, offer.price.marked, offer.before) for offer in offers if offer.price
    ]
    return {name for names in prices for name in names if name}


def _sold(catalog: Catalog) -> dict[str, tuple[str, Price]]:
    """Return each price that is sold by its name, with what it is of, as ``plan:starter``."""
    return {
        price.key: (f"{kind}:{key}", price)
        for kind, things in (
            ("plan", catalog.plans),
            ("add_on", catalog.add_ons),
            ("pack", catalog.packs),
        )
        for key, thing in things.items()
        for price in thing.prices
    }
