"""Telling the counters how a hold stands by now."""

from __future__ import annotations

from api.domain import keys
from api.domain.errors import Unavailable
from api.domain.pending import HoldFigures
from api.infra.lua import Script
from api.infra.packing import unpack
from api.infra.redis import RedisDoor

RESOLVE = Script.load(__file__, "resolve")

_OTHER_EPOCH = 7
_ROUNDS = 2
"""A process that was late to see a new epoch learns of it in the first."""


class Resolving:
    """Asks ``resolve.lua``; one round trip."""

    def __init__(self, door: RedisDoor) -> None:
        self._door = door

    async def tell(self, customer: str, hold_id: str, figures: HoldFigures) -> None:
        """Have the counters show ``figures``; twice, late or out of order comes to the same.

        What cannot be told exactly they forget, and are filled from the record before the next
        decision.
        Raises: Unavailable, NotSent and OutcomeUnknown among it: then it is to be told again.
        """
        shard = keys.shard_of(customer)
        names = (keys.counters(shard, customer),)
        for _ in range(_ROUNDS):
            reply = unpack(await self._door.call(RESOLVE, shard, names, (hold_id, *figures)))
            if reply[0] != _OTHER_EPOCH:
                return
            await self._door.renew_epoch(shard)
        raise Unavailable("the counter store was replaced; it is told again")
