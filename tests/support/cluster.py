"""A Valkey Cluster on loopback: three primaries with a replica each, thrown away at its end.

Made by the commands that ``valkey-cli --cluster create`` would send, as the wheel has the server
alone. Nodes are named by their place, 0 to 5; who of them is a primary changes as tests go on.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.domain import keys
from api.infra.cluster import SLOTS, slot_of
from api.infra.engines.child import Child, Place, locked
from api.infra.engines.data_dir import DataDir
from api.infra.engines.programs import Programs
from tests.support.waiting import eventually

PRIMARIES = 3
NODE_TIMEOUT_MS = 2_000
"""Short, so that a failover takes about three seconds; long enough for a busy machine."""
_ENDED_BY = signal.SIGTERM


class Node:
    """One server of the cluster."""

    def __init__(self, place: Place, program: Path, port: int, bus_port: int) -> None:
        self._place = place
        self._program = program
        self.port = port
        self._bus_port = bus_port
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """The URL that a client takes."""
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the server and wait until it answers."""
        async with locked(self._place, _ENDED_BY) as lock:
            self._place.folder.mkdir(mode=0o700, exist_ok=True)
            self._place.identity.give(self._place.folder)
            command: list[str | Path] = [self._program, *self._options()]
            child = Child.start(self._place, lock, command, ended_by=_ENDED_BY)
        self.child = child

        async def answers() -> bool:
            child.require_running()
            try:
                return bool(await self.ask("PING"))
            except RedisError:
                return False

        await eventually(answers)

    async def kill(self) -> None:
        """``kill -9`` the server."""
        if self.child is not None:
            await self.child.kill()

    def freeze(self) -> None:
        """Let the server do nothing, with its connections standing."""
        if self.child is not None:
            os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server go on where it was."""
        if self.child is not None:
            os.kill(self.child.pid, signal.SIGCONT)

    async def ask(self, *words: str | int) -> Any:  # noqa: ANN401 - any command's reply
        """Run one command on this node, over a connection of its own: loops come and go."""
        redis = Redis(host="127.0.0.1", port=self.port, protocol=2, decode_responses=True)
        try:
            return await redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis has no types here
        finally:
            await redis.aclose()

    async def info(self, section: str) -> dict[str, str]:
        """Return what the node says about itself."""
        return {name: str(value) for name, value in (await self.ask("INFO", section)).items()}

    async def role(self) -> str:
        """Return ``master`` or ``slave``."""
        return (await self.info("replication"))["role"]

    async def id(self) -> str:
        """Return the node's name in the cluster."""
        return str(await self.ask("CLUSTER", "MYID"))

    def _options(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "cluster-port": str(self._bus_port),
            "bind": "127.0.0.1",
            "dir": str(self._place.folder),
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
            "appendonly": "no",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [part for k, v in settings.items() for part in (f"--{k}", v)]


class ThrowawayCluster:
    """Six nodes, to be killed, promoted and moved about."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        """The URL of one node; a client finds the others by itself."""
        return self.nodes[0].url

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncGenerator[ThrowawayCluster]:
        """Run a whole cluster for the length of the block."""
        folder = Path(mkdtemp(prefix="headroom-cluster-"))
        folder.chmod(0o711)  # for the servers' user, where we are root
        try:
            with ExitStack() as stack:
                held = stack.enter_context(DataDir.hold(folder / "data"))
                program = Programs.reachable_by(held.identity, held.programs).valkey_server
                nodes = [
                    Node(held.place(f"Node-{place}"), program, *ports)
                    for place, ports in enumerate(_free_ports(2 * PRIMARIES))
                ]
                try:
                    await asyncio.gather(*(node.start() for node in nodes))
                    cluster = cls(nodes)
                    await cluster._join()
                    yield cluster
                finally:
                    await asyncio.gather(*(node.kill() for node in nodes))
        finally:
            shutil.rmtree(folder)

    async def mend(self) -> None:
        """Have every node up and empty, and the cluster whole."""
        for node in self.nodes:
            if node.child is None or not node.child.running:
                await node.start()
        await self.whole()
        for node in await self.primaries():
            await node.ask("FLUSHALL")
            await node.ask("SCRIPT", "FLUSH")

    async def whole(self) -> None:
        """Wait until every slot is served and every primary has a replica that keeps up."""
        await eventually(self._is_whole, patience_seconds=60)

    async def primaries(self) -> list[Node]:
        """Return the nodes that are up and say that they are primaries."""
        up = [node for node in self.nodes if node.child is not None and node.child.running]
        return [node for node in up if await node.role() == "master"]

    async def shards_of(self, holder: Node) -> set[int]:
        """Return the shards that this primary serves, as it says."""
        slots = {
            slot
            for first, last, (_, port, *_), *_ in await holder.ask("CLUSTER", "SLOTS")
            if port == holder.port
            for slot in range(first, last + 1)
        }
        return {shard for shard in range(keys.SHARDS) if slot_of(shard) in slots}

    async def primary_of(self, shard: int) -> Node:
        """Return the node that serves the shard, as a node that is up says."""
        for asked in await self.primaries():
            for first, last, (_, port, *_), *_ in await asked.ask("CLUSTER", "SLOTS"):
                if first <= slot_of(shard) <= last:
                    return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody serves shard {shard}")

    async def replica_of(self, primary: Node) -> Node:
        """Return the replica of this primary."""
        named = await primary.id()
        for node in self.nodes:
            if node.child is None or not node.child.running or node is primary:
                continue
            if await node.role() == "slave":
                known = str(await node.ask("CLUSTER", "NODES")).splitlines()
                (mine,) = (line.split() for line in known if "myself" in line)
                if mine[3] == named:
                    return node
        raise AssertionError("the primary has no replica")

    @asynccontextmanager
    async def left_behind(self, primary: Node) -> AsyncGenerator[Node]:
        """Keep from the primary's replica what is written within the block; yields the replica."""
        replica = await self.replica_of(primary)
        await primary.ask("WAIT", 1, 5_000)
        await replica.ask("CONFIG", "SET", "masterauth", "not the password")
        try:
            await primary.ask("CLIENT", "KILL", "TYPE", "replica")
            yield replica
        finally:
            await replica.ask("CONFIG", "SET", "masterauth", "")

    async def begin_move(self, shard: int, target: Node) -> Node:
        """Say on both sides that the shard's slot moves; return whom it moves from."""
        source, slot = await self.primary_of(shard), slot_of(shard)
        await target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", await source.id())
        await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", await target.id())
        return source

    async def move_keys(self, shard: int, source: Node, target: Node, *, most: int = 10) -> bool:
        """Move some keys of the shard; tell whether there were any."""
        names = await source.ask("CLUSTER", "GETKEYSINSLOT", slot_of(shard), most)
        if names:
            await source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *names)
        return bool(names)

    async def end_move(self, shard: int, target: Node) -> None:
        """Give the slot to its new owner, and tell every primary."""
        named = await target.id()
        await target.ask("CLUSTER", "SETSLOT", slot_of(shard), "NODE", named)
        for node in await self.primaries():
            if node is not target:
                await node.ask("CLUSTER", "SETSLOT", slot_of(shard), "NODE", named)

    async def move(self, shard: int, target: Node) -> None:
        """Move one shard as ``--cluster reshard`` does, key by key under whatever load there is."""
        source = await self.begin_move(shard, target)
        while await self.move_keys(shard, source, target):
            pass
        await self.end_move(shard, target)

    async def _join(self) -> None:
        first = self.nodes[0]
        for epoch, node in enumerate(self.nodes, 1):
            # Of their own, so that no two argue about it for seconds.
            await node.ask("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node in self.nodes[1:]:
            await first.ask("CLUSTER", "MEET", "127.0.0.1", node.port, node._bus_port)  # noqa: SLF001 - this module's own
        for place, node in enumerate(self.nodes[:PRIMARIES]):
            begin, end = SLOTS * place // PRIMARIES, SLOTS * (place + 1) // PRIMARIES - 1
            await node.ask("CLUSTER", "ADDSLOTSRANGE", begin, end)
        for place, node in enumerate(self.nodes[PRIMARIES:]):
            primary = await self.nodes[place].id()

            async def follows(node: Node = node, primary: str = primary) -> bool:
                try:
                    return bool(await node.ask("CLUSTER", "REPLICATE", primary))
                except RedisError:  # it has not heard of its primary yet
                    return False

            await eventually(follows)
        await self.whole()

    async def _is_whole(self) -> bool:
        up = [node for node in self.nodes if node.child is not None and node.child.running]
        for node in up:
            try:
                state = str(await node.ask("CLUSTER", "INFO")).split()
                if not {"cluster_state:ok", f"cluster_known_nodes:{len(self.nodes)}"} <= set(state):
                    return False
                about = await node.info("replication")
            except RedisError:
                return False
            if about["role"] == "slave" and about["master_link_status"] != "up":
                return False
        primaries = await self.primaries()
        served = 0
        for first, last, *_ in await up[0].ask("CLUSTER", "SLOTS"):
            served += last - first + 1
        kept = [(await node.info("replication"))["connected_slaves"] for node in primaries]
        return served == SLOTS and len(primaries) == PRIMARIES and kept == ["1"] * PRIMARIES


def _free_ports(count: int) -> list[tuple[int, int]]:
    """Return pairs of ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(2 * count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
    return list(zip(ports[::2], ports[1::2], strict=True))
