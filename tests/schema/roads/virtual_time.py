"""An event loop whose time passes only where nothing else is left to do, and costs nothing.

Resolvers that wait for different instants end strictly one after the other: whatever the first
has set off is done before the second goes on. So what an answer says of failures that race does
not hang on how many turns of the loop a road needs, only on which of them came first.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LONG_SECONDS = float(1 << 14)
"""Longer than any case takes."""


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop that never sleeps: waiting moves its clock."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the seconds that were waited for so far."""
        return self._jumping.seconds

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what ``coroutine`` gives, once nothing that it set off goes on any more."""
        # Nothing waits between two runs; where time grew for ever, it would lose its fractions.
        self._jumping.seconds = 0.0
        answer = self.run_until_complete(coroutine)
        self.run_until_complete(asyncio.sleep(LONG_SECONDS))
        left = asyncio.all_tasks(self)
        assert not left, left
        return answer


class _Jumping(selectors.SelectSelector):
    """Finds that nothing happened, after as many seconds as it was to wait for something."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits, and nothing will ever wake it"
        self.seconds += max(0.0, timeout)
        return []
