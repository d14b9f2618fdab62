"""The door to Redis: what travels together, and what fails alone."""

import asyncio

import pytest

from api.infra.redis import NotSent, RedisDoor
from tests.support.judging import open_door, registered, reopened


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
