"""The shorter way of a whole answer, beside uvicorn's own: byte for byte the same.

Whatever a new version of uvicorn changes of what it relies on shows here: in the bytes, in what is
noted of the answer, or in the number of writes.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.app.answering import Answering

DATE = (b"date", b"Sat, 21 Nov 2026 17:00:00 GMT")
CLOSE = (b"connection", b"close")
LENGTH = (b"content-length", b"5")
POST = b"POST /v1/check HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}"
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@dataclass
class Said:
    """What a client was told, and what uvicorn knows of it afterwards."""

    text: bytes
    closed: bool
    noted: dict[str, Any]
    writes: int = field(compare=False)


def start(*lines: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(lines)}


def body(text: bytes = b"hello", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": text, "more_body": more}


def saying(messages: Iterable[Message]) -> ASGIApp:
    async def application(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            await send(message)

    return application


async def said(
    application: ASGIApp,
    request: bytes = POST,
    *defaults: tuple[bytes, bytes],
    meanwhile: Callable[[HttpToolsProtocol], None] = lambda _: None,
) -> Said:
    """Return the answers to what one client sends at once."""
    config = uvicorn.Config(
        application, interface="asgi3", lifespan="off", log_config=None, access_log=False
    )
    config.proxy_headers = False
    state = ServerState()
    state.default_headers = [DATE, *defaults]
    wire = Wire()
    protocol = HttpToolsProtocol(config, state, {})
    protocol.connection_made(wire)
    protocol.data_received(request)
    meanwhile(protocol)
    while state.tasks:
        await asyncio.gather(*state.tasks)
    noted = {
        name: value
        for name, value in vars(protocol.cycle).items()
        if isinstance(value, (bool, int, bytearray, type(None)))
    }
    noted["answers"] = state.total_requests
    noted["told"] = protocol.cycle.message_event.is_set()
    noted["waits"] = protocol.timeout_keep_alive_task is not None
    told = Said(b"".join(wire.writes), wire.closed, noted, len(wire.writes))
    protocol.connection_lost(None)
    return told


PLAIN = {
    "an answer": [start(LENGTH), body()],
    "an empty one": [start((b"content-length", b"0")), body(b"")],
    "a denial": [start((b"retry-after", b"5"), LENGTH, status=429), body()],
    "one with a tab": [start(LENGTH, (b"x-odd", b"a\tb")), body()],
    "one beyond ASCII": [start(LENGTH, (b"x-odd", "é\x85".encode("latin-1"))), body()],
    "one with two lines of a name": [start((b"vary", b"a"), (b"vary", b"b"), LENGTH), body()],
    "one with a percent sign": [start(LENGTH, (b"x-odd", b"100%b")), body()],
    "nothing new": [start(LENGTH, status=304), body()],
    "no content": [start((b"content-length", b"0"), status=204), body(b"")],
}
OTHER = {
    "without a length": [start((b"vary", b"a")), body()],
    "without lines": [start(), body()],
    "a stream": [start(LENGTH), body(b"he", more=True), body(b"llo")],
    "a body in two": [start(LENGTH), body(b"hello", more=True), body(b"")],
    "in chunks": [start((b"transfer-encoding", b"chunked")), body(more=True), body(b"")],
    "chunks and a length": [start(LENGTH, (b"transfer-encoding", b"chunked")), body()],
    "two lengths": [start(LENGTH, LENGTH), body()],
    "too short": [start(LENGTH), body(b"hell")],
    "too long": [start(LENGTH), body(b"hello!")],
    "an odd length": [start((b"content-length", b"05")), body()],
    "the last": [start(LENGTH, CLOSE), body()],
    "kept alive": [start(LENGTH, (b"connection", b"keep-alive")), body()],
    "a line break": [start(LENGTH, (b"x-odd", b"a\r\nset-cookie: b")), body()],
    "a feed": [start(LENGTH, (b"x-odd", b"a\nb")), body()],
    "a NUL": [start(LENGTH, (b"x-odd", b"a\0b")), body()],
    "an odd name": [start(LENGTH, (b"x odd", b"a")), body()],
    "a loud name": [start((b"Content-Length", b"5")), body()],
    "two heads": [start(LENGTH), start(LENGTH), body()],
    "no head": [body()],
    "a word too many": [start(LENGTH), body(), body()],
    "an unknown status": [start(LENGTH, status=999), body()],
    "a trailer": [{**start(LENGTH), "trailers": True}, body(), {"type": "http.response.trailers"}],
}


@pytest.mark.parametrize("messages", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("request_", [POST, GET, POST + POST], ids=["post", "get", "pipelined"])
async def test_a_whole_answer_is_uvicorn_s_own_in_one_write(
    messages: list[Message], request_: bytes
) -> None:
    theirs = await said(saying(messages), request_)
    ours = await said(Answering(saying(messages)), request_)
    assert ours == theirs
    answers = ours.noted["answers"]
    assert (ours.writes, theirs.writes) == (answers, 2 * answers)


@pytest.mark.parametrize("messages", OTHER.values(), ids=OTHER)
async def test_any_other_answer_is_as_ever(messages: list[Message]) -> None:
    theirs = await said(saying(messages))
    assert await said(Answering(saying(messages))) == theirs


@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
    ],
    ids=["head", "1.0", "close", "continue"],
)
async def test_a_request_that_is_not_plain_is_answered_as_ever(request_: bytes) -> None:
    messages = PLAIN["an answer"]
    theirs = await said(saying(messages), request_)
    assert await said(Answering(saying(messages)), request_) == theirs


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=3))
@example([b"a\r\nset-cookie: b"])
@example([b"a\x7f"])
def test_a_value_passes_where_uvicorn_lets_it_pass(values: list[bytes]) -> None:
    messages = [start(LENGTH, *((b"x-odd", value) for value in values)), body()]
    theirs = asyncio.run(said(saying(messages)))
    ours = asyncio.run(said(Answering(saying(messages))))
    assert ours == theirs


async def test_a_process_that_leaves_says_so_in_what_is_under_way_and_in_what_comes() -> None:
    def leave(protocol: HttpToolsProtocol) -> None:
        protocol.cycle.keep_alive = False

    application = Answering(saying(PLAIN["an answer"]))
    under_way = await said(application, POST, meanwhile=leave)
    to_come = await said(application, POST, CLOSE)
    for told in (under_way, to_come):
        assert told.text.count(b"connection: close\r\n") == 1
        assert told.text.endswith(b"\r\n\r\nhello")


async def test_an_application_that_fails_after_its_head_is_a_500_and_no_torn_answer() -> None:
    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start(LENGTH))
        raise RuntimeError("a bug")

    told = await said(Answering(application))
    assert told.text.startswith(b"HTTP/1.1 500 ")
    assert told.text.count(b"HTTP/1.1") == 1
