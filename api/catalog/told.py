"""Whether the counter store still holds what it was told of a customer's rights."""

from __future__ import annotations

from api.catalog.stored_form import as_told, meaning, pack_feature
from api.domain import keys
from api.domain.snapshot import Snapshot, encode_holding
from api.infra.packing import unpack
from api.infra.redis import RedisDoor

_ABOUT = 6
_NUMBERS = slice(5, 7)
"""Where among the facts of a denial the version and the catalog's revision stand."""


class Told:
    """Compares stored snapshots with what the record says."""

    def __init__(self, door: RedisDoor) -> None:
        self._door = door

    async def differs(self, customer: str, snapshot: Snapshot) -> bool:
        """Tell whether the stored snapshot means something else than ``snapshot``.

        One that is absent, or of another epoch, is unknown and does not differ; bounds are left
        out, as they begin where the snapshot was built. Raises: Unavailable. Cost: one hash read.
        """
        shard = keys.shard_of(customer)
        flat = await self._door.command("HGETALL", keys.snapshot(shard, customer))
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        about, holding = fields.pop(b"m", None), fields.pop(b"x", None)
        if about is None or holding is None:
            return False
        # Values side by side; read as the array that they would be.
        epoch, version, *_ = unpack(bytes([0x90 + _ABOUT]) + about)
        if epoch != self._door.epoch(shard) or version < snapshot.version:
            # An older version is about to be replaced; publishing sees to that.
            return False
        said = encode_holding(snapshot.holding, 0, 0)
        told = unpack(holding)
        told[_NUMBERS] = said[_NUMBERS]
        stored = {int(field): meaning(as_told(value)) for field, value in fields.items()}
        features = {i: meaning(pack_feature(i, x)) for i, x in snapshot.features.items()}
        return version > snapshot.version or told != said or stored != features
