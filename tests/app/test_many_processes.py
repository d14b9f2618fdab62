"""Two servers of two processes each, on the same engines: whoever is asked, the answer is one."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import chain
from pathlib import Path

import httpx
import pytest

from api.catalog.file import parse
from api.domain.catalog import Limit, WindowKind
from api.domain.entitlements import OverrideFacts
from api.gates.api_keys import ApiKeys
from tests.support.hosts import CATALOG, Caller, Site, a_caller_of_each, site_on
from tests.support.program import Server
from tests.support.waiting import eventually

_LIMIT = 50
_SEEN_SECONDS = 5.0
_LONG = {"HEADROOM_KEEP_ALIVE_SECONDS": "600"}


@pytest.fixture
async def site(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with site_on(database_url, redis_url, tmp_path) as made:
        yield made


@pytest.fixture
async def servers(site: Site) -> AsyncIterator[list[Server]]:
    async with (
        site.serving("one", "--workers", "2", **_LONG) as one,
        site.serving("two", "--workers", "2", "--no-worker", **_LONG) as two,
    ):
        yield [one, two]


@pytest.fixture
async def callers(servers: list[Server]) -> AsyncIterator[list[Caller]]:
    async with a_caller_of_each(servers, 2) as made:
        assert len({caller.process for caller in made}) == 4
        yield made


async def _seen_by_all(callers: list[Caller], seen: Callable[[Caller], Awaitable[bool]]) -> float:
    """Return after how many seconds the last process saw a change."""
    since = time.monotonic()
    await asyncio.gather(*(eventually(lambda caller=caller: seen(caller)) for caller in callers))  # type: ignore[misc]
    return time.monotonic() - since


async def _limit(caller: Caller, key: str) -> int:
    told = await caller.post("/v1/check", {"customer": "acme", "feature": "posts"}, key)
    limit: int = told.json()["windows"][0]["limit"]
    return limit


async def _status(caller: Caller, key: str) -> int:
    asked = {"customer": "acme", "feature": "posts"}
    return (await caller.post("/v1/check", asked, key)).status_code


async def test_every_process_holds_the_one_limit_and_knows_each_others_operations(
    site: Site, callers: list[Caller]
) -> None:
    key = await site.key("consume")
    # The same operation everywhere at once: one is counted, the others are told its answer.
    told = await asyncio.gather(
        *(caller.consume(key, "posts", **{"Idempotency-Key": "one"}) for caller in callers * 3)
    )
    assert {answer.status_code for answer in told} == {200}
    assert len({answer.json()["id"] for answer in told}) == 1
    assert sum(not answer.json()["replayed"] for answer in told) == 1
    for caller in callers:
        other = await caller.consume(key, "calls", **{"Idempotency-Key": "one"})
        assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")

    async def ask(caller: Caller) -> list[int]:
        return [(await caller.consume(key, "posts")).status_code for _ in range(20)]

    answers = list(chain.from_iterable(await asyncio.gather(*map(ask, callers))))
    assert answers.count(200) == _LIMIT - 1
    assert set(answers) == {200, 429}


async def test_every_process_sees_a_change_within_seconds(
    site: Site, callers: list[Caller]
) -> None:
    core, clock = site.core, site.core.clock
    key = await site.key("consume")
    # A new key is known at once.
    assert [await _status(caller, key) for caller in callers] == [200] * 4
    took: dict[str, float] = {}

    async def shows(limit: int) -> float:
        async def seen(caller: Caller) -> bool:
            return await _limit(caller, key) == limit

        return await _seen_by_all(callers, seen)

    more = CATALOG.replace("posts.day = 50", "posts.day = 70")
    await core.revisions.apply(parse(more, "more.toml"), "test", "test", clock.now())
    took["catalog"] = await shows(70)

    promised = OverrideFacts("posts", limits=(Limit(WindowKind.DAY, 90),))
    await core.changes.set_override("acme", promised, at=clock.now(), actor="test", reason="test")
    took["override"] = await shows(90)

    await ApiKeys(core.database).revoke("consume", clock.now(), actor="test", reason="it leaked")

    async def refused(caller: Caller) -> bool:
        return await _status(caller, key) == 401

    took["revocation"] = await _seen_by_all(callers, refused)
    assert max(took.values()) < _SEEN_SECONDS, took


async def test_the_figures_of_a_server_are_those_of_all_its_processes(
    site: Site, servers: list[Server], callers: list[Caller]
) -> None:
    key = await site.key("consume")
    for caller in callers:
        for _ in range(3):
            assert (await caller.consume(key, "calls")).status_code == 200

    async def granted(server: Server) -> float:
        async with httpx.AsyncClient(base_url=server.address) as client:
            told = (await client.get("/metrics")).text
        name = 'headroom_decisions_total{door="consume",outcome="granted"} '
        return sum(float(line.removeprefix(name)) for line in told.splitlines() if name in line)

    async def all_told() -> bool:
        return [await granted(server) for server in servers] == [6, 6]

    # A process tells its own figures twice a second.
    await eventually(all_told)
