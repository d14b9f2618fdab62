"""Which function answers which request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.stripe_sim.errors import Refused
from tests.stripe_sim.world import World

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a function gets: the account, the ids in the path, the parameters."""

    world: World
    ids: tuple[str, ...]
    params: Json

    @property
    def id(self) -> str:
        """The first id in the path."""
        return self.ids[0]


Answering = Callable[[Asked], Json]

_ROUTES: list[tuple[str, re.Pattern[str], Answering]] = []


def route(method: str, path: str) -> Callable[[Answering], Answering]:
    """Let a function answer requests to a path; ``*`` stands for an id."""
    pattern = re.compile(re.escape(path).replace(r"\*", "([^/]+)"))

    def enter(answering: Answering) -> Answering:
        _ROUTES.append((method, pattern, answering))
        return answering

    return enter


def answering(method: str, path: str) -> tuple[Answering, tuple[str, ...]]:
    """Return the function for a request, and the ids in its path. Raises: Refused."""
    for verb, pattern, function in _ROUTES:
        if verb == method and (found := pattern.fullmatch(path)) is not None:
            return function, found.groups()
    raise Refused(f"Unrecognized request URL ({method}: {path}).", status=404)
