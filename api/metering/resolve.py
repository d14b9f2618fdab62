"""Telling the counters how a hold stands by now."""

from __future__ import annotations

from api.domain import keys
from api.domain.pending import HoldFigures
from api.infra.lua import Script
from api.infra.packing import unpack
from api.infra.redis import RedisDoor
from api.metering.hydration import Hydration

RESOLVE = Script.load(__file__, "resolve")

_NOT_KNOWN = 0


class Resolving:
    """Asks ``resolve.lua``; one round trip."""

    def __init__(self, door: RedisDoor, hydration: Hydration) -> None:
        self._door = door
        self._hydration = hydration

    async def tell(self, customer: str, hold_id: str, figures: HoldFigures) -> None:
        """Have the counters show ``figures``; twice, late or out of order comes to the same.

        Where they do not know the hold, they are filled from the record before the next decision.
        Raises: Unavailable, NotSent and OutcomeUnknown among it: then it is to be told again.
        """
        shard = keys.shard_of(customer)
        names = (keys.counters(shard, customer),)
        reply = unpack(await self._door.call(RESOLVE, shard, names, (hold_id, *figures)))
        if reply[0] == _NOT_KNOWN:
            await self._hydration.forget(customer)
