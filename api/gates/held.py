"""A hold, as those who place and resolve it see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from api.domain.decision import WindowFigure
from api.domain.errors import InvalidInput
from api.domain.funding import Funding
from api.domain.pending import HoldFigures
from api.gates.outcome import ConsumptionId
from api.gates.taken import Call, Taken
from api.ledger.holds import HoldRecord, HoldState
from api.metering.counters import figures
from api.metering.journal import instant

DEFAULT_SECONDS = 600
LONGEST_SECONDS = 31 * 86_400


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold as its caller sees it. ``id`` is opaque, and that of the consumption it becomes.

    ``windows`` and ``funding`` are told when it is placed; ``extra`` is the consumption of what was
    captured beyond it.
    """

    id: str
    customer: str
    feature: str
    record: HoldRecord
    windows: tuple[WindowFigure, ...] = ()
    funding: Funding | None = None
    balance: int | None = None
    extra: str | None = None
    replayed: bool = False


class Whose(NamedTuple):
    """Which hold of whom is to be changed, by whom and when; ``key`` names the operation."""

    customer: str
    hold_id: str
    key: str | None
    at_ms: int
    actor: str


def expect_seconds(seconds: int) -> None:
    """Go on only with a time for which a hold may stand. Raises: InvalidInput."""
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise InvalidInput(f"seconds must be 1 to {LONGEST_SECONDS}, not {seconds}")


def read_id(opaque: str) -> ConsumptionId:
    """Read the id of a hold. Raises: InvalidInput."""
    try:
        return ConsumptionId.decode(opaque)
    except InvalidInput as error:
        raise InvalidInput("holdId is not the id of a hold") from error


def figures_of(hold: HoldRecord) -> HoldFigures:
    """Return what the counters must know of a hold, numbered by its version."""
    return HoldFigures(hold.version, hold.in_use, hold.covered, hold.held, hold.held_covered)


def placed(call: Call, taken: Taken) -> Hold:
    """Return a hold as it was placed, also where it has changed since: the original answer."""
    (item,) = call.items
    (funding,) = taken.fundings
    at = instant(taken.at_ms)
    record = HoldRecord(
        customer_id=0,
        id=taken.operation_id,
        operation_id=call.key or taken.operation_id,
        feature_id=item.feature_id,
        units=item.units,
        charged=funding.charged,
        captured=0,
        at=at,
        expires_at=at + timedelta(seconds=call.hold_seconds or 0),
        state=HoldState.OPEN,
        resolved_at=None,
        credits=funding.credits,
        spent=0,
        counted=bool(taken.rows[0]),
        version=0,
        actor=call.actor,
        correlation_id=None,
    )
    return Hold(
        ConsumptionId(taken.at_ms, 0, taken.operation_id).encode(),
        call.customer,
        item.feature.key,
        record,
        windows=figures(taken.rows[0]),
        funding=funding,
        balance=None if item.cost is None else taken.balance,
        replayed=taken.replayed,
    )
