"""A call that credits or a hold take part in: what was asked, and what was taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from api.domain.admission import Action
from api.domain.catalog import CreditCost, Durability, Feature
from api.domain.errors import IdempotencyConflict
from api.domain.funding import Funding, price
from api.gates.outcome import PRODUCT
from api.ledger.charges import Decided
from api.metering.counters import Operation, Reply, Verdict


class Asked(NamedTuple):
    """One feature of a call, with its number and its price."""

    feature: Feature
    feature_id: int
    units: int
    cost: CreditCost | None


class Call(NamedTuple):
    """One call that credits or a hold take part in; ``hold_seconds`` None consumes.

    ``record_seconds`` is how long the record replays it; None: as long as its features say.
    """

    customer: str
    items: tuple[Asked, ...]
    key: str | None
    at_ms: int
    actor: str = PRODUCT
    hold_seconds: int | None = None
    record_seconds: int | None = None


class Taken(NamedTuple):
    """What was taken: under which id, when, and per item the judge's row and who paid.

    ``balance`` is what is available right after; None where no credits were asked.
    """

    operation_id: str
    at_ms: int
    rows: Sequence[Sequence[object]]
    fundings: tuple[Funding, ...]
    balance: int | None
    replayed: bool


def credits_of(item: Asked, charged: int) -> int:
    """Return what so many units of the item cost now. Raises: InvalidInput."""
    return 0 if item.cost is None else price(item.cost, charged)


def journaled(call: Call) -> bool:
    """Tell whether units that the plan includes wait for the record; the others always do."""
    return any(item.feature.durability is Durability.JOURNALED for item in call.items)


def kept_seconds(call: Call) -> int:
    """Return for how long the record answers the call as the first time."""
    if call.record_seconds is not None:
        return call.record_seconds
    return min(item.feature.replay_seconds for item in call.items)


def check_of(call: Call) -> Operation:
    """Return the question whether it would pass."""
    return Operation(
        Action.CHECK,
        call.customer,
        "",
        [(item.feature_id, item.units) for item in call.items],
        costs=[item.cost is not None for item in call.items],
    )


def contents_of(call: Call) -> str:
    """Return what distinguishes this call from another under the same key."""
    # What is consumed is named the same by a catalog in which it costs nothing.
    act = "c" if call.hold_seconds is None else f"h{call.hold_seconds};"
    return act + ";".join(f"{item.feature_id}:{item.units}" for item in call.items)


def included(call: Call, reply: Reply, attempt: str) -> Taken:
    """Return what the plan paid for alone; the counters' own answer stands for all of it."""
    return Taken(
        attempt if call.key is None else call.key,
        reply.at_ms,
        reply.rows,
        tuple(Funding(item.units, 0, 0) for item in call.items),
        None,
        reply.verdict is Verdict.REPLAYED,
    )


def taken(call: Call, reply: Reply, decided: Decided) -> Taken:
    """Return what quota and credits paid for together."""
    if len(call.items) == 1:
        buckets_of_one = _merged([(paid.bucket, paid.credits) for paid in decided.paid])
        charged = reply.charged[0]
        funding = Funding(call.items[0].units - charged, charged, decided.credits, buckets_of_one)
        return Taken(
            reply.attempt, reply.at_ms, reply.rows, (funding,), decided.balance, replayed=False
        )
    left = list(decided.paid)
    fundings = []
    for place, (item, charged) in enumerate(zip(call.items, reply.charged, strict=True)):
        mine = [n for n, paid in enumerate(left) if paid.feature_id == item.feature_id]
        cost = sum(left[n].credits for n in mine)
        if any(other.feature_id == item.feature_id for other in call.items[place + 1 :]):
            # The price may have changed since, so the last of a feature's items gets the rest.
            cost = min(cost, credits_of(item, charged))
        buckets: list[tuple[str, int]] = []
        unpaid = cost
        for n in mine:
            part = min(unpaid, left[n].credits)
            left[n] = left[n]._replace(credits=left[n].credits - part)
            unpaid -= part
            if part:
                buckets.append((left[n].bucket, part))
        fundings.append(Funding(item.units - charged, charged, cost, _merged(buckets)))
    return Taken(
        reply.attempt, reply.at_ms, reply.rows, tuple(fundings), decided.balance, replayed=False
    )


def _merged(buckets: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    if len(buckets) <= 1:
        return tuple(buckets)
    merged: dict[str, int] = {}
    for bucket, part in buckets:
        merged[bucket] = merged.get(bucket, 0) + part
    return tuple(merged.items())


def conflict(call: Call) -> IdempotencyConflict:
    """Return the error of a key that was used for something else."""
    return IdempotencyConflict(
        f"idempotencyKey {call.key!r} was used for an operation with other contents"
    )
