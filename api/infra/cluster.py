"""Which server of a cluster holds which shard, as its servers tell.

Pure: what was read at a server comes in, and shards with addresses go out.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from api.domain import keys

Address = tuple[str, int]
SLOTS = 16_384
_NAMELESS = ("", "?")
"""Said for a host that has no name to say, see ``cluster-preferred-endpoint-type``."""
_SLOT_OF_SHARD = tuple(crc_hqx(str(shard).encode(), 0) % SLOTS for shard in range(keys.SHARDS))


class View(NamedTuple):
    """The cluster as one of its servers sees it.

    ``epoch`` grows with every change of owners that the server has heard of; ``whole`` is false
    where it knows that it may be cut off. ``nodes`` are all servers, replicas among them.
    """

    whole: bool
    epoch: int
    primaries: tuple[Address | None, ...]
    nodes: frozenset[Address]


class Redirect(NamedTuple):
    """Where a call belongs that a server turned away: ``to`` another, for good or (``ask``) once.

    No ``to``: nowhere at present; ``down``: because the cluster is.
    """

    to: Address | None
    ask: bool = False
    down: bool = False


def slot_of(shard: int) -> int:
    """Return the slot of all keys of this shard: CRC16 of the hash tag, as Redis Cluster has it."""
    return _SLOT_OF_SHARD[shard]


def view_of(asked: Address, info: bytes, slots: Sequence[Sequence[Any]]) -> View:
    """Read ``CLUSTER INFO`` and ``CLUSTER SLOTS`` as they came from the server ``asked``."""
    told = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    owner: list[Address | None] = [None] * SLOTS
    nodes: set[Address] = {asked}
    for first, last, primary, *replicas in slots:
        address = _address(primary, asked)
        owner[first : last + 1] = [address] * (last + 1 - first)
        nodes.update(_address(node, asked) for node in (primary, *replicas))
    return View(
        whole=told.get("cluster_state") == "ok",
        epoch=int(told.get("cluster_current_epoch", 0)),
        primaries=tuple(owner[slot] for slot in _SLOT_OF_SHARD),
        nodes=frozenset(nodes),
    )


def newest(views: Iterable[View]) -> View | None:
    """Return the view to go by: of servers that are not cut off, the one that heard the latest."""
    return max((v for v in views if v.whole), key=lambda view: view.epoch, default=None)


def redirect_of(text: str, asked: Address | None) -> Redirect | None:
    """Read a refusal of a cluster's server; None where it is about something else."""
    code, _, rest = text.partition(" ")
    if code in {"MOVED", "ASK"}:
        host, _, port = rest.partition(" ")[2].rpartition(":")
        if asked is not None and host in _NAMELESS:
            host = asked[0]
        return Redirect((host, int(port)), ask=code == "ASK")
    if code in {"TRYAGAIN", "CLUSTERDOWN"}:
        return Redirect(None, down=code == "CLUSTERDOWN")
    return None


def _address(node: Sequence[Any], asked: Address) -> Address:
    """Read one server; one that does not know its own name is meant by the name it was asked by."""
    host = node[0]
    host = host.decode() if isinstance(host, bytes) else host
    return (asked[0] if host is None or host in _NAMELESS else host, int(node[1]))
