"""One connection as a line: calls are written in batches, replies come in the same order.

It stands on the transport of a connection that somebody else opened, in the place of its stream
protocol. A stream is read by a task that wakes for each reply; here all replies that came
together are handed on together, without one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar, cast

_C = TypeVar("_C")

Heard = Callable[[deque[_C]], None]


class Parser(Protocol):
    """Turns bytes into replies."""

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        ...


class Line(asyncio.Protocol, Generic[_C]):
    """Calls that were written and have no reply yet, the oldest first.

    ``heard`` is called with them after every receipt: it takes from the left those whose replies
    the parser now has. ``ended`` is called once, with the reason, when nothing more can come.
    """

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        parser: Parser,
        heard: Heard[_C],
        ended: Callable[[Exception], None],
        *,
        timeout_seconds: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = writer.transport
        # The writer's ``wait_closed`` hears from it that the connection is closed.
        self._former = cast("asyncio.Protocol", self._transport.get_protocol())
        self._parser = parser
        self._heard = heard
        self._ended: Callable[[Exception], None] | None = ended
        self._timeout_seconds = timeout_seconds
        self._timer: asyncio.TimerHandle | None = None
        # Of each batch that is out: until when it may take, and how many calls went with it.
        self._due: deque[tuple[float, int]] = deque()
        self._calls_written = 0
        self.waiting: deque[_C] = deque()
        self.full = False
        """Whether the other side takes nothing more for now."""
        self._transport.set_protocol(self)

    @property
    def stands(self) -> bool:
        """Whether something can still be written."""
        return self._ended is not None and not self._transport.is_closing()

    def write(self, batch: Sequence[_C], packed: bytes) -> None:
        """Write ``batch``, whose form on the wire is ``packed``."""
        self.waiting.extend(batch)
        self._calls_written += len(batch)
        now = self._loop.time()
        self._due.append((now + self._timeout_seconds, self._calls_written))
        if self._timer is None:
            self._timer = self._loop.call_at(self._due[0][0], self._look)
        self._transport.write(packed)

    def end(self, reason: Exception) -> None:
        """Say that nothing more will come; the connection is closed by whoever opened it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(reason)

    def data_received(self, data: bytes) -> None:
        """Hand on the replies that are whole now."""
        if self._ended is None:
            return
        self._parser.feed(data)
        try:
            self._heard(self.waiting)
        except ValueError as error:
            self.end(error)
            return
        answered = self._calls_written - len(self.waiting)
        due = self._due
        while due and due[0][1] <= answered:
            due.popleft()

    def eof_received(self) -> bool:
        """Notice that the other side hung up."""
        self.end(ConnectionResetError("it hung up"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Notice that the connection is no more."""
        self.end(exc or ConnectionResetError("the connection ended"))
        self._former.connection_lost(exc)

    def pause_writing(self) -> None:
        """Notice that the other side does not keep up."""
        self.full = True

    def resume_writing(self) -> None:
        """Notice that it does again."""
        self.full = False

    def _look(self) -> None:
        """End the line if its oldest batch took too long; there is one timer, not one a batch."""
        self._timer = None
        if not self._due:
            return
        deadline = self._due[0][0]
        if deadline <= self._loop.time():
            self.end(TimeoutError(f"no answer in {self._timeout_seconds:g} s"))
        else:
            self._timer = self._loop.call_at(deadline, self._look)
