"""A bound on the lines of a log that an outage would write for every call."""

from __future__ import annotations

from time import monotonic

MOST_A_SECOND = 20


class FewLines:
    """Lets so many lines pass in a second, and counts those that go without."""

    def __init__(self, most: int = MOST_A_SECOND) -> None:
        self._most = most
        self._second = 0
        self._told = 0
        self._untold = 0

    def untold(self) -> int | None:
        """Take a line; return how many before went without, or None where this one does too."""
        second = int(monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        if self._told >= self._most:
            self._untold += 1
            return None
        self._told += 1
        untold, self._untold = self._untold, 0
        return untold
