"""The API's own protection: so many requests a second for each key and token, and no more.

It has nothing to do with anybody's quota: it counts requests of one credential in one process,
forgets them within seconds, and says ``RATE_LIMITED``. Off unless a limit is set.
"""

from __future__ import annotations

import math

from api.domain.errors import RateLimited

MOST_IN_MEMORY = 10_000


class Protection:
    """One token bucket for each principal: ``burst`` at once, ``per_second`` in the long run."""

    def __init__(self, per_second: int, burst: int) -> None:
        self._per_ms = per_second / 1000
        self._burst = float(burst)
        self._buckets: dict[str, tuple[float, int]] = {}

    @property
    def on(self) -> bool:
        """Whether any limit is set."""
        return self._per_ms > 0

    def expect(self, actor: str, at_ms: int) -> None:
        """Let one request of ``actor`` pass. Raises: RateLimited."""
        if not self._per_ms:
            return
        left, since_ms = self._buckets.pop(actor, (self._burst, at_ms))
        left = min(self._burst, left + max(0, at_ms - since_ms) * self._per_ms)
        # Last used last, so that the one forgotten first is the one that is full again.
        while len(self._buckets) >= MOST_IN_MEMORY:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[actor] = (left - 1 if left >= 1 else left, at_ms)
        if left < 1:
            seconds = max(1, math.ceil((1 - left) / self._per_ms / 1000))
            raise RateLimited(
                "Too many requests of this credential; this is no quota of a customer.",
                retry_after_seconds=seconds,
            )
