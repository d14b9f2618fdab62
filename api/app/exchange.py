"""One request that goes straight to its door, and its answer: one write."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar, Protocol

from starlette.types import Scope

from api.app.whole_answers import FAILED, written
from api.infra.taskless import Taskless
from api.web.wire import Direct, Head, Told

log = logging.getLogger(__name__)


class Connection(Protocol):
    """What an exchange needs of what carries it."""

    transport: asyncio.Transport

    def answered(self) -> None:
        """Hear that the door which was asked has answered."""
        ...

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        ...

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Have a server that stops wait for ``task``."""
        ...


class _Heard:
    """Stands for the event by which uvicorn wakes what waits for more; here nothing does."""

    def set(self) -> None:
        """Wake nobody."""


class Exchange(Taskless[Told | None]):
    """One request and its answer."""

    # Of the class until one is told otherwise, as nearly none is.
    body: bytes | bytearray = b""
    disconnected = False
    keep_alive = True
    response_complete = False
    message_event: ClassVar = _Heard()
    _over: asyncio.Event | None = None

    # Of one whose body is still coming.
    door: Direct
    most_bytes: int
    # Of one that was asked.
    scope: Scope

    def __init__(self, protocol: Connection, begin: bytes, head: Head) -> None:
        self.head = head
        self._protocol = protocol
        self._begin = begin

    async def over(self) -> None:
        """Return once the door has answered."""
        self._over = asyncio.Event()
        await self._over.wait()

    def handed_over(self, task: asyncio.Task[Any]) -> None:
        """Have a server that stops wait for ``task``."""
        self._protocol.keep(task)

    def ended(self, value: Told | None, error: BaseException | None) -> None:
        """Send the answer, if somebody is there still."""
        if self._over is not None:
            self._over.set()
        if error is not None:
            log.error("a door failed", exc_info=error)
        protocol = self._protocol
        protocol.answered()
        transport = protocol.transport
        if self.disconnected or transport.is_closing():
            return
        whole = None if value is None else written(self._begin, value, last=not self.keep_alive)
        if whole is None:
            if value is not None:
                log.error("an answer breaks the rules of HTTP: %r", value[1])
            self.keep_alive = False
            whole = FAILED
        self.response_complete = True
        transport.write(whole)
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()
