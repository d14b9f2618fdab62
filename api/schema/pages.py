"""Relay pages: edges with cursors, and whether there is more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import strawberry

from api.domain.errors import InvalidInput

T = TypeVar("T")
R = TypeVar("R")


@strawberry.interface
class Node:
    """Anything that ``node`` can find again."""

    id: strawberry.ID


@strawberry.type
class PageInfo:
    """What lies before and behind a page."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    """One item and its place in the list."""

    cursor: str
    node: T


@strawberry.type
class Connection(Generic[T]):
    """One page of a list."""

    edges: list[Edge[T]]
    page_info: PageInfo


def expect_first(first: int, most: int) -> int:
    """Return how many items a page may have. Raises: InvalidInput."""
    if not 0 <= first <= most:
        raise InvalidInput(f"first must be 0 to {most}, not {first}.")
    return first


def page(
    rows: Sequence[R],
    first: int,
    *,
    after: str | None,
    cursor: Callable[[R], str],
    node: Callable[[R], T],
) -> Connection[T]:
    """Return the page of the first ``first`` of ``rows``; one row more says that there is more."""
    edges = [Edge(cursor=cursor(row), node=node(row)) for row in rows[:first]]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=len(rows) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )
