"""The shorter way through uvicorn, beside its own: byte for byte the same answers.

Whatever a new version of uvicorn changes of what it relies on shows here: in the bytes, in what is
noted of the answer, or in who was asked how.
"""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.app.direct import MOST_BYTES
from api.web.wire import Form, Told
from tests.support.connection import (
    CLOSE,
    OK,
    POST,
    Door,
    SecondWaits,
    Waits,
    Wire,
    both,
    connected,
    ended,
    receive,
    said,
)

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


@pytest.mark.parametrize("parts", [[POST + POST], [POST, POST]], ids=["together", "again"])
async def test_a_request_that_came_with_one_that_is_answered_or_after_it_is_not_cut_off(
    parts: list[bytes],
) -> None:
    door = SecondWaits()
    protocol, wire, loop = timed(door)
    await receive(protocol, *parts)
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
