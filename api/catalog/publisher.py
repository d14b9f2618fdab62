"""From the record to the fast judge: snapshots of customers' rights, versioned.

Whatever a customer may do is decided in the record, under its row's lock, and told to the counter
store afterwards. Publishers may race, be late, or die: the counter store takes a snapshot only if
it is newer, and ``published_version`` says what is still to be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.catalog.customers import Held, read_held
from api.catalog.revisions import Revision, Revisions
from api.catalog.stored_form import pack_feature
from api.domain import keys
from api.domain.entitlements import entitle
from api.domain.errors import Unavailable
from api.domain.snapshot import Snapshot, build, encode_holding
from api.infra.lua import Script
from api.infra.packing import pack, unpack
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.infra.redis import RedisDoor

_sql = Queries.load("customers")
_PUBLISH = Script.load(__file__, "publish")

_TAKEN, _OTHER_EPOCH = 1, 7
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a batch: the versions now known to the counter store, and who must wait.

    ``overdue`` are customers whose rights have changed by themselves meanwhile: such a change
    must be lived through in the record before it can be told.
    """

    snapshots: dict[int, Snapshot]
    overdue: tuple[int, ...]


class Publisher:
    """Tells the counter store what customers may do."""

    def __init__(self, database: Database, revisions: Revisions, door: RedisDoor) -> None:
        self._database = database
        self._revisions = revisions
        self._door = door

    async def publish(
        self, customer_ids: Sequence[int], at: datetime, *, anew: bool = False
    ) -> Published:
        """Publish the present rights of these customers.

        ``anew`` does not ask what the counter store believes: it forgets that first.
        Cost: four reads in one repeatable-read transaction, a script call for each customer, all
        in one turn, and one write for those whose version was not known to be published.
        Raises: Unavailable.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as conn:
            held = await read_held(conn, customer_ids)
            revisions = {
                number: await self._revisions.get(number, conn)
                for number in {h.customer.catalog_revision for h in held.values()}
            }
        overdue = {i for i, h in held.items() if h.valid_until is not None and h.valid_until <= at}
        ready = [h for i, h in held.items() if i not in overdue]
        outcomes = await asyncio.gather(
            *(self._send(h, revisions[h.customer.catalog_revision], at, anew=anew) for h in ready),
            return_exceptions=True,
        )
        snapshots: dict[int, Snapshot] = {}
        failures: list[BaseException] = []
        for h, outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                failures.append(outcome)
            else:
                snapshots[h.customer.id] = outcome
        news = {i: s.version for i, s in snapshots.items() if held[i].published_version < s.version}
        if news:
            await self._database.execute(_sql.mark_published, list(news), list(news.values()))
        for failure in failures:
            raise failure
        return Published(snapshots, tuple(sorted(overdue)))

    async def _send(self, held: Held, revision: Revision, at: datetime, *, anew: bool) -> Snapshot:
        entitlements = entitle(revision.catalog, held.facts, at)
        snapshot = build(held.facts, entitlements, revision.feature_ids, at)
        key = held.customer.key
        shard = keys.shard_of(key)
        names = (keys.snapshot(shard, key), keys.counters(shard, key))
        args = encode(snapshot, revision.number)
        if anew:
            # An older one that slips in between is replaced: this one is of the newest version.
            await self._door.command("DEL", names[0])
        for _ in range(_ATTEMPTS):
            reply = unpack(await self._door.call(_PUBLISH, shard, names, args))
            if reply[0] != _OTHER_EPOCH:
                return snapshot
            await self._door.renew_epoch(shard)
        raise Unavailable("The counter store and the record do not agree on an epoch; try again.")


def encode(snapshot: Snapshot, revision: int) -> list[str | bytes | int]:
    """Return ``snapshot`` as the arguments of ``publish.lua``, from its second on."""
    about = pack(encode_holding(snapshot.holding, snapshot.version, revision))
    args: list[str | bytes | int] = [
        snapshot.version,
        snapshot.built_at_s,
        snapshot.valid_until_s,
        snapshot.refresh_at_s,
        snapshot.customer_id,
        about,
    ]
    for feature_id, feature in snapshot.features.items():
        args += [feature_id, pack_feature(feature_id, feature)]
    return args


def takes(standing: tuple[int, int, int] | None, given: tuple[int, int, int]) -> bool:
    """Tell whether ``given`` replaces ``standing``; both are (epoch, version, built at).

    The pure model of what ``publish.lua`` decides, under the epoch of ``given``.
    """
    return standing is None or standing[0] != given[0] or standing[1:] < given[1:]
