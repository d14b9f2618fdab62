"""One door to a cluster: every shard is asked where it is, and where it has gone."""

import asyncio
from collections.abc import Sequence

import pytest

from api.domain import keys
from api.infra import fleet, link
from api.infra.cluster import Redirect, redirect_of, slot_of
from api.infra.lua import Script
from api.infra.redis import NotSent, Overloaded, RedisDoor, outcomes
from tests.support.cluster import Node, ThrowawayCluster
from tests.support.judging import EPOCH, registered, reopened
from tests.support.waiting import eventually

SHARD = 7
JOURNAL = keys.journal(SHARD)
KEPT = "{7}kept"
SECOND_OF = Script.load(__file__, "second_of")


async def elsewhere(cluster: ThrowawayCluster, shard: int) -> Node:
    """Return a primary that does not hold the shard."""
    holder = await cluster.primary_of(shard)
    return next(node for node in await cluster.primaries() if node is not holder)


@pytest.mark.parametrize("host", ["", "?"])
def test_a_redirect_without_a_host_means_the_one_that_was_asked(host: str) -> None:
    asked = ("10.0.0.1", 6379)
    assert redirect_of(f"MOVED 866 {host}:7000", asked) == Redirect(("10.0.0.1", 7000))
    assert redirect_of("MOVED 866 other:7000", asked) == Redirect(("other", 7000))


async def test_every_shard_is_asked_at_the_server_that_holds_it(
    cluster: ThrowawayCluster, door: RedisDoor
) -> None:
    shards = range(keys.SHARDS)
    await asyncio.gather(*(door.command("SET", f"{{{s}}}x", s) for s in shards))
    found = await asyncio.gather(*(door.command("GET", f"{{{s}}}x") for s in shards))
    assert [int(value) for value in found] == list(shards)
    assert await door.epochs() == dict.fromkeys(shards, EPOCH)
    said = [await cluster.nodes[0].ask("CLUSTER", "KEYSLOT", f"{{{s}}}x") for s in shards]
    assert said == [slot_of(shard) for shard in shards]
    assert all([await node.ask("DBSIZE") for node in await cluster.primaries()])


async def test_calls_of_one_turn_make_one_journey_to_each_server(door: RedisDoor) -> None:
    before = door.batches
    await asyncio.gather(*(door.command("GET", f"{{{s}}}x") for s in range(keys.SHARDS)))
    assert door.batches == before + 3


async def test_a_shard_that_moved_is_found_and_registered_where_it_went(
    cluster: ThrowawayCluster,
) -> None:
    claims: list[tuple[str, tuple[int, ...]]] = []

    async def register(server: str, shards: Sequence[int]) -> dict[int, int]:
        claims.append((server, tuple(shards)))
        return await registered(server, shards)

    door = await RedisDoor(cluster.url, register=register, reopen=reopened).open()
    try:
        await door.command("SET", KEPT, "here")
        first = len(claims)
        target = await elsewhere(cluster, SHARD)
        await cluster.move(SHARD, target)
        # A stale map: the server that lost the shard says where it went.
        assert await door.call(SECOND_OF, SHARD, (KEPT,), ()) == b"here"
        ((server, shards),) = claims[first:]
        assert shards == (SHARD,)
        assert server.startswith((await target.info("server"))["run_id"])
    finally:
        await door.close()


async def test_a_script_waits_while_its_keys_are_in_two_places_and_holds_up_nobody_else(
    cluster: ThrowawayCluster, door: RedisDoor
) -> None:
    await door.command("SET", keys.marker(SHARD), EPOCH)
    await door.command("SET", KEPT, "here")
    target = await elsewhere(cluster, SHARD)
    source = await cluster.begin_move(SHARD, target)
    await cluster.move_keys(SHARD, source, target, most=1)
    waiting = asyncio.ensure_future(door.call(SECOND_OF, SHARD, (KEPT,), ()))
    others = [s for s in range(keys.SHARDS) if s != SHARD]
    await asyncio.gather(*(door.call(SECOND_OF, s, (f"{{{s}}}x",), ()) for s in others))
    assert not waiting.done()
    while await cluster.move_keys(SHARD, source, target):
        pass
    await cluster.end_move(SHARD, target)
    assert await waiting == b"here"


async def test_a_plain_command_follows_its_key_to_a_server_that_is_being_given_it(
    cluster: ThrowawayCluster, door: RedisDoor
) -> None:
    await door.command("XADD", JOURNAL, "*", "b", "first")
    target = await elsewhere(cluster, SHARD)
    source = await cluster.begin_move(SHARD, target)
    while await cluster.move_keys(SHARD, source, target):
        pass
    await door.command("XADD", JOURNAL, "*", "b", "second")
    assert len(await door.command("XRANGE", JOURNAL, "-", "+")) == 2
    await cluster.end_move(SHARD, target)
    assert await target.ask("XLEN", JOURNAL) == 2


async def test_a_script_whose_shard_stays_in_two_places_is_refused_in_the_end(
    cluster: ThrowawayCluster, door: RedisDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "MOVING_SECONDS", 0.1)
    await door.command("SET", keys.marker(SHARD), EPOCH)
    target = await elsewhere(cluster, SHARD)
    source = await cluster.begin_move(SHARD, target)
    with pytest.raises(NotSent, match="no owner"):
        await door.call(SECOND_OF, SHARD, (KEPT,), ())
    while await cluster.move_keys(SHARD, source, target):
        pass
    await cluster.end_move(SHARD, target)
    assert await door.call(SECOND_OF, SHARD, (KEPT,), ()) is None


async def test_scripts_that_one_server_forgot_are_sent_there_again(
    cluster: ThrowawayCluster, door: RedisDoor
) -> None:
    await asyncio.gather(*(door.renew_epoch(shard) for shard in range(keys.SHARDS)))
    await (await cluster.primary_of(SHARD)).ask("SCRIPT", "FLUSH")
    await asyncio.gather(*(door.renew_epoch(shard) for shard in range(keys.SHARDS)))
    assert await door.command("GET", keys.marker(SHARD)) == str(EPOCH + 2).encode()


async def test_a_server_that_was_demoted_and_promoted_again_is_another_one(
    cluster: ThrowawayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else it may be done before the server counts as silent.
    monkeypatch.setattr(link, "QUIET_SECONDS", 0.01)
    named: list[str] = []

    async def register(server: str, shards: Sequence[int]) -> dict[int, int]:
        named.append(server)
        return await registered(server, shards)

    door = await RedisDoor(cluster.url, register=register, reopen=reopened).open()
    try:
        holder = await cluster.primary_of(SHARD)
        replica = await cluster.replica_of(holder)
        for taking_over in (replica, holder):
            # At once and by itself, so that this side may hear of neither.
            await taking_over.ask("CLUSTER", "FAILOVER", "TAKEOVER")
            await cluster.whole()
        before = len(named)
        await door.command("SET", KEPT, "here")
        assert await door.standing_epoch(SHARD) == EPOCH
        run_id = (await holder.info("server"))["run_id"]
        of_holder = {name for name in named if name.startswith(run_id)}
        assert len(of_holder) == 2
        assert len(named) == before + 1
    finally:
        await door.close()


async def test_what_finds_too_many_waiting_is_refused_at_once(cluster: ThrowawayCluster) -> None:
    door = RedisDoor(cluster.url, register=registered, reopen=reopened, most_waiting=10)
    try:
        await door.open()
        outcomes = await asyncio.gather(
            *(door.command("INCR", KEPT) for _ in range(50)), return_exceptions=True
        )
        refused = [o for o in outcomes if isinstance(o, Overloaded)]
        assert len(refused) == 40
        assert int(await door.command("GET", KEPT)) == 10
    finally:
        await door.close()


async def test_a_server_that_hangs_keeps_back_only_its_own_shards(
    cluster: ThrowawayCluster, door: RedisDoor
) -> None:
    victim = await cluster.primary_of(SHARD)
    theirs = await cluster.shards_of(victim)
    others = set(range(keys.SHARDS)) - theirs
    victim.freeze()
    try:
        asked = [door.command("SET", f"{{{shard}}}x", 1) for shard in range(keys.SHARDS)]
        told = await outcomes(asked, patience_seconds=0.5)
        assert {s for s in range(keys.SHARDS) if told[s] == b"OK"} == others

        async def served_elsewhere() -> bool:
            return theirs < set(await door.epochs())

        await eventually(served_elsewhere)
    finally:
        victim.thaw()


async def test_a_door_opened_by_one_server_lives_on_without_it(
    cluster: ThrowawayCluster, door: RedisDoor
) -> None:
    victim = cluster.nodes[0]
    if victim not in await cluster.primaries():
        await victim.ask("CLUSTER", "FAILOVER")
        await cluster.whole()
    await door.command("SET", KEPT, "here")
    await victim.kill()

    async def serves_all() -> bool:
        try:
            return len(await door.epochs()) == keys.SHARDS
        except NotSent:
            return False

    await eventually(serves_all)
    assert victim not in await cluster.primaries()
