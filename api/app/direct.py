"""A shorter way through uvicorn for a request that comes whole to a door that takes it so.

uvicorn makes of each request a task, messages, an event and a timer: half of what a decision costs
here. Where a plain POST comes to such a door (``api.web.wire.Direct``), the door is asked as soon
as the body is whole, in the callback that brought it, and its answer is one write. All else (other
paths and methods, bodies that are too large or too slow, no credential, upgrades, what waits behind
another request of its connection, the last ones of a process that leaves) is uvicorn's as ever.

To uvicorn an exchange of this kind looks like one of its own: it knows when a response is complete,
tells it that the caller has gone or that it is to be the last, and queues behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, ClassVar, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from api.app.whole_answers import FAILED, Begin, written
from api.infra.taskless import Taskless
from api.web.wire import Direct, Head, HeaderLines, Told

log = logging.getLogger(__name__)

Finding = Callable[[bytes], Direct | None]
"""Given a request's target, returns who may be asked without the messages of ASGI."""

MOST_BYTES = 65_536
"""Of a body that is kept before anybody looked at its credential; uvicorn keeps as much."""
_EXPECT = b"expect"
_AUTHORIZATION = b"authorization"

_begin = Begin()


class DirectProtocol(HttpToolsProtocol):
    """One connection; ``protocol_of`` makes the kind that finds any door."""

    @staticmethod
    def _find(_target: bytes) -> Direct | None:
        return None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._exchange: _Exchange | None = None
        """Whose body is still coming."""
        self._asked: _Exchange | None = None
        """Whose door is being asked."""
        self._unbounded = self.limit_concurrency is None and not self.root_path
        self._quiet = True
        """Whether nothing came since the last answer."""
        self._quiet_since = 0.0

    def on_message_begin(self) -> None:
        """Begin a request; what only uvicorn's own way needs is made when it is taken."""
        self.url = b""
        self.headers = []
        self._quiet = False  # also of one that came together with the one before

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one line."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Choose the way of this request."""
        # None before the first request, whatever uvicorn's annotation says.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        begin = _begin.of(self.server_state.default_headers)
        if begin is not None and (cycle is None or cycle.response_complete):
            head = dict(self.headers)
            door = self._find(self.url) if self._comes_plain(head) else None
            if door is not None:
                exchange = self._exchange = _Exchange(self, door, begin, head, self.headers)
                # It has of a cycle whatever uvicorn asks one for.
                self.cycle = exchange  # type: ignore[assignment] # as said
                if self.timeout_keep_alive_task is None:
                    self._look_in(self.timeout_keep_alive)
                self.headers = []  # a trailer is no line of the head
                return
        self._go_the_usual_way(self.headers)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body; a large one goes the usual way after all."""
        exchange = self._exchange
        if exchange is None:
            super().on_body(body)
        elif len(exchange.body) + len(body) > exchange.most_bytes:
            self._leave_to_uvicorn(exchange)
            super().on_body(body)
        elif not exchange.body:
            exchange.body = body
        else:
            # Many small parts shall not cost the square of them.
            if isinstance(exchange.body, bytes):
                exchange.body = bytearray(exchange.body)
            exchange.body += body

    def on_message_complete(self) -> None:
        """Ask, now that the request is whole."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            super().on_message_complete()
            return
        door, body = exchange.door, exchange.body
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": self.url.decode("ascii"),
            "query_string": b"",
            "headers": exchange.headers,
            "head": exchange.head,
        }
        self._asked = exchange
        answer = door.answer(scope, body if isinstance(body, bytes) else bytes(body))
        exchange.begin(answer, in_task=not door.taskless)

    def connection_lost(self, exc: Exception | None) -> None:
        """Notice that the caller has gone; what it asked for runs to its end."""
        super().connection_lost(exc)
        self._exchange = None
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        cycle: object = self.cycle
        if isinstance(cycle, _Exchange):
            # Else the two would hold each other until the collector comes.
            self.cycle = None  # type: ignore[assignment] # as before the first request
        asked = self._asked
        if asked is not None:
            asked.disconnected = True
            # The connection is no more, and a server that stops waits for tasks.
            self.keep(self.loop.create_task(asked.over()))

    def on_response_complete(self) -> None:
        """Go on to the next request of this connection, or wait for it, but not for ever.

        There is one timer, not one a request; it looks how long nothing came.
        """
        if self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        self._quiet = True
        self._quiet_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection where nothing came for so long.

        A body that is so slow goes the usual way, where its credential is judged before it.
        """
        self.timeout_keep_alive_task = None
        if self._exchange is not None and not self.transport.is_closing():
            self._leave_to_uvicorn(self._exchange)
        if not self._quiet:
            return  # the next answer sets it again
        left = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_in(left)
        else:
            super().timeout_keep_alive_handler()

    def _look_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _unset_keepalive_if_required(self) -> None:
        # uvicorn says so of whatever comes.
        self._quiet = False

    def _leave_to_uvicorn(self, exchange: _Exchange) -> None:
        """Have a request that was not asked yet go the usual way, with what came of its body."""
        exchange.response_complete = True
        self._go_the_usual_way(exchange.headers)
        self.cycle.keep_alive = self.cycle.keep_alive and exchange.keep_alive
        if exchange.body:
            super().on_body(bytes(exchange.body))

    def _go_the_usual_way(self, headers: HeaderLines) -> None:
        """Let uvicorn begin the request whose head has come."""
        self._exchange = None
        url = self.url
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
        # The application has the first list; a trailer is no line of the head.
        self.headers = [*self.headers]

    def _comes_plain(self, head: Head) -> bool:
        """Tell whether a request wants nothing of its connection but an answer."""
        parser = self.parser
        return (
            self._unbounded
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and _EXPECT not in head
            and _AUTHORIZATION in head
            and not self.flow.write_paused
        )

    def answered(self) -> None:
        """Hear that the door which was asked has answered."""
        self._asked = None

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Have a server that stops wait for ``task``."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def protocol_of(find: Finding) -> type[DirectProtocol]:
    """Return the protocol, for uvicorn, of an application that finds its doors so."""
    return type("_DirectProtocol", (DirectProtocol,), {"_find": staticmethod(find)})


class _Heard:
    """Stands for the event by which uvicorn wakes what waits for more; here nothing does."""

    def set(self) -> None:
        """Wake nobody."""


class _Exchange(Taskless[Told | None]):
    """One request and its answer."""

    # Of the class until one is told otherwise, as nearly none is.
    body: bytes | bytearray = b""
    disconnected = False
    keep_alive = True
    response_complete = False
    message_event: ClassVar = _Heard()
    _over: asyncio.Event | None = None

    def __init__(
        self,
        protocol: DirectProtocol,
        door: Direct,
        begin: bytes,
        head: Head,
        headers: HeaderLines,
    ) -> None:
        self.door = door
        self.head = head
        self.headers = headers
        self.most_bytes = min(door.most_bytes, MOST_BYTES)
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
                log.error("an answer breaks the rules of HTTP: %r", value[:2])
            self.keep_alive = False
            whole = FAILED
        self.response_complete = True
        transport.write(whole)
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()
