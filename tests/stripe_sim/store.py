"""The objects that are held, by kind, in the order in which they came.

A page of a list costs as much as the page, however many objects there are: ids stand in order, and
those of one customer, subscription, payment or charge are kept apart as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.stripe_sim.errors import missing

Json = dict[str, Any]
Making = Callable[[], Json]

_KEPT_APART = ("customer", "subscription", "payment_intent", "charge", "product", "invoice")


class Store:
    """All objects of the account. Those that were planted are made when they are first needed."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Json | Making]] = {}
        self._order: dict[str, list[str]] = {}
        self._place: dict[str, int] = {}
        self._apart: dict[tuple[str, str, str], list[str]] = {}

    def add(self, obj: Json) -> Json:
        """Hold a new object."""
        self._enter(obj["object"], obj["id"], obj)
        for name in _KEPT_APART:
            if isinstance(obj.get(name), str):
                self._apart.setdefault((obj["object"], name, obj[name]), []).append(obj["id"])
        return obj

    def plant(self, kind: str, object_id: str, make: Making, **apart: str) -> None:
        """Hold an object that is made when it is asked for; ``apart`` says whose it is."""
        self._enter(kind, object_id, make)
        for name, value in apart.items():
            self._apart.setdefault((kind, name, value), []).append(object_id)

    def _enter(self, kind: str, object_id: str, obj: Json | Making) -> None:
        order = self._order.setdefault(kind, [])
        self._place[object_id] = len(order)
        order.append(object_id)
        self._held.setdefault(kind, {})[object_id] = obj

    def find(self, kind: str, object_id: str | None) -> Json | None:
        """Return an object, to be read and changed, or None. It is kept from now on."""
        held = self._held.get(kind, {})
        found = held.get(object_id or "")
        if callable(found):
            found = held[object_id or ""] = found()
        return found

    def get(self, kind: str, object_id: str, param: str = "id") -> Json:
        """Return an object that must be there. Raises: Refused."""
        found = self.find(kind, object_id)
        if found is None:
            raise missing(kind, object_id, param)
        return found

    def drop(self, obj: Json) -> None:
        """Forget an object; its place in the order stays empty."""
        self._held[obj["object"]].pop(obj["id"], None)

    def is_planted(self, kind: str, object_id: str) -> bool:
        """Tell whether nobody has needed this object yet."""
        return callable(self._held[kind].get(object_id))

    def kinds(self) -> list[str]:
        """Return the kinds of which there are objects."""
        return list(self._held)

    def count(self, kind: str) -> int:
        """Return how many objects of a kind there are."""
        return len(self._held.get(kind, {}))

    def all(self, kind: str, **apart: str) -> Iterator[Json]:
        """Return objects, oldest first; ``apart`` narrows to one owner, at no cost for others."""
        for object_id in list(self._ids(kind, apart)):
            if (found := self._peek(kind, object_id)) is not None and _fits(found, apart):
                yield found

    def newest_first(
        self, kind: str, apart: dict[str, str], after: str | None = None, before: str | None = None
    ) -> Iterator[Json]:
        """Return objects, newest first, from after one; or oldest first, from before one.

        Raises: Refused, where that one is not there.
        """
        ids = self._ids(kind, apart)
        edge = after or before
        if edge is None:
            numbers = range(len(ids) - 1, -1, -1)
        else:
            if edge not in self._place:
                raise missing(kind, edge, "starting_after" if after else "ending_before")
            at = ids.index(edge) if apart else self._place[edge]
            numbers = range(at - 1, -1, -1) if after else range(at + 1, len(ids))
        for number in numbers:
            if (found := self._peek(kind, ids[number])) is not None and _fits(found, apart):
                yield found

    def _ids(self, kind: str, apart: dict[str, str]) -> list[str]:
        for name, value in apart.items():
            if name in _KEPT_APART:
                return self._apart.get((kind, name, value), [])
        return self._order.get(kind, [])

    def _peek(self, kind: str, object_id: str) -> Json | None:
        """Return an object to be read: what was planted is not kept."""
        found = self._held[kind].get(object_id)
        return found() if callable(found) else found


def _fits(obj: Json, apart: dict[str, str]) -> bool:
    return all(obj.get(name) == value for name, value in apart.items())
