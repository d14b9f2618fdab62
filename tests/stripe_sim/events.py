"""The record of what changed: one event for each change, kept for thirty days."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.stripe_sim.checking import check
from tests.stripe_sim.shapes import copied, new
from tests.stripe_sim.store import Store
from tests.stripe_sim.timeline import DAY, Timeline

Json = dict[str, Any]

VERSION = "2026-10-28.endive"
SHOWN = 10
KEPT = 30 * DAY


class Events:
    """Makes an event of every change, checked against the package's types."""

    def __init__(self, store: Store, time: Timeline, name: Callable[[str], str]) -> None:
        self.store = store
        self.time = time
        self.listeners: list[Callable[[Json], None]] = []
        self.version = VERSION
        self.cause: Json = {"id": None, "idempotency_key": None}
        self._name = name

    def emit(self, event_type: str, obj: Json, previous: Json | None = None) -> Json:
        """Record that something happened to an object, as the object is now."""
        data: Json = {"object": cut(obj)}
        if previous is not None:
            data["previous_attributes"] = copied(previous)
        made = new(
            "event",
            id=self._name("evt"),
            api_version=self.version,
            created=self.time.now,
            data=data,
            pending_webhooks=1,
            request=dict(self.cause),
            type=event_type,
        )
        for unsaid in ("account", "context"):
            made.pop(unsaid, None)
        check(made)
        self.store.add(made)
        for listener in self.listeners:
            listener(made)
        return made

    @contextmanager
    def changing(self, obj: Json, event_type: str) -> Iterator[Json]:
        """Record the change that the block makes to an object; no change is no event."""
        before = copied(obj)
        yield obj
        previous = {
            key: before.get(key)
            for key in {**before, **obj}
            if key != "updated" and before.get(key) != obj.get(key)
        }
        if previous:
            if "updated" in obj:
                obj["updated"] = self.time.now
            self.emit(event_type, obj, previous)

    def kept(self, event: Json) -> bool:
        """Tell whether the list of events still reaches back to this one."""
        return bool(event["created"] > self.time.now - KEPT)


def cut(obj: Json) -> Json:
    """Return a copy as Stripe shows it: a list within shows ten, and says that there are more."""
    shown = copied(obj)
    for name in ("items", "lines"):
        inner = shown.get(name)
        if isinstance(inner, dict) and len(inner["data"]) > SHOWN:
            inner["data"] = inner["data"][:SHOWN]
            inner["has_more"] = True
    return shown
