"""Lists: filtered, a page at a time, and searched."""

# ruff: noqa: ANN401 - a field may be anything

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from tests.stripe_sim.errors import invalid, unknown
from tests.stripe_sim.params import number
from tests.stripe_sim.routes import Asked
from tests.stripe_sim.shapes import listed

Json = dict[str, Any]
Fits = Callable[[Json], bool]

_PAGING = ("limit", "starting_after", "ending_before", "expand")
_BOUNDS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}
_CLAUSE = re.compile(r"(-?)([a-z_]+)(?:\[['\"]([^'\"]+)['\"]\])?\s*(:|~|>=|<=|>|<)\s*(\S+|'[^']*')")


def page_of(
    asked: Asked,
    kind: str,
    url: str,
    *,
    apart: Iterable[str] = (),
    same: Iterable[str] = (),
    fits: Fits | None = None,
    other: Iterable[str] = (),
) -> Json:
    """Return a page of all objects of a kind, newest first.

    ``apart`` names parameters that owners are kept apart by, ``same`` those that a field must equal
    and ``other`` those that ``fits`` looks at. Cost: O(page) where few are filtered out.
    """
    params = asked.params
    _known(params, {*apart, *same, *other, "created"})
    whose = {name: params[name] for name in apart if name in params}
    exact = {name: params[name] for name in same if name in params}
    created = _created(params)

    def wanted(obj: Json) -> bool:
        return (
            all(_text(obj.get(name)) == value for name, value in exact.items())
            and created(obj)
            and (fits is None or fits(obj))
        )

    after, before = params.get("starting_after"), params.get("ending_before")
    found = filter(wanted, asked.world.store.newest_first(kind, whose, after, before))
    limit = _limit(params)
    data = list(islice(found, limit + 1))
    more = len(data) > limit
    data = data[:limit]
    return listed(data[::-1] if before else data, url, more=more)


def page_within(asked: Asked, data: list[Json], url: str, *names: str) -> Json:
    """Return a page of a list that an object holds, in its own order."""
    _known(asked.params, set(names))
    after = asked.params.get("starting_after")
    ids = [one["id"] for one in data]
    if after is not None and after not in ids:
        raise invalid(f"No such object: '{after}'", "starting_after")
    begin = 0 if after is None else ids.index(after) + 1
    limit = _limit(asked.params)
    return listed(data[begin : begin + limit], url, more=begin + limit < len(data))


def searched(asked: Asked, kind: str, url: str) -> Json:
    """Return the page of objects that a search query describes, newest first."""
    fits = _query(str(asked.params.get("query", "")))
    begin = int(asked.params.get("page", "0"))
    found = [one for one in asked.world.store.newest_first(kind, {}) if fits(one)]
    limit = _limit(asked.params)
    more = begin + limit < len(found)
    return {
        "object": "search_result",
        "data": found[begin : begin + limit],
        "has_more": more,
        "next_page": str(begin + limit) if more else None,
        "url": url,
    }


def _query(query: str) -> Fits:
    clauses = [clause.groups() for clause in _CLAUSE.finditer(query)]
    if not clauses:
        raise invalid("The query is not understood.", "query")
    join = any if re.search(r"\bOR\b", query) else all

    def fits(obj: Json) -> bool:
        return join(_clause(obj, *clause) for clause in clauses)

    return fits


def _clause(obj: Json, no: str, name: str, key: str | None, sign: str, said: str) -> bool:
    value, wanted = obj.get(name), said.strip("'\"")
    if key is not None:
        value = (value or {}).get(key)
    if sign in (">", "<", ">=", "<="):
        word = {">": "gt", "<": "lt", ">=": "gte", "<=": "lte"}[sign]
        return _BOUNDS[word](int(value or 0), int(wanted)) is not bool(no)
    if wanted == "null":
        return (value is None) is not bool(no)
    text = _text(value).lower()
    found = wanted.lower() in text if sign == "~" else text == wanted.lower()
    return found is not bool(no)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known(params: Json, names: set[str]) -> None:
    for name in params:
        if name not in names and name not in _PAGING:
            raise unknown(name)


def _limit(params: Json) -> int:
    limit = number(params, "limit", 10) or 0
    if not 1 <= limit <= 100:
        raise invalid("This value must be between 1 and 100.", "limit")
    return limit


def _created(params: Json) -> Fits:
    said = params.get("created")
    if said is None:
        return lambda _: True
    if isinstance(said, str):
        return lambda obj: bool(obj["created"] == int(said))
    bounds = [(_BOUNDS[word], int(value)) for word, value in said.items()]
    return lambda obj: all(holds(obj["created"], bound) for holds, bound in bounds)
