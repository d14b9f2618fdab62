"""Heads that a connection sends again, and what never becomes one."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope

from api.app.direct import LONGEST_KEPT, MOST_BYTES_FOR_NOTHING, MOST_HEADS, MOST_LINES_KEPT
from api.web.wire import Told
from tests.support.connection import (
    CLOSE,
    DATE,
    PATH,
    POST,
    Door,
    SecondWaits,
    Waits,
    both,
    connected,
    ended,
    receive,
)

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


async def test_whether_a_known_head_goes_the_shorter_way_is_asked_each_time() -> None:
    door = Door()
    targets: list[bytes] = []

    def find(target: bytes) -> Door | None:
        targets.append(target)
        return None if len(targets) in (3, 4) else door  # as one that is due for the log

    protocol, _ = connected(door, direct=True, find=find)
    await receive(protocol, POST, POST, POST)
    await ended(protocol)
    # Of the third it was asked twice: as of a known head, and as of one that was read.
    assert targets == [PATH] * 4
    assert (len(door.whole), len(door.asked)) == (2, 3)


class Once(Waits):
    """Waits with the second request alone."""

    def __init__(self) -> None:
        super().__init__()
        self.came = 0

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        self.came += 1
        if self.came == 2:
            await self.reply
        return await Door.answer(self, scope, source)


async def test_a_known_head_does_not_overtake_a_request_that_waits() -> None:
    door = Once()
    protocol, wire = connected(door, direct=True)
    second, third = POST.replace(b"{}", b"[]"), POST.replace(b"{}", b"77")
    await receive(protocol, POST, second, third)
    assert (door.came, len(wire.writes)) == (2, 1)
    door.reply.set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the third one begins when the second one has ended
    await ended(protocol)
    assert [asked[4] for asked in door.asked] == [b"{}", b"[]", b"77"]
    assert wire.text.count(b"HTTP/1.1 200") == 3


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
    await receive(other, POST)  # by the shorter way again
    other.server_state.default_headers = [DATE, CLOSE]
    await receive(other, POST)
    await ended(other)
    assert wire.text.count(b"connection: close\r\n") == 1
    assert wire.closed
