"""How serving processes leave and others take their place: under load, and nobody notices."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from api.cli.children import FIRST_PAUSE_SECONDS, Child
from tests.support.hosts import Site, serving_pids, site_on, streaming
from tests.support.program import Server
from tests.support.waiting import eventually, until

FEATURE = "calls"


@pytest.fixture
async def site(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with site_on(database_url, redis_url, tmp_path) as made:
        yield made


async def _used(server: Server, key: str) -> int:
    async with httpx.AsyncClient(base_url=server.address) as client:
        told = await client.post(
            "/v1/check",
            json={"customer": "acme", "feature": FEATURE},
            headers={"Authorization": f"Bearer {key}"},
        )
    used: int = told.json()["windows"][0]["used"]
    return used


async def _told(server: Server, words: str) -> None:
    await until(lambda: words in server.errors.read_text(), patience_seconds=120)


async def test_a_rolling_restart_under_load_fails_no_request(site: Site) -> None:
    key = await site.key("consume")
    async with site.serving("one", "--workers", "2") as server:
        before = serving_pids(server)
        async with streaming(server.address, key, FEATURE) as stream:
            server.process.send_signal(signal.SIGHUP)
            await _told(server, "every process was renewed")
            await stream.more(100)
        assert stream.failures == []
        assert len(stream.by_process) == 4
        after = serving_pids(server)
        assert len(after) == 2
        assert not after & before
        assert await _used(server, key) == stream.answered
        assert server.stop() == 0


async def test_one_server_takes_over_the_address_of_another_and_no_request_fails(
    site: Site,
) -> None:
    key = await site.key("consume")
    async with site.serving(
        "one", "--no-worker", "--reuse-port", HEADROOM_UNREADY_SECONDS="1"
    ) as first:
        port = first.address.rpartition(":")[2]
        async with (
            streaming(first.address, key, FEATURE) as stream,
            site.serving("two", "--reuse-port", "--port", port) as second,
        ):
            assert await asyncio.to_thread(first.stop) == 0
            await stream.more(100)
            stream.end()
        assert stream.failures == []
        assert len(stream.by_process) == 2
    assert second.process.returncode == 0


async def test_a_version_that_does_not_start_takes_nobody_s_place(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await site.key("consume")
    odd = site.folder / "odd"
    odd.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(odd))
    async with site.serving("one", "--no-worker") as server:
        before = serving_pids(server)
        (odd / "uvloop.py").write_text("raise SystemExit(3)\n")
        async with streaming(server.address, key, FEATURE) as stream:
            server.process.send_signal(signal.SIGHUP)
            await _told(server, "not every process was renewed")
            await stream.more(100)
        assert stream.failures == []
        assert serving_pids(server) == before


class _Slow:
    """A request whose body is not whole yet: under way for as long as the test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._body = b'{"customer": "acme", "feature": "calls"}'

    @classmethod
    async def begin(cls, server: Server, key: str) -> "_Slow":
        host, port = server.address.removeprefix("http://").split(":")
        slow = cls(*await asyncio.open_connection(host, int(port)))
        head = (
            "POST /v1/consume HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(slow._body)}\r\n\r\n"
        )
        slow._writer.write(head.encode())
        await slow._writer.drain()
        return slow

    async def end(self) -> str:
        self._writer.write(self._body)
        async with asyncio.timeout(20):
            said = (await self._reader.read()).decode()
        self._writer.close()
        return said

    async def cut_off(self) -> bytes:
        try:
            async with asyncio.timeout(20):
                return await self._reader.read()
        finally:
            self._writer.close()


async def _refused(server: Server) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            await client.get(f"{server.address}/healthz")
    except httpx.ConnectError:
        return True
    return False


async def test_what_is_under_way_when_a_server_is_told_to_stop_is_answered(site: Site) -> None:
    key = await site.key("consume")
    async with site.serving("one", "--no-worker") as server:
        slow = await _Slow.begin(server, key)
        # A probe on a connection of its own, opened before.
        async with httpx.AsyncClient(base_url=server.address) as probe:
            assert (await probe.get("/readyz")).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            await eventually(lambda: _refused(server))
            ready = await probe.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["parts"] == {"process": "This server was told to stop."}
        assert ready.headers["connection"] == "close"
        said = await slow.end()
        assert said.startswith("HTTP/1.1 200 OK\r\n")
        assert "connection: close\r\n" in said
        assert server.process.wait(timeout=30) == 0
    assert "Traceback" not in server.errors.read_text()


async def test_a_supervisor_that_tells_every_process_to_stop_cuts_off_no_request(
    site: Site,
) -> None:
    key = await site.key("consume")
    async with site.serving("one") as server:
        slow = await _Slow.begin(server, key)
        (pid,) = serving_pids(server)
        async with httpx.AsyncClient(base_url=server.address) as probe:
            assert (await probe.get("/readyz")).status_code == 200
            # As systemd stops a group, the parent last.
            for each in server.pids()[1:]:
                os.kill(each, signal.SIGTERM)

            async def heard() -> bool:
                return (await probe.get("/readyz")).status_code == 503

            await eventually(heard)
        # The parent tells its own once more.
        server.process.send_signal(signal.SIGTERM)
        await eventually(lambda: _refused(server))
        os.kill(pid, signal.SIGTERM)
        assert (await slow.end()).startswith("HTTP/1.1 200 OK\r\n")
        assert server.process.wait(timeout=30) == 0


async def test_a_server_may_be_unready_for_a_while_before_it_refuses_anybody(site: Site) -> None:
    async with site.serving("one", "--no-worker", HEADROOM_UNREADY_SECONDS="600") as server:
        server.process.send_signal(signal.SIGTERM)
        await until(lambda: server.get("/readyz")[0] == 503)
        assert server.get("/healthz")[0] == 200
        # A second signal ends it at once, as somebody insists.
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 128 + signal.SIGTERM


async def test_what_takes_longer_than_the_drain_is_cut_off(site: Site) -> None:
    key = await site.key("consume")
    async with site.serving("one", "--no-worker", HEADROOM_DRAIN_SECONDS="1") as server:
        slow = await _Slow.begin(server, key)
        server.process.send_signal(signal.SIGTERM)
        assert b" 200 " not in await slow.cut_off()
        assert server.process.wait(timeout=30) == 0


async def test_an_idle_connection_is_served_until_its_own_time_while_its_server_leaves(
    site: Site,
) -> None:
    key = await site.key("consume")
    async with site.serving("one", "--no-worker") as server:
        (old,) = serving_pids(server)
        async with httpx.AsyncClient(base_url=server.address) as client:
            first = await client.get("/healthz")
            # What was built before it answered is nothing that a garbage collector looks at.
            figures = (await client.get("/metrics")).text
            frozen = re.search(r"^headroom_gc_frozen_objects (\S+)$", figures, re.MULTILINE)
            assert frozen is not None
            assert float(frozen[1]) > 100_000
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: len(serving_pids(server) - {old}) == 1)
            last = await client.get("/healthz")
            while last.headers.get("connection") != "close" and old in serving_pids(server):
                last = await client.get("/healthz")
            assert last.headers["connection"] == "close"
            own = "x-correlation-id"
            assert last.headers[own][:16] == first.headers[own][:16]
            following = await client.get("/healthz")
            assert following.headers[own][:16] != first.headers[own][:16]
        await until(lambda: old not in serving_pids(server))
    assert key not in server.errors.read_text()


async def test_a_process_that_is_killed_takes_its_own_requests_with_it_and_no_other(
    site: Site,
) -> None:
    key = await site.key("consume")
    async with site.serving("one", "--workers", "2", "--no-worker") as server:
        before = serving_pids(server)
        async with streaming(server.address, key, FEATURE) as stream:
            os.kill(min(before), signal.SIGKILL)
            await until(lambda: len(serving_pids(server) - before) == 1)
            failed = list(stream.failures)
            await stream.more(100)
            assert stream.failures == failed
        # One for each connection of that process, at most: 12 kept ones and 3 new ones.
        assert len(failed) <= 15


async def _another(child: Child, pid: int | None) -> None:
    await until(lambda: child.pid != pid)


async def test_processes_that_die_again_and_again_are_started_later_each_time() -> None:
    child = Child("mortal", "tests.support.dies_at_once", os.environ)
    child.launch()
    keeping = asyncio.create_task(child.keep())
    began: list[float] = []
    pid = child.pid
    for _ in range(4):
        await _another(child, pid)
        began.append(time.monotonic())
        pid = child.pid
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await child.stop()
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert pauses[0] > 2 * FIRST_PAUSE_SECONDS
    assert pauses[1] > 4 * FIRST_PAUSE_SECONDS
    assert pauses[2] > 8 * FIRST_PAUSE_SECONDS
