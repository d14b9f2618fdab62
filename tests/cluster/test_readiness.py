"""A server of the counters that hangs takes away its own customers, and no process."""

import asyncio
from collections.abc import Sequence

import pytest

from api.infra.redis import NotSent, RedisDoor
from api.web.readiness import drain_lag_seconds
from tests.support.clock import FakeClock
from tests.support.cluster import ThrowawayCluster
from tests.support.judging import reopened
from tests.support.site import site_on


async def test_a_process_stays_ready_while_one_of_several_servers_hangs(
    cluster: ThrowawayCluster, database_url: str, clock: FakeClock
) -> None:
    async with site_on(database_url, cluster.url, clock) as site:
        assert (await site.client.get("/readyz")).json()["status"] == "ready"
        victim = await cluster.primary_of(7)
        site.clock.advance(seconds=1)
        victim.freeze()
        try:
            answered = await site.client.get("/readyz")
        finally:
            victim.thaw()
        assert (answered.status_code, answered.json()["status"]) == (200, "ready")


async def test_counters_of_which_no_shard_is_registered_have_no_lag_to_tell(redis_url: str) -> None:
    async def none_of_them(server: str, shards: Sequence[int]) -> dict[int, int]:
        del server, shards
        await asyncio.sleep(0)
        return {}

    door = await RedisDoor(redis_url, register=none_of_them, reopen=reopened).open()
    try:
        with pytest.raises(NotSent, match="no shard"):
            await drain_lag_seconds(door)
    finally:
        await door.close()
