"""A judge without a catalog: entitlements go straight into the counter store."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from api.catalog.stored_form import ABOUT, pack_feature
from api.domain import keys
from api.domain.admission import Slot
from api.domain.catalog import Catalog, CustomerType, Feature, Plan
from api.domain.entitlements import CustomerFacts, Entitlement, Entitlements
from api.domain.snapshot import Snapshot, build, encode_holding, slot_name
from api.domain.windows import Window
from api.infra.packing import pack
from api.infra.redis import RedisDoor

EPOCH = 7


async def registered(server: str, shards: Sequence[int]) -> dict[int, int]:
    """Register any server under one epoch."""
    del server
    return dict.fromkeys(shards, EPOCH)


async def reopened(server: str, shard: int, epoch: int) -> int:
    """Open the next epoch."""
    del server, shard
    return epoch + 1


async def open_door(url: str) -> RedisDoor:
    """Open a door whose epochs are this module's own."""
    return await RedisDoor(url, register=registered, reopen=reopened).open()


def snapshot_of(
    entitlements: Mapping[str, Entitlement],
    at: datetime,
    *,
    pins: Mapping[Slot, Window] | None = None,
    version: int = 1,
    customer: str = "acme",
) -> Snapshot:
    """Build the snapshot of ``entitlements`` for one customer; feature ids are their places."""
    facts = CustomerFacts(
        1, customer, "business", datetime(2026, 1, 1, tzinfo=UTC), version=version, pins=pins
    )
    ids = {key: place for place, key in enumerate(entitlements, 1)}
    whole = Entitlements("free", ("free",), (), (), entitlements, None)
    return build(facts, whole, ids, at)


async def install(door: RedisDoor, customer: str, snapshot: Snapshot, *, fill: bool = True) -> None:
    """Put ``snapshot`` and, to ``fill``, counters that begin at zero into the store."""
    shard = keys.shard_of(customer)
    await door.command("SET", keys.marker(shard), EPOCH)
    head = (
        EPOCH,
        snapshot.version,
        snapshot.valid_until_s,
        snapshot.refresh_at_s,
        snapshot.customer_id,
        snapshot.built_at_s,
    )
    holding = encode_holding(snapshot.holding, snapshot.version, 1)
    about = b"".join(map(pack, head[:ABOUT]))
    fields: list[str | bytes | int] = ["m", b"".join(map(pack, head)), "x", pack(holding)]
    slots: list[str | bytes | int] = ["_", EPOCH]
    for feature_id, feature in snapshot.features.items():
        fields += [str(feature_id), about + pack_feature(feature_id, feature)]
        for limit in feature[1]:
            bounds = limit[3]
            # An end in the past: the first call turns the window and begins at zero.
            end = 0 if not bounds else 1
            slots += [slot_name(feature_id, limit[0], limit[2]), pack(end) + pack(0)]
    await door.command("DEL", keys.snapshot(shard, customer))
    await door.command("HSET", keys.snapshot(shard, customer), *fields)
    if fill:
        await door.command("HSET", keys.counters(shard, customer), *slots)


def small_catalog(*features: Feature) -> Catalog:
    """Return a catalog with these features and one plan that has none of them."""
    plan = Plan("free", "Free")
    return Catalog(
        "test",
        {f.key: f for f in features},
        {"free": plan},
        {},
        {"business": CustomerType("business", "Business", "free")},
        "business",
    )
