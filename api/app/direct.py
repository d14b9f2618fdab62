"""A shorter way through uvicorn for a request that comes whole to a door that takes it so.

uvicorn makes of each request a task, messages, an event and a timer: half of what a decision costs
here. Where a plain POST comes to such a door (``api.web.wire.Direct``), the door is asked as soon
as the body is whole, in the callback that brought it, and its answer is one write. All else (other
paths and methods, bodies that are too large or too slow, no credential, upgrades, what waits behind
another request of its connection, the last ones of a process that leaves) is uvicorn's as ever.

A connection's head is read once: callers send the same one again and again. Where the bytes of a
request begin with one that was read before and are as many as then, the parser need not see them.

To uvicorn an exchange of this kind looks like one of its own: it knows when a response is complete,
tells it that the caller has gone or that it is to be the last, and queues behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from api.app.exchange import Exchange
from api.app.whole_answers import TOO_LARGE, Begin
from api.web.wire import Direct, Head, HeaderLines

Finding = Callable[[bytes], Direct | None]
"""Given a request's target, returns who may be asked without the messages of ASGI."""

MOST_BYTES = 65_536
"""Of a body that is kept before anybody looked at its credential; uvicorn keeps as much."""
MOST_HEADS = 16
"""Heads that are kept of a connection; they differ in the length of the body at least."""
LONGEST_KEPT = 2_048
MOST_LINES_KEPT = 32
MOST_BYTES_FOR_NOTHING = 65_536
"""So many may come before a head is whole, or between two parts of a body, and mean nothing yet."""
_END = b"\r\n\r\n"
_EXPECT = b"expect"
_AUTHORIZATION = b"authorization"
_LENGTH = b"content-length"

_begin = Begin()


class _Known(NamedTuple):
    """A request that was read before, but for its body: its target, its size, and its scope."""

    target: bytes
    size: int
    scope: Scope


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
        self._exchange: Exchange | None = None
        """Whose body is still coming."""
        self._asked: Exchange | None = None
        """Whose door is being asked."""
        self._unbounded = self.limit_concurrency is None and not self.root_path
        self._quiet = True
        """Whether nothing came since the last answer."""
        self._quiet_since = 0.0
        self._heads: dict[bytes, _Known] = {}
        self._steps = 0
        """Counts what the parser came to: it holds nothing of what came before that."""
        self._for_nothing = 0
        """Bytes that came since then."""
        self._heading = False
        """Whether a head is coming."""
        self._between = True
        """Whether the parser is done with plain requests, and has seen nothing of the next."""

    def data_received(self, data: bytes) -> None:
        """Ask again what was read before, or read what came."""
        if not self._between:
            self._read(data)
            return
        end = data.find(_END) + len(_END)
        known = self._heads.get(data[:end])
        if known is not None and known.size == len(data) and self._ask_again(known, data[end:]):
            return
        before = self.cycle
        self._read(data)
        if self.cycle is not before and len(self._heads) < MOST_HEADS:
            self._keep_head(data, end)

    def _read(self, data: bytes) -> None:
        steps = self._steps
        super().data_received(data)
        self._for_nothing = self._for_nothing + len(data) if steps == self._steps else 0
        if self._for_nothing > MOST_BYTES_FOR_NOTHING and not self.transport.is_closing():
            # uvicorn, and its parser, would keep whatever came, until it ends.
            cycle = cast("RequestResponseCycle | None", self.cycle)
            if self._heading and (cycle is None or cycle.response_complete):
                self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a request; what only uvicorn's own way needs is made when it is taken."""
        self.url = b""
        self.headers = []
        self._between = False
        self._heading = True
        self._steps += 1
        self._quiet = False  # also of one that came together with the one before

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one line, but none of a trailer: nobody would read it."""
        if self._heading:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Choose the way of this request."""
        self._heading = False
        self._steps += 1
        # None before the first request, whatever uvicorn's annotation says.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        begin = _begin.of(self.server_state.default_headers)
        if begin is not None and (cycle is None or cycle.response_complete):
            head = Head(self.headers)
            door = self._find(self.url) if self._comes_plain(head) else None
            if door is not None:
                self._exchange = self._begun(begin, head)
                self._exchange.door = door
                self._exchange.most_bytes = min(door.most_bytes, MOST_BYTES)
                return
        self._go_the_usual_way(self.headers)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body; a large one goes the usual way after all."""
        self._steps += 1
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
        self._steps += 1
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            super().on_message_complete()
            return
        self._between = True
        exchange.scope = {
            "type": "http",
            "method": "POST",
            "path": self.url.decode("ascii"),
            "query_string": b"",
            "headers": exchange.head.lines,
            "head": exchange.head,
        }
        self._ask(exchange, exchange.door, exchange.scope, bytes(exchange.body))

    def _begun(self, begin: bytes, head: Head) -> Exchange:
        """Return the exchange of a request whose head has come."""
        exchange = Exchange(self, begin, head)
        # It has of a cycle whatever uvicorn asks one for.
        self.cycle = exchange  # type: ignore[assignment] # as said
        if self.timeout_keep_alive_task is None:
            self._look_in(self.timeout_keep_alive)
        return exchange

    def _ask(self, exchange: Exchange, door: Direct, scope: Scope, body: bytes) -> None:
        self._asked = exchange
        exchange.begin(door.answer(scope, body), in_task=not door.taskless)

    def _ask_again(self, known: _Known, body: bytes) -> bool:
        """Ask what is known but for its body, unless it is to go another way this time."""
        begin = _begin.of(self.server_state.default_headers)
        if begin is None or not self.cycle.response_complete or self.flow.write_paused:
            return False
        door = self._find(known.target)
        if door is None:
            return False
        self._quiet = False
        self._ask(self._begun(begin, known.scope["head"]), door, known.scope, body)
        return True

    def _keep_head(self, data: bytes, end: int) -> None:
        """Keep the head of ``data``, if that was one request, whole and plain."""
        exchange: object = self.cycle
        if not self._between or not isinstance(exchange, Exchange):
            return
        if end > LONGEST_KEPT or len(exchange.head.lines) > MOST_LINES_KEPT:
            return
        declared = exchange.head.get(_LENGTH)
        if declared is not None and end + int(declared) == len(data):
            self._heads[data[:end]] = _Known(self.url, len(data), exchange.scope)

    def connection_lost(self, exc: Exception | None) -> None:
        """Notice that the caller has gone; what it asked for runs to its end."""
        super().connection_lost(exc)
        self._exchange = None
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        cycle: object = self.cycle
        if isinstance(cycle, Exchange):
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

    def _leave_to_uvicorn(self, exchange: Exchange) -> None:
        """Have a request that was not asked yet go the usual way, with what came of its body."""
        exchange.response_complete = True
        self._go_the_usual_way(exchange.head.lines)
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
