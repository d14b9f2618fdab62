"""Node's own HTTP clients, which keep connections their own way, while servers are renewed."""

import asyncio
import json
import shutil
import signal
from pathlib import Path

from tests.support.hosts import serving_pids, site_on
from tests.support.waiting import until

_SCRIPT = Path(__file__).with_name("keep_asking.mjs")


async def test_node_s_clients_lose_no_request_in_a_rolling_restart(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    node = shutil.which("node")
    assert node, "Node is not installed; 'make test-system' does that."
    async with (
        site_on(database_url, redis_url, tmp_path) as site,
        site.serving("one", "--workers", "2", "--no-worker") as server,
    ):
        before = serving_pids(server)
        asking = await asyncio.create_subprocess_exec(
            node,
            _SCRIPT,
            server.address,
            await site.key("consume"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert asking.stdin is not None
        assert asking.stdout is not None
        async with asyncio.timeout(60):
            assert await asking.stdout.readline() == b"under way\n"
        server.process.send_signal(signal.SIGHUP)
        await until(
            lambda: "every process was renewed" in server.errors.read_text(), patience_seconds=120
        )
        assert not serving_pids(server) & before
        asking.stdin.close()
        async with asyncio.timeout(60):
            said = json.loads(await asking.stdout.readline())
            await asking.wait()
    assert said["failures"] == []
    assert said["answered"] > 50
