"""Taking back what an attempt counted, as the record refused it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.domain import keys
from api.domain.snapshot import OVERAGE, slot_name
from api.infra.lua import Script
from api.infra.packing import pack, unpack
from api.infra.redis import RedisDoor
from api.metering.counters import FIGURE, Reply

UNDO = Script.load(__file__, "undo")


class Undo:
    """Asks ``undo.lua``; one round trip."""

    def __init__(self, door: RedisDoor) -> None:
        self._door = door

    async def undo(
        self,
        customer: str,
        operation_id: str,
        reply: Reply,
        items: Sequence[tuple[int, int]],
        *,
        held: bool,
        void: bool = False,
    ) -> bool:
        """Take back what ``reply`` counted of ``items``, (feature id, units); tell whether it was.

        ``held``: it was a hold. ``void``: the record has voided it, so no retry may adopt it, of
        whatever epoch it is. Of a named operation only while its answer is still this attempt's,
        so several callers that adopted it may ask; else once. Where the counters may not have it
        any more they are filled anew; of another epoch's nothing is taken back. Where no limit
        counted anything there is only the answer to be forgotten.
        Raises: NotSent, OutcomeUnknown; then the attempt's deadline takes it back.
        """
        shard = keys.shard_of(customer)
        slots: list[str | int] = []
        for (feature_id, units), charged, row in zip(items, reply.charged, reply.rows, strict=True):
            for name, end_s, mark in _slots(feature_id, row):
                share = units - charged if mark == OVERAGE else units
                slots += [name, end_s, share, share if held else 0]
        names = (
            keys.counters(shard, customer),
            keys.journal(shard),
            keys.answer(shard, customer, operation_id),
        )
        told = (
            reply.attempt,
            reply.at_ms,
            reply.customer_id,
            pack(list(reply.charged)),
            pack([figure for item in items for figure in item] if reply.entry else []),
            pack(slots),
            reply.filling,
            int(operation_id != reply.attempt),
            int(void or not reply.entry),
        )
        return bool(unpack(await self._door.call(UNDO, shard, names, told))[0] == 1)


def _slots(feature_id: int, row: Sequence[Any]) -> list[tuple[str, int, int]]:
    found = []
    for i in range(0, len(row), FIGURE):
        window, _, _, _, end_s, _, _, mark, _ = row[i : i + FIGURE]
        found.append((slot_name(feature_id, window, mark), end_s, mark))
    return found
