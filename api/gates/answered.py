"""From the answers of the counters and the record to those of the gate."""

from __future__ import annotations

from collections.abc import Sequence

from api.domain.admission import Action
from api.domain.catalog import Feature
from api.gates import shadow
from api.gates.outcome import Consumption, ConsumptionId
from api.gates.taken import Call, Taken
from api.metering.counters import Operation, Reply, figures


def consumed(
    customer: str,
    asked: Sequence[tuple[Feature, int]],
    reply: Reply,
    operation: Operation,
    *,
    replayed: bool,
) -> tuple[Consumption, ...]:
    """Return what the counters alone answered."""
    counted = tuple(
        Consumption(
            ConsumptionId.opaque(reply.at_ms, place, operation.operation_id),
            customer,
            feature.key,
            units,
            figures(row),
            replayed,
        )
        for place, ((feature, units), row) in enumerate(zip(asked, reply.rows, strict=True))
    )
    if operation.action is Action.CONSUME and not replayed:
        shadow.tell(counted)
    return counted


def paid(call: Call, taken: Taken) -> tuple[Consumption, ...]:
    """Return what quota and credits answered together."""
    return tuple(
        Consumption(
            ConsumptionId.opaque(taken.at_ms, place, taken.operation_id),
            call.customer,
            item.feature.key,
            item.units,
            figures(row),
            taken.replayed,
            funding=funding,
            balance=taken.balance,
        )
        for place, (item, row, funding) in enumerate(
            zip(call.items, taken.rows, taken.fundings, strict=True)
        )
    )
