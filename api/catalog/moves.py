"""Writing down what a change did to customers: version, revision, next change, pins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.domain.transitions import Slot
from api.domain.windows import Window
from api.infra.postgres import Connection
from api.infra.queries import Queries

_sql = Queries.load("customers")


@dataclass(frozen=True, slots=True)
class Move:
    """Where one customer stands after a change of its rights."""

    customer_id: int
    revision: int
    valid_until: datetime | None
    pins: Mapping[Slot, Window]


async def write(conn: Connection, moves: Sequence[Move], at: datetime) -> dict[int, int]:
    """Write ``moves`` under the customers' row locks and return their new versions.

    Cost: three statements, however many moves there are.
    """
    ids = [move.customer_id for move in moves]
    advanced = await conn.fetch(
        _sql.advance, ids, [m.revision for m in moves], [m.valid_until for m in moves], at
    )
    await conn.execute(_sql.drop_pins, ids)
    pins = [(m.customer_id, *slot, window) for m in moves for slot, window in m.pins.items()]
    if pins:
        await conn.execute(
            _sql.add_pins,
            [pin[0] for pin in pins],
            [pin[1] for pin in pins],
            [pin[2].value for pin in pins],
            [pin[3].starts_at for pin in pins],
            [pin[3].ends_at for pin in pins],
        )
    return {row["id"]: row["version"] for row in advanced}
