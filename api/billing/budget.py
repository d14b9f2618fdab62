"""How often the provider is asked: so many requests a second, of which background work has a share.

Whoever waits for an answer now goes before a comparison of a hundred thousand subscriptions: that
takes its requests from a bucket of its own beside the common one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from api.billing.problems import Throttled

LONGEST_WAIT_SECONDS = 2.0
"""How long somebody who waits for an answer is held back before they are told to come again."""

WITHOUT_A_WORD_SECONDS = 1.0
"""The pause after a refusal that does not say how long to wait."""


class Budget:
    """Requests of one process: in any ``t`` seconds at most ``per_second * (t + 1)``.

    ``background_share`` of them is the most that background work takes.
    """

    def __init__(
        self,
        per_second: float,
        background_share: float = 0.5,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._all = _Bucket(per_second)
        self._background = _Bucket(per_second * background_share)
        self._clock, self._sleep = clock, sleep
        self._paused_until = float("-inf")

    async def take(self, *, background: bool = False) -> None:
        """Wait for a request to be allowed.

        Raises: Throttled, where it is not in the background and would wait for long.
        """
        now = self._clock()
        earliest = max(now, self._paused_until)
        if background:
            earliest = max(earliest, self._background.next_at(earliest))
        start = self._all.next_at(earliest)
        if not background and start - now > LONGEST_WAIT_SECONDS:
            raise Throttled("The budget of requests is spent.", int(start - now) + 1)
        self._all.take(start)
        if background:
            self._background.take(start)
        if start > now:
            await self._sleep(start - now)

    async def rest(self, seconds: float) -> None:
        """Wait before something is asked once more; others go on meanwhile."""
        await self._sleep(seconds)

    def pause(self, seconds: float | None) -> None:
        """Ask nothing for a while, as the provider said (``Retry-After``)."""
        wait = WITHOUT_A_WORD_SECONDS if seconds is None else max(seconds, 0)
        self._paused_until = max(self._paused_until, self._clock() + wait)


class _Bucket:
    """A generic cell rate algorithm that lets one second's worth come at once."""

    def __init__(self, per_second: float) -> None:
        self._apart = 1 / per_second
        self._ahead = max(1 - self._apart, 0)
        self._full_at = float("-inf")

    def next_at(self, at: float) -> float:
        return max(at, self._full_at - self._ahead)

    def take(self, at: float) -> None:
        self._full_at = max(self._full_at, at) + self._apart
