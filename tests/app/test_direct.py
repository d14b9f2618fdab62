"""The shorter way through uvicorn, beside its own: byte for byte the same answers.

Whatever a new version of uvicorn changes of what it relies on shows here: in the bytes, in what is
noted of the answer, or in who was asked how.
"""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.app.direct import (
    LONGEST_KEPT,
    MOST_BYTES,
    MOST_BYTES_FOR_NOTHING,
    MOST_HEADS,
    MOST_LINES_KEPT,
    protocol_of,
)
from api.infra.taskless import in_task
from api.web.wire import Form, Told, answer, read_body

DATE = (b"date", b"Sat, 21 Nov 2026 17:00:00 GMT")
CLOSE = (b"connection", b"close")
PATH = b"/v1/check"
POST = (
    b"POST /v1/check HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer a\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
OK: Told = (Form(200, []), [], b"hello")


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

    @property
    def text(self) -> bytes:
        return b"".join(self.writes)


class Door:
    """Answers what it is told to, and notes how it was asked."""

    most_bytes = 20
    longest = 1000
    """Bytes of a body that comes by messages."""
    taskless = True

    def __init__(self, told: Told | Exception = OK, *, wait: asyncio.Event | None = None) -> None:
        self.told = told
        self.wait = wait
        self.whole: list[bytes] = []
        """Bodies that came without messages."""
        self.asked: list[tuple[object, ...]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = await self.answer(scope, receive)
        if said is not None:
            await answer(send, said)

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        if isinstance(source, bytes):
            self.whole.append(source)
            body = source
        else:
            body = await read_body(source, 0, self.longest)
        headers = tuple(scope["headers"])
        self.asked.append((scope["method"], scope["path"], scope["query_string"], headers, body))
        if self.wait is not None:
            await in_task()
            await self.wait.wait()
        if isinstance(self.told, Exception):
            raise self.told
        form, lines, said = self.told
        return form, list(lines), said


@dataclass
class Said:
    """What a client was told, and what uvicorn knows of it afterwards."""

    text: bytes
    closed: bool
    answers: int
    complete: bool
    asked: list[tuple[object, ...]]
    writes: int = field(compare=False)
    whole: list[bytes] = field(compare=False)


def connected(
    door: Door, *, direct: bool, defaults: Iterable[tuple[bytes, bytes]] = ()
) -> tuple[HttpToolsProtocol, Wire]:
    """Return a connection to a server with that door, and what carries it."""
    kind = protocol_of({PATH: door}.get) if direct else HttpToolsProtocol
    config = uvicorn.Config(
        door, interface="asgi3", http=kind, lifespan="off", log_config=None, access_log=False
    )
    config.proxy_headers = False
    state = ServerState()
    state.default_headers = [DATE, *defaults]
    wire = Wire()
    protocol = kind(config, state, {})
    protocol.connection_made(wire)
    return protocol, wire


async def receive(protocol: HttpToolsProtocol, *parts: bytes) -> None:
    """Let parts arrive as they do, in callbacks of the event loop: nobody's task."""
    for part in parts:
        if not protocol.transport.is_closing():
            asyncio.get_running_loop().call_soon(protocol.data_received, part)
            await asyncio.sleep(0)


async def ended(protocol: HttpToolsProtocol) -> None:
    """Wait for all that runs."""
    async with asyncio.timeout(5):
        while protocol.tasks or getattr(protocol.cycle, "running", False):
            await asyncio.gather(*protocol.tasks)
            await asyncio.sleep(0)


async def said(
    door: Door,
    *parts: bytes,
    direct: bool,
    defaults: Iterable[tuple[bytes, bytes]] = (),
    meanwhile: Callable[[HttpToolsProtocol], None] = lambda _: None,
) -> Said:
    """Return the answers to what one client sends."""
    protocol, wire = connected(door, direct=direct, defaults=defaults)
    await receive(protocol, *parts)
    meanwhile(protocol)
    await ended(protocol)
    complete = protocol.cycle.response_complete
    answers, closed = protocol.server_state.total_requests, wire.closed
    protocol.connection_lost(None)
    return Said(wire.text, closed, answers, complete, door.asked, len(wire.writes), door.whole)


async def both(make: Callable[[], Door], *parts: bytes, **more: Any) -> Said:
    """Have it said both ways; return what the shorter one came to, where they agree."""
    theirs = await said(make(), *parts, direct=False, **more)
    ours = await said(make(), *parts, direct=True, **more)
    assert ours == theirs
    return ours


PLAIN: dict[str, Told] = {
    "an answer": OK,
    "an empty one": (Form(200, []), [], b""),
    "a denial": (Form(429, [(b"vary", b"a")]), [(b"retry-after", b"5")], b"hello"),
}
ODD = {
    "one with a tab": [(b"x-odd", b"a\tb")],
    "one beyond ASCII": [(b"x-odd", "é\x85".encode("latin-1"))],
    "one with two lines of a name": [(b"vary", b"a"), (b"vary", b"b")],
    "one with a percent sign": [(b"x-odd", b"100%b")],
}
for name, odd in ODD.items():
    PLAIN[name] = (Form(200, []), odd, b"hello")
    PLAIN[f"{name}, of its form"] = (Form(200, odd), [], b"hello")
BROKEN = {
    "a line break": (b"x-odd", b"a\r\nset-cookie: b"),
    "a feed": (b"x-odd", b"a\nb"),
    "a NUL": (b"x-odd", b"a\0b"),
    "an odd name": (b"x odd", b"a"),
    "a length": (b"content-length", b"5"),
    "chunks": (b"transfer-encoding", b"chunked"),
    "an end": CLOSE,
}


@pytest.mark.parametrize("told", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("times", [1, 3])
async def test_a_whole_request_is_answered_as_by_uvicorn_in_one_write(
    told: Told, times: int
) -> None:
    ours = await both(lambda: Door(told), POST * times)
    assert ours.text.count(b"HTTP/1.1 ") == ours.answers == ours.writes == times
    assert ours.whole[0] == b"{}"


@given(st.lists(st.integers(1, 3 * len(POST)), max_size=6))
def test_a_request_may_come_in_any_pieces(cuts: list[int]) -> None:
    sent = POST * 3
    places = [0, *sorted(cuts), len(sent)]
    parts = [sent[a:b] for a, b in pairwise(places) if a < b]
    ours = asyncio.run(both(Door, *parts))
    assert (ours.answers, ours.closed) == (3, False)


OTHERS = (
    POST,
    POST.replace(b"{}", b"[]"),
    POST.replace(b"Length: 2", b"Length: 3").replace(b"{}", b"{ }"),
    POST.replace(b"Bearer a", b"Bearer b"),
    POST.replace(b"Length: 2", b"Length: 02"),
    POST.replace(b"{}", b"\r\n"),
    POST.replace(b"Length: 2", b"Length: 8").replace(b"{}", b"\r\n\r\n\r\n\r\n"),
    POST.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked").replace(
        b"{}", b"2\r\n{}\r\n0\r\n\r\n"
    ),
    b"GET /v1/check HTTP/1.1\r\nHost: test\r\n\r\n",
    b"\r\n" + POST,
)


@given(
    st.lists(st.sampled_from(OTHERS), min_size=2, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 3 * len(POST))), max_size=3),
)
def test_heads_that_come_again_are_asked_with_their_own_bodies(
    requests: list[bytes], cuts: list[tuple[int, int]]
) -> None:
    """Most come whole, some in two parts; some parts come together."""
    parts: list[bytes] = []
    for number, request in enumerate(requests):
        for which, at in cuts:
            if which == number and at < len(request):
                parts.append(request[:at])
                request = request[at:]  # noqa: PLW2901 - what is left of it
                break
        else:
            parts.append(request)
            continue
        parts.append(request)
    joined = [parts[0]]
    for part in parts[1:]:
        if len(part) % 7 == 0:
            joined[-1] += part
        else:
            joined.append(part)
    ours = asyncio.run(both(Door, *joined))
    assert ours.answers == len(requests)


async def test_a_head_is_known_by_what_came_with_one_body_alone() -> None:
    twice, more = POST * 2, POST + b"\r\n"
    ours = await both(Door, twice, twice, more, more, POST)
    assert ours.answers == 7


class Unread:
    """A parser that must not be fed."""

    def feed_data(self, data: bytes) -> None:
        raise AssertionError(data)


async def test_a_head_that_was_read_before_is_not_read_again() -> None:
    door = Door()
    protocol, wire = connected(door, direct=True)
    other = POST.replace(b"Bearer a", b"Bearer b")
    await receive(protocol, POST, other)
    protocol.parser = Unread()  # type: ignore[assignment] # as much of one as is used
    await receive(protocol, other, POST.replace(b"{}", b"[]"))
    await ended(protocol)
    assert door.whole == [b"{}", b"{}", b"{}", b"[]"]
    assert [dict(asked[3])[b"authorization"] for asked in door.asked] == [  # type: ignore[call-overload] # lines
        b"Bearer a",
        b"Bearer b",
        b"Bearer b",
        b"Bearer a",
    ]
    assert wire.text.count(b"HTTP/1.1 200") == len(wire.writes) == 4


async def test_no_more_heads_are_kept_than_a_few_short_ones() -> None:
    protocol, wire = connected(Door(), direct=True)
    long = POST.replace(b"Host: test", b"Host: test\r\nX-Long: " + b"a" * LONGEST_KEPT)
    lines = POST.replace(b"Host: test", b"Host: test" + b"\r\nA: b" * MOST_LINES_KEPT)
    many = [POST.replace(b"Bearer a", b"Bearer %d" % n) for n in range(MOST_HEADS + 5)]
    await receive(protocol, long, lines, *many, many[-1])
    await ended(protocol)
    assert wire.text.count(b"HTTP/1.1 200") == len(many) + 3
    protocol.parser = Unread()  # type: ignore[assignment] # as much of one as is used
    for known in many[:MOST_HEADS]:
        await receive(protocol, known)
    assert wire.text.count(b"HTTP/1.1 200") == len(many) + 3 + MOST_HEADS
    for unknown in (long, lines, *many[MOST_HEADS:]):
        with pytest.raises(AssertionError):
            protocol.data_received(unknown)


CHUNKED = POST.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked").removesuffix(b"{}")


@pytest.mark.parametrize(
    "endless", [b"X-Long: " + b"a" * 1_000_000, b"X-Short: a\r\n" * 100_000], ids=["line", "lines"]
)
async def test_a_head_without_an_end_is_refused(endless: bytes) -> None:
    door = Door()
    protocol, wire = connected(door, direct=True)
    sent = POST.removesuffix(b"\r\n{}") + endless
    parts = [sent[at : at + 1_000] for at in range(0, len(sent), 1_000)]
    await receive(protocol, POST, *parts)
    assert wire.text.count(b"HTTP/1.1 200") == 1
    assert wire.text.count(b"HTTP/1.1 431 ") == 1
    assert wire.closed
    assert len(door.asked) == 1


@pytest.mark.parametrize(
    "begun",
    [b"0\r\nX-Long: ", b"2\r\n{}\r\n0\r\nX-Long: ", b"2;a="],
    ids=["trailer", "trailer of a body", "extension of a chunk"],
)
@pytest.mark.parametrize("credential", [True, False])
async def test_what_does_not_end_and_is_no_head_ends_the_connection(
    begun: bytes,
    credential: bool,  # noqa: FBT001 - a parameter
) -> None:
    head = CHUNKED if credential else CHUNKED.replace(b"Authorization: Bearer a\r\n", b"")
    door = Waits()
    protocol, wire = connected(door, direct=True)
    await receive(protocol, head + begun, *([b"a" * 1_000] * 1_000))
    assert wire.closed
    assert wire.text == b""
    protocol.connection_lost(None)
    door.reply.set_result(None)
    await asyncio.gather(*protocol.tasks, return_exceptions=True)


async def test_lines_of_a_trailer_are_kept_by_nobody() -> None:
    protocol, wire = connected(Door(), direct=True)
    await receive(protocol, CHUNKED + b"2\r\n{}\r\n0\r\n", *([b"X-Short: a\r\n"] * 1_000))
    assert len(protocol.headers) == 3
    await receive(protocol, b"\r\n")
    await ended(protocol)
    assert wire.text.count(b"HTTP/1.1 200") == 1


async def test_a_head_without_an_end_behind_a_request_that_waits_is_not_answered_in_its_place() -> (
    None
):
    door = Waits()
    protocol, wire = connected(door, direct=True)
    await receive(protocol, POST, POST[:40], *([b"a" * 1_000] * 100))
    assert (wire.text, wire.closed) == (b"", True)
    protocol.connection_lost(None)
    door.reply.set_result(None)
    await ended(protocol)


async def test_a_long_head_and_a_longer_body_are_read() -> None:
    head = POST.removesuffix(b"\r\n{}").replace(b"Length: 2", b"Length: 200000")
    sent = (
        head + b"X-Long: " + b"a" * (MOST_BYTES_FOR_NOTHING - 1_000) + b"\r\n\r\n" + b" " * 200_000
    )
    parts = [sent[at : at + 1_000] for at in range(0, len(sent), 1_000)]
    door = Door()
    door.longest = 1_000_000
    protocol, wire = connected(door, direct=True)
    # The last part of the body comes with the beginning of another head.
    await receive(protocol, *parts[:2], sent[2_000:] + POST[:20], POST[20:])
    await ended(protocol)
    assert wire.text.count(b"HTTP/1.1 200") == 2
    assert b" 431 " not in wire.text


async def test_a_head_that_is_known_goes_the_usual_way_where_it_has_to() -> None:
    """While one before it waits, while nothing can be written, and in a process that leaves."""
    door = SecondWaits()
    protocol, wire = connected(door, direct=True)
    await receive(protocol, POST, POST, POST)
    assert len(wire.writes) == 1
    door.reply.set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the third one begins when the second one has ended
    await ended(protocol)
    assert wire.text.count(b"HTTP/1.1 200") == 3
    other, wire = connected(Door(), direct=True)
    await receive(other, POST)
    other.pause_writing()
    await receive(other, POST)
    assert len(wire.writes) == 1
    other.resume_writing()
    await ended(other)
    assert wire.text.count(b"HTTP/1.1 200") == 2
    other.server_state.default_headers = [DATE, CLOSE]
    await receive(other, POST)
    await ended(other)
    assert wire.text.count(b"connection: close\r\n") == 1
    assert wire.closed


CHUNKS = (
    b"POST /v1/check HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n1\r\n \r\n1\r\n \r\n0\r\n\r\n"
)
ALSO_WHOLE = {
    "no body": b"POST /v1/check HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer a\r\n\r\n",
    "chunks": CHUNKS,
    "as large as may be": POST.replace(b"Length: 2", b"Length: 20").replace(b"{}", b"{}" * 10),
}


@pytest.mark.parametrize("request_", ALSO_WHOLE.values(), ids=ALSO_WHOLE)
async def test_a_body_is_whole_however_it_comes(request_: bytes) -> None:
    ours = await both(Door, request_, POST)
    assert len(ours.whole) == ours.answers == 2


NOT_PLAIN = {
    "get": b"GET /v1/check HTTP/1.1\r\nHost: test\r\n\r\n",
    "head": b"HEAD /v1/check HTTP/1.1\r\nHost: test\r\n\r\n",
    "put": POST.replace(b"POST", b"PUT"),
    "1.0": POST.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "the last": POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "continue": POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
    "too large": POST.replace(b"Length: 2", b"Length: 21").replace(b"{}", b"{" + b" " * 19 + b"}"),
    "no credential": POST.replace(b"Authorization: Bearer a\r\n", b""),
    "a query": POST.replace(b"/check", b"/check?a=1"),
    "an escape": POST.replace(b"/check", b"/%63heck"),
    "another path": POST.replace(b"/check", b"/chess"),
    "an upgrade": POST.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
    "no HTTP": b"hello\r\n\r\n",
    "chunks that are too much": CHUNKS.replace(b"0\r\n", b"13\r\n" + b" " * 19 + b"\r\n0\r\n"),
    "two lengths": POST.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
}


@pytest.mark.parametrize("request_", NOT_PLAIN.values(), ids=NOT_PLAIN)
async def test_whatever_is_not_plain_goes_the_usual_way(request_: bytes) -> None:
    theirs, wire = connected(Door(), direct=False)
    await receive(theirs, request_)
    await ended(theirs)
    door = Door()
    ours, other = connected(door, direct=True)
    await receive(ours, request_)
    await ended(ours)
    assert (other.text, other.closed) == (wire.text, wire.closed)
    assert door.whole == []


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("of_form", [True, False])
async def test_an_answer_that_breaks_out_of_its_lines_is_a_500(
    line: tuple[bytes, bytes],
    of_form: bool,  # noqa: FBT001 - a parameter
) -> None:
    form, lines = (Form(200, [line]), []) if of_form else (Form(200, []), [line])
    ours = await said(Door((form, lines, b"hello")), POST, direct=True)
    assert ours.text.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in ours.text
    assert ours.closed


async def test_an_answer_of_no_status_is_a_500() -> None:
    ours = await said(Door((Form(999, []), [], b"hello")), POST, direct=True)
    assert ours.text.startswith(b"HTTP/1.1 500 ")


@given(st.binary(max_size=8))
@example(b"a\r\nset-cookie: b")
@example(b"a\x7f")
def test_a_value_passes_where_uvicorn_lets_it_pass(value: bytes) -> None:
    def make() -> Door:
        return Door((Form(200, []), [(b"x-odd", value)], b"hello"))

    theirs = asyncio.run(said(make(), POST, direct=False))
    ours = asyncio.run(said(make(), POST, direct=True))
    if theirs.answers:
        assert ours == theirs
    else:  # it hangs up without a word
        assert ours.text.startswith(b"HTTP/1.1 500 ")


async def test_a_door_that_fails_is_a_500_and_the_end_of_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours = await said(Door(RuntimeError("a bug")), POST, direct=True)
    theirs = await said(Door(RuntimeError("a bug")), POST, direct=False)
    assert ours.closed
    assert theirs.closed
    assert ours.text.startswith(b"HTTP/1.1 500 ")
    assert ours.text.partition(b"\r\n\r\n")[2] == theirs.text.partition(b"\r\n\r\n")[2]
    assert "a door failed" in caplog.text


async def test_requests_behind_one_that_waits_are_answered_in_their_order() -> None:
    wait = asyncio.Event()
    door = Door(wait=wait)
    protocol, wire = connected(door, direct=True)
    await receive(protocol, POST + NOT_PLAIN["get"] + POST)
    assert [asked[0] for asked in door.asked] == ["POST"]
    assert wire.text == b""
    wait.set()
    await ended(protocol)
    assert [asked[0] for asked in door.asked] == ["POST", "GET", "POST"]
    assert wire.text.count(b"HTTP/1.1 200") == 3


async def test_a_process_that_leaves_says_so_in_what_is_under_way_and_in_what_comes() -> None:
    def leave(protocol: HttpToolsProtocol) -> None:
        protocol.cycle.keep_alive = False

    wait = asyncio.Event()
    asyncio.get_running_loop().call_soon(wait.set)
    under_way = await said(Door(wait=wait), POST, direct=True, meanwhile=leave)
    to_come = await said(Door(), POST, direct=True, defaults=[CLOSE])
    begun = await said(Door(), POST[:-1], direct=True, meanwhile=leave)
    for told in (under_way, to_come):
        assert told.text.count(b"connection: close\r\n") == 1
        assert told.text.endswith(b"\r\n\r\nhello")
        assert told.closed
    assert under_way.whole == [b"{}"]
    assert to_come.whole == begun.whole == []


async def test_a_large_body_of_a_process_that_leaves_is_the_last() -> None:
    door = Door()
    protocol, wire = connected(door, direct=True)
    large = NOT_PLAIN["too large"]
    await receive(protocol, large[:-19])
    protocol.cycle.keep_alive = False
    await receive(protocol, large[-19:])
    await ended(protocol)
    assert door.whole == []
    assert b"connection: close\r\n" in wire.text
    assert wire.text.endswith(b"hello")
    assert wire.closed


async def test_no_more_of_a_body_is_kept_than_by_uvicorn() -> None:
    door = Door()
    door.most_bytes = 10 * MOST_BYTES
    fits, large = b" " * MOST_BYTES, b" " * (MOST_BYTES + 1)
    for body in (fits, large):
        head = POST.replace(b"Length: 2", b"Length: %d" % len(body)).removesuffix(b"{}")
        protocol, wire = connected(door, direct=True)
        await receive(protocol, head, body[:1000], body[1000:])
        await ended(protocol)
        assert wire.text.startswith(b"HTTP/1.1 ")
    assert door.whole == [fits]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_trailer_is_no_line_of_the_head(whole: bool) -> None:  # noqa: FBT001 - a parameter
    request = CHUNKS.replace(b"0\r\n\r\n", b"0\r\nIdempotency-Key: a\r\n\r\n")
    if not whole:
        request = request.replace(b"Authorization: Bearer a\r\n", b"")
    door = Door()
    protocol, wire = connected(door, direct=True)
    await receive(protocol, request)
    await ended(protocol)
    assert wire.text.endswith(b"hello")
    assert bool(door.whole) is whole
    assert b"idempotency-key" not in dict(door.asked[0][3])  # type: ignore[call-overload] # lines


async def test_a_connection_that_ended_is_held_by_nobody() -> None:
    door = Waits()
    gone = []
    gc.disable()
    try:
        for late in (False, True):
            door.reply = asyncio.get_running_loop().create_future()
            protocol, _ = connected(door, direct=True)
            await receive(protocol, POST)
            if not late:
                door.reply.set_result(None)
                await ended(protocol)
            protocol.connection_lost(None)
            if late:
                door.reply.set_result(None)
                await ended(protocol)
            gone.append(weakref.ref(protocol))
            del protocol, _
        await asyncio.sleep(0)
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()


async def test_what_waits_behind_a_request_of_somebody_who_has_gone_keeps_nobody_from_it() -> None:
    door = Waits()
    protocol, _ = connected(door, direct=True)
    await receive(protocol, POST + POST)
    protocol.connection_lost(ConnectionResetError())
    assert len(protocol.tasks) == 1
    door.reply.set_result(None)
    await ended(protocol)
    assert door.whole == [b"{}"]


async def test_a_request_whose_body_never_ends_is_asked_of_nobody() -> None:
    door = Door()
    protocol, wire = connected(door, direct=True)
    await receive(protocol, POST[:-1])
    protocol.connection_lost(None)
    assert (door.asked, wire.text, protocol.tasks) == ([], b"", set())


class Waits(Door):
    """Waits for a future, as a door waits for the counters."""

    def __init__(self) -> None:
        super().__init__()
        self.reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        await self.reply
        return await super().answer(scope, source)


async def test_what_somebody_asked_who_has_gone_runs_to_its_end_and_is_waited_for() -> None:
    door = Waits()
    protocol, wire = connected(door, direct=True)
    await receive(protocol, POST)
    assert protocol.tasks == set()
    protocol.connection_lost(ConnectionResetError())
    (waiting,) = protocol.tasks
    await asyncio.sleep(0)
    assert not waiting.done()
    door.reply.set_result(None)
    await ended(protocol)
    assert door.whole == [b"{}"]
    assert wire.text == b""


async def test_a_door_that_needs_a_task_gets_one() -> None:
    class Needs(Door):
        taskless = False

        async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
            async with asyncio.timeout(5):
                return await super().answer(scope, source)

    ours = await both(Needs, POST)
    assert ours.text.endswith(b"hello")


async def test_an_exchange_leaves_no_cyclic_garbage() -> None:
    door = Waits()
    protocol, wire = connected(door, direct=True)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            door.reply = asyncio.get_running_loop().create_future()
            await receive(protocol, POST)
            door.reply.set_result(None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(wire.writes) == 20
        door.reply = asyncio.get_running_loop().create_future()
        assert gc.collect() == 0
    finally:
        gc.enable()


class Loop:
    """A loop's time, and its timers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers.append((self.now + seconds, call))
        return asyncio.TimerHandle(0.0, call, (), asyncio.get_running_loop())

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(coroutine)

    def pass_(self, seconds: float) -> None:
        """Let time pass, and what was to happen meanwhile."""
        self.now += seconds
        for at, call in list(self.timers):
            if at <= self.now:
                self.timers.remove((at, call))
                call()


def timed(door: Door) -> tuple[HttpToolsProtocol, Wire, Loop]:
    """Return a connection whose timers are the test's."""
    protocol, wire = connected(door, direct=True)
    loop = Loop()
    protocol.loop = loop  # type: ignore[assignment] # as much of a loop as is used
    protocol.timeout_keep_alive = 5
    return protocol, wire, loop


class SecondWaits(Waits):
    """Answers the first request at once."""

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        if self.whole:
            return await super().answer(scope, source)
        return await Door.answer(self, scope, source)


async def test_a_request_that_came_with_one_that_is_answered_is_not_cut_off() -> None:
    door = SecondWaits()
    protocol, wire, loop = timed(door)
    await receive(protocol, POST + POST)
    assert len(wire.writes) == 1
    loop.pass_(60)
    assert not wire.closed
    door.reply.set_result(None)
    await ended(protocol)
    assert len(wire.writes) == 2


async def test_a_slow_body_goes_the_usual_way_where_its_credential_is_judged_first() -> None:
    door = Door()
    protocol, wire, loop = timed(door)
    await receive(protocol, POST[:-1])
    loop.pass_(6)
    assert (door.whole, len(protocol.tasks), wire.closed) == ([], 1, False)
    await receive(protocol, POST[-1:])
    await ended(protocol)
    assert wire.text.endswith(b"hello")
    assert (door.whole, door.asked[0][4]) == ([], b"{}")


async def test_a_connection_on_which_nothing_comes_is_closed_by_one_timer() -> None:
    protocol, wire, loop = timed(Door())
    for _ in range(3):
        await receive(protocol, POST)
        loop.pass_(3)
    assert len(wire.writes) == 3
    assert len(loop.timers) == 1
    loop.pass_(1)
    assert not wire.closed
    # A request that is coming in is not cut off, however slowly it comes.
    await receive(protocol, POST[:20])
    loop.pass_(60)
    assert not wire.closed
    await receive(protocol, POST[20:])
    assert len(wire.writes) == 4
    loop.pass_(4)
    assert not wire.closed
    loop.pass_(2)
    assert wire.closed
