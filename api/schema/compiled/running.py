"""What a compiled operation needs while it runs: its request, its errors, its concurrent fields.

Follows "Executing selection sets" and "Handling execution errors" of the GraphQL specification as
graphql-core does: the same fields start in the same turn, the first error of a field that may not
be null cancels its siblings, and an error below a position that is null already is not told.

A path is a linked tuple, ``(path of the parent, key or index)``; the operation's own is None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, NamedTuple, NoReturn, TypeAlias, cast

import orjson
from graphql import FieldNode, GraphQLError, get_location, located_error

from api.domain.errors import HeadroomError
from api.schema.context import Context
from api.schema.errors import Entry, Refused, entry_of, expected_entry

Path: TypeAlias = "tuple[Path, str | int] | None"
Pending: TypeAlias = "CoroutineType[Any, Any, Any]"


class Answer(NamedTuple):
    """A GraphQL response. ``status`` is 200 wherever the operation ran, whatever came of it."""

    body: bytes
    status: int
    retry_after_seconds: int | None = None


# Of whole tuples, as every request makes one: naming fields takes longer than the tuple itself.
_answer = partial(tuple.__new__, Answer)


class Site:
    """One selected field: where the document says so, for whoever has to tell of an error."""

    __slots__ = ("locations", "nodes")

    def __init__(self, nodes: list[FieldNode]) -> None:
        self.nodes = nodes
        self.locations = [
            {"line": at.line, "column": at.column}
            for node in nodes
            if node.loc
            for at in (get_location(node.loc.source, node.loc.start),)
        ]


class Run:
    """One execution of one operation; ``args`` are the arguments of its fields, by their place.

    Resolvers get it as their ``info``: what they use of one is its ``context``.
    """

    __slots__ = ("_nulled", "args", "context", "errors")

    def __init__(self, context: Context, args: Sequence[Mapping[str, Any]]) -> None:
        self.context = context
        self.args = args
        self.errors: list[Entry] = []
        self._nulled: set[Path] | None = None

    def add(self, error: Exception, site: Site, path: Path) -> None:
        """Note an error at a position that becomes null by it.

        The error itself is not kept: with its traceback it would tie this run into a cycle.
        """
        if self._becomes_null(path):
            self.errors.append(_entry(error, site, path))

    def add_whole(self, error: GraphQLError) -> None:
        """Note an error by which the whole data become null."""
        if self._becomes_null(None):
            self.errors.append(entry_of(error))

    def _becomes_null(self, path: Path) -> bool:
        """Note that ``path`` is null; tell whether neither it nor any above it was so before."""
        nulled = self._nulled
        if nulled is None:
            self._nulled = {path}
            return True
        at = path
        while at is not None:
            if at in nulled:
                return False
            at = at[0]
        if None in nulled:
            return False
        nulled.add(path)
        return True


def answered(run: Run, data: object) -> Answer:
    """Return the response of a run that came to ``data``."""
    body = {"errors": run.errors, "data": data} if run.errors else {"data": data}
    return _answer((orjson.dumps(body), 200, None))


def located(error: Exception, site: Site, path: Path) -> GraphQLError:
    """Return ``error`` with its place, unless it has one from further below."""
    return located_error(error, site.nodes, _keys(path))


class Owed:
    """Coroutines that are closed together with whoever was to await them, if that never began.

    A task that is cancelled before its first step drops what it was given.
    """

    __slots__ = ("all",)

    def __init__(self, coroutines: Sequence[Pending]) -> None:
        self.all = coroutines

    def __del__(self) -> None:
        for one in self.all:
            one.close()


def or_null(run: Run, pending: Pending, site: Site, path: Path) -> Pending:
    """Return what completes a position that becomes null by an error."""
    return cast("Pending", _or_null(run, Owed((pending,)), site, path))


def or_raise(pending: Pending, site: Site, path: Path) -> Pending:
    """Return what completes a position that may not be null. It raises: GraphQLError, located."""
    return cast("Pending", _or_raise(Owed((pending,)), site, path))


def join(
    out: dict[str, Any] | list[Any], keys: Sequence[Any], pending: Sequence[Pending]
) -> Pending:
    """Return what puts all that is pending into ``out`` at ``keys``, and gives it.

    A single one needs no task; more start in one turn, so that loaders see them together.
    It raises: GraphQLError, the first one; the others are cancelled.
    """
    return cast("Pending", _join(out, keys, Owed(pending)))


def rethrow(value: Exception) -> NoReturn:
    """Raise what a resolver gave instead of raising it. Raises: Exception, that one."""
    try:
        raise value
    finally:
        del value  # its traceback names this frame


async def _or_null(run: Run, owed: Owed, site: Site, path: Path) -> object:
    try:
        return await owed.all[0]
    except Exception as error:  # noqa: BLE001 - whatever a resolver raises is told, bugs masked
        run.add(error, site, path)
        return None


async def _or_raise(owed: Owed, site: Site, path: Path) -> object:
    try:
        return await owed.all[0]
    except Exception as error:  # noqa: BLE001 - it goes on, located
        raise located(error, site, path) from None


async def _join(out: dict[str, Any] | list[Any], keys: Sequence[Any], owed: Owed) -> object:
    if len(owed.all) == 1:
        out[keys[0]] = await owed.all[0]
        return out
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(one) for one in owed.all]
    try:
        for key, value in zip(keys, await asyncio.gather(*tasks), strict=True):
            out[key] = value
    except Exception:
        _cancel(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        # An error's traceback names this frame, and a failed task its error: no cycle of them.
        tasks.clear()
    return out


def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    # In a frame of its own: a name for a task in that of ``join`` would outlive the loop.
    for task in tasks:
        task.cancel()


def settle(pending: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Let fields end by themselves whose parent became null before they began."""
    if pending:
        ending = asyncio.gather(*pending, return_exceptions=True)
        _ending.add(ending)
        ending.add_done_callback(_ending.discard)


_ending: set[asyncio.Future[Any]] = set()


def _entry(error: Exception, site: Site, path: Path) -> Entry:
    if isinstance(error, (Refused, HeadroomError)):
        return expected_entry(error, site.locations, _keys(path))
    return entry_of(located_error(error, site.nodes, _keys(path)))


def _keys(path: Path) -> list[str | int]:
    keys: list[str | int] = []
    while path is not None:
        path, key = path
        keys.append(key)
    keys.reverse()
    return keys
