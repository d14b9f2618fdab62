"""The one clock: read at the edge, handed down as an argument everywhere below it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the present instant, always aware and in UTC."""

    def now(self) -> datetime:
        """Return the present instant."""
        ...

    def now_ms(self) -> int:
        """Return the present instant in whole milliseconds since 1970."""
        ...

    def now_us(self) -> int:
        """Return it in microseconds since 1970, as exact as ``now``; see ``instant_of``."""
        ...


def instant_of(us: int) -> datetime:
    """Return microseconds since 1970 as an instant."""
    return _EPOCH + timedelta(microseconds=us)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present instant, as the machine believes it."""
        return datetime.now(UTC)

    def now_ms(self) -> int:
        """Return it in whole milliseconds since 1970; half the price of making an instant first."""
        return time.time_ns() // 1_000_000

    def now_us(self) -> int:
        """Return it in microseconds since 1970, likewise."""
        return time.time_ns() // 1_000
