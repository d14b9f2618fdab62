"""The door to Redis: what travels together, and what fails alone."""

import asyncio
import socket
from collections.abc import Sequence

import pytest
from redis import Redis

from api.domain import keys
from api.infra import link
from api.infra.few_lines import MOST_A_SECOND
from api.infra.redis import NotSent, OutcomeUnknown, RedisDoor, ScriptFailed
from tests.support.flaky import flaky_way
from tests.support.judging import EPOCH, open_door, registered, reopened
from tests.support.waiting import eventually, until


async def test_calls_of_one_turn_come_back_in_order(redis_url: str) -> None:
    door = await open_door(redis_url)
    try:
        replies = await asyncio.gather(*(door.command("ECHO", str(n)) for n in range(2_500)))
        assert replies == [str(n).encode() for n in range(2_500)]
    finally:
        await door.close()


async def test_a_call_that_cannot_be_written_fails_alone(redis_url: str) -> None:
    door = await open_door(redis_url)
    try:
        outcomes: list[object] = await asyncio.gather(
            door.command("ECHO", "a"),
            door.command("ECHO", "\ud800"),
            door.command("ECHO", "b"),
            return_exceptions=True,
        )
        good, bad, after = outcomes
        assert (good, after) == (b"a", b"b")
        assert isinstance(bad, UnicodeError)
        assert await door.command("ECHO", "c") == b"c"
    finally:
        await door.close()


async def test_what_was_never_sent_says_so(tmp_path: object) -> None:
    door = RedisDoor(f"unix://{tmp_path}/none.sock", register=registered, reopen=reopened)
    door.start()
    try:
        with pytest.raises(NotSent, match="cannot be reached"):
            await door.command("PING")
        assert not door.up
    finally:
        await door.close()
    with pytest.raises(NotSent, match="closed"):
        await door.command("PING")


async def test_where_the_store_would_be_is_told_in_the_log_and_to_no_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    door = RedisDoor(f"redis://127.0.0.1:{port}", register=registered, reopen=reopened)
    door.start()
    try:
        with pytest.raises(NotSent) as refused:
            await door.command("PING")
        assert str(port) not in refused.value.message
        assert str(port) in caplog.text
    finally:
        await door.close()


@pytest.mark.one_server
async def test_refusals_write_so_many_lines_and_no_more(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    door = await open_door(redis_url)
    try:
        await door.command("SET", "text", "x")
        asked = (door.command("INCR", "text") for _ in range(500))
        refused = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, ScriptFailed) for each in refused)
        lines = [r for r in caplog.records if "refused INCR" in r.message]
        assert 0 < len(lines) <= 3 * MOST_A_SECOND
    finally:
        await door.command("DEL", "text")
        await door.close()


async def test_a_store_that_may_evict_keys_is_refused(redis_url: str) -> None:
    door = await open_door(redis_url)
    try:
        await door.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with pytest.raises(NotSent, match="noeviction"):
            await open_door(redis_url)
    finally:
        await door.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await door.close()


async def test_a_script_that_the_server_forgot_is_sent_again_with_its_text(
    redis_url: str,
) -> None:
    door = await open_door(redis_url)
    try:
        assert await door.renew_epoch(3) == 8
        await door.command("SCRIPT", "FLUSH")
        assert await door.renew_epoch(3) == 9
        assert await door.command("GET", "{3}e") == b"9"
    finally:
        await door.close()


@pytest.mark.one_server
async def test_calls_of_one_turn_make_one_journey(redis_url: str) -> None:
    door = await open_door(redis_url)
    try:
        before = door.batches
        await asyncio.gather(*(door.command("ECHO", str(n)) for n in range(500)))
        assert door.batches == before + 1
    finally:
        await door.close()


@pytest.mark.one_server
async def test_a_caller_that_goes_away_disturbs_nobody(redis_url: str) -> None:
    door = await open_door(redis_url)
    try:
        first, gone, after = (
            asyncio.ensure_future(door.command("INCR", "n")),
            asyncio.ensure_future(door.command("ECHO", "gone")),
            asyncio.ensure_future(door.command("INCR", "n")),
        )
        await asyncio.sleep(0)  # they are written in the turn that follows
        gone.cancel()
        assert [await first, await after] == [1, 2]
        with pytest.raises(asyncio.CancelledError):
            await gone
    finally:
        await door.command("DEL", "n")
        await door.close()


@pytest.mark.one_server
async def test_what_was_out_when_the_connection_ended_is_unknown_and_what_waited_is_sent(
    redis_url: str,
) -> None:
    async with flaky_way(redis_url) as way:
        door = await open_door(way.url)
        try:
            way.lose_replies(1, b"LPUSH")
            out = door.command("LPUSH", "list", "a")
            with pytest.raises(OutcomeUnknown, match="did not answer"):
                await out
            assert await door.command("LRANGE", "list", "0", "-1") == [b"a"]
            assert door.generation == 2
        finally:
            await door.command("DEL", "list")
            await door.close()


@pytest.mark.one_server
async def test_a_batch_that_is_never_answered_is_unknown_after_its_time(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "TIMEOUT_SECONDS", 0.2)
    door = await open_door(redis_url)
    other = await open_door(redis_url)
    try:
        # A list that nobody pushes to keeps the connection waiting at the server.
        silent, behind = door.command("BLPOP", "nothing", "0"), door.command("PING")
        for call in (silent, behind):
            with pytest.raises(OutcomeUnknown, match="no answer in"):
                await call
        assert await door.command("PING") == b"PONG"
        assert await other.command("PING") == b"PONG"
    finally:
        await door.close()
        await other.close()


@pytest.mark.one_server
async def test_epochs_that_come_after_their_connection_was_lost_are_not_those_of_the_next(
    redis_url: str,
) -> None:
    claims = []
    async with flaky_way(redis_url) as way:

        async def register(server: str, shards: Sequence[int]) -> dict[int, int]:
            claims.append(len(shards))
            if len(claims) == 1:
                way.cut()
                await until(lambda: not door.up)
            return await registered(server, shards)

        door = RedisDoor(way.url, register=register, reopen=reopened)
        door.start()
        try:
            with pytest.raises(NotSent):
                await door.command("PING")
            way.down = False
            await eventually(lambda: answers(door))
            assert claims == [keys.SHARDS, keys.SHARDS]
        finally:
            await door.close()


async def test_while_one_shard_is_registered_the_others_are_asked(redis_url: str) -> None:
    held, let_go = asyncio.Event(), asyncio.Event()

    async def register(server: str, shards: Sequence[int]) -> dict[int, int]:
        if len(shards) == 1:
            held.set()
            await let_go.wait()
        return await registered(server, shards)

    async def of_another(server: str, shard: int, epoch: int) -> None:
        del server, shard, epoch

    door = await RedisDoor(redis_url, register=register, reopen=of_another).open()
    try:
        renewing = asyncio.create_task(door.renew_epoch(5))
        async with asyncio.timeout(4):
            await held.wait()
            assert await door.command("GET", "{7}none") is None
            assert 5 not in await door.epochs(patience_seconds=0.1)
        assert not renewing.done()
        let_go.set()
        assert await renewing == EPOCH
    finally:
        let_go.set()
        await door.close()


async def answers(door: RedisDoor) -> bool:
    try:
        await door.command("PING")
    except NotSent:
        return False
    return True


@pytest.mark.one_server
async def test_a_server_that_does_not_say_any_more_who_it_is_keeps_nobody_waiting(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = await open_door(redis_url)
    with Redis.from_url(redis_url) as operator:
        try:
            operator.execute_command("ACL", "SETUSER", "default", "-info")
            monkeypatch.setattr(link, "QUIET_SECONDS", -1.0)
            async with asyncio.timeout(10):
                for _ in range(2):
                    with pytest.raises(NotSent, match="cannot be reached"):
                        await door.command("PING")
        finally:
            operator.execute_command("ACL", "SETUSER", "default", "+info")
            await door.close()


async def test_a_reply_in_many_pieces_is_one(redis_url: str) -> None:
    door = await open_door(redis_url)
    try:
        large = "x" * 5_000_000
        replies = await asyncio.gather(
            door.command("ECHO", large), door.command("GET", "none"), door.command("ECHO", "b")
        )
        assert list(replies) == [large.encode(), None, b"b"]
    finally:
        await door.close()


async def test_closing_tells_whoever_waits(redis_url: str) -> None:
    door = await open_door(redis_url)
    out = asyncio.ensure_future(door.command("BLPOP", "{0}nothing", "0"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(door.command("GET", "{0}nothing"))
    await door.close()
    with pytest.raises(OutcomeUnknown, match="closed"):
        await out
    with pytest.raises(NotSent, match="closed"):
        await waiting
