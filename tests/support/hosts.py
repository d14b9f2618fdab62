"""Several servers on one record and one counter store, and a way to ask each process by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from api.gates.api_keys import ApiKeys
from api.infra.clock import SystemClock
from api.wiring import Core
from tests.support.gate import opened
from tests.support.processes import runs
from tests.support.program import Server, serving

_OWN = 16
"""How many of the first characters of a correlation id are the answering process's own."""
_SEARCHED = 400


CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[features.posts]
name = "Posts"
kind = "metered"

[plans.free]
name = "Free"
[plans.free.features]
calls.day = 1_000_000
posts.day = 50
"""


@dataclass(frozen=True)
class Site:
    """The engines that every server shares, seen from one more process: the test's."""

    database_url: str
    redis_url: str
    folder: Path
    core: Core

    async def key(self, scope: str) -> str:
        made, _ = await ApiKeys(self.core.database).create(
            scope, [scope], self.core.clock.now(), actor="local:test", reason="a test"
        )
        return made

    @asynccontextmanager
    async def serving(self, name: str, *options: str, **settings: str) -> AsyncGenerator[Server]:
        """Run a server for the length of the block; callers go on while it starts and ends."""
        data_dir = self.folder / name / "data"
        data_dir.parent.mkdir()
        settings |= {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        running = serving(data_dir, *options, **settings)
        server = await asyncio.to_thread(running.__enter__)
        try:
            yield server
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


@asynccontextmanager
async def site_on(database_url: str, redis_url: str, folder: Path) -> AsyncGenerator[Site]:
    async with opened(database_url, redis_url, SystemClock(), CATALOG) as core:
        yield Site(database_url, redis_url, folder, core)


def serving_pids(server: Server) -> set[int]:
    """Return the processes of a server that answer."""
    return {pid for pid in server.pids() if runs(pid, "api.app")}


@dataclass(frozen=True)
class Caller:
    """A client with one connection, and so one process that answers it."""

    client: httpx.AsyncClient
    process: str

    async def post(self, path: str, said: object, key: str, **lines: str) -> httpx.Response:
        lines["Authorization"] = f"Bearer {key}"
        response = await self.client.post(path, json=said, headers=lines)
        assert response.headers["x-correlation-id"].startswith(self.process)
        return response

    async def consume(self, key: str, feature: str, **lines: str) -> httpx.Response:
        return await self.post(
            "/v1/consume", {"customer": "acme", "feature": feature}, key, **lines
        )


@asynccontextmanager
async def a_caller_of_each(servers: Sequence[Server], each: int) -> AsyncGenerator[list[Caller]]:
    """Connect until every process of these servers, ``each`` of them, has a caller of its own."""
    async with AsyncExitStack() as stack:
        found: dict[str, Caller] = {}
        for server in servers:
            wanted = len(found) + each
            for _ in range(_SEARCHED):
                client = httpx.AsyncClient(
                    base_url=server.address,
                    timeout=30,
                    limits=httpx.Limits(max_connections=1, keepalive_expiry=3600),
                )
                await stack.enter_async_context(client)
                # Nobody knows the path; whoever says so is known by the answer's id.
                answered = await client.post("/v1/consume", json={})
                process = answered.headers["x-correlation-id"][:_OWN]
                if process in found:
                    await client.aclose()
                    continue
                found[process] = Caller(client, process)
                if len(found) == wanted:
                    break
            assert len(found) == wanted
        yield list(found.values())


class Stream:
    """Callers who ask without an end and never ask twice: whatever fails is kept."""

    def __init__(self, address: str, key: str, feature: str) -> None:
        self._url = f"{address}/v1/consume"
        self._key = key
        self._feature = feature
        self.answered = 0
        self.by_process: dict[str, int] = {}
        self.failures: list[str] = []
        self._ending = asyncio.Event()

    async def more(self, count: int) -> None:
        """Return once so many more requests were answered."""
        wanted = self.answered + count
        async with asyncio.timeout(120):
            while self.answered < wanted:  # noqa: ASYNC110 - many callers' doing
                await asyncio.sleep(0.005)

    def end(self) -> None:
        self._ending.set()

    async def caller(self, *, kept: bool, pause_seconds: float) -> None:
        """Ask on one connection that is kept, or on a new one each time."""
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1 if kept else 0)
        async with httpx.AsyncClient(timeout=30, limits=limits) as client:
            while not self._ending.is_set():
                await self._ask(client)
                await asyncio.sleep(pause_seconds)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        try:
            response = await client.post(
                self._url,
                json={"customer": "acme", "feature": self._feature},
                headers={"Authorization": f"Bearer {self._key}"},
            )
        except httpx.TransportError as error:
            self.failures.append(repr(error))
            return
        if response.status_code != 200:
            self.failures.append(response.text)
            return
        self.answered += 1
        process = response.headers["x-correlation-id"][:_OWN]
        self.by_process[process] = self.by_process.get(process, 0) + 1


@asynccontextmanager
async def streaming(address: str, key: str, feature: str) -> AsyncGenerator[Stream]:
    """Keep callers asking: busy ones, slow ones, and some with a new connection each time."""
    stream = Stream(address, key, feature)
    kinds = [(True, 0.03)] * 6 + [(True, 0.7)] * 6 + [(False, 0.03)] * 3
    callers = [
        asyncio.create_task(stream.caller(kept=kept, pause_seconds=pause)) for kept, pause in kinds
    ]
    try:
        await stream.more(50)
        yield stream
    finally:
        stream.end()
        await asyncio.gather(*callers)
