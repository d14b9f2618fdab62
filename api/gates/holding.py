"""Holds: units and credits set aside now, and taken for good, or not, later.

The record is the truth of a hold and resolves it once; the counters, where any limit counts, are
told afterwards, by number, so that they may be told late or twice. What a process that dies leaves
untold, or past its time, a worker tells and ends.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from api.catalog import audit
from api.catalog.text import require_reason
from api.domain.errors import (
    HoldClosed,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    Unavailable,
)
from api.gates.charging import Charging
from api.gates.consume import Gate
from api.gates.expectations import expect_key, expect_units
from api.gates.held import (
    DEFAULT_SECONDS,
    Hold,
    Whose,
    expect_seconds,
    figures_of,
    placed,
    read_id,
)
from api.gates.outcome import ConsumptionId, Denied
from api.infra.packing import unpack
from api.infra.postgres import Database
from api.infra.redis import NotSent, OutcomeUnknown
from api.infra.telemetry import correlation_id
from api.ledger.charges import Charge, Charges, Decided, Outcome
from api.ledger.holds import (
    Change,
    HoldOutcome,
    HoldRecord,
    Holds,
    HoldState,
    Resolution,
    Told,
)
from api.metering.counters import read_reply
from api.metering.journal import instant
from api.metering.resolve import Resolving

log = logging.getLogger(__name__)

REPLAY = timedelta(days=1)
"""How long a change of a hold is replayed under its key."""
MOST_IN_A_TURN = 200


class Names(Protocol):
    """Customers by key and by number."""

    async def number(self, customer: str) -> int:
        """Return the number of this customer. Raises: UnknownCustomer."""
        ...

    async def keys_of(self, customer_ids: Sequence[int]) -> Mapping[int, str]:
        """Return the keys of these customers."""
        ...


class HoldGate:
    """Places, extends, captures and voids holds."""

    def __init__(
        self,
        *,
        database: Database,
        gate: Gate,
        charging: Charging,
        charges: Charges,
        holds: Holds,
        resolving: Resolving,
        names: Names,
    ) -> None:
        self._database = database
        self._gate = gate
        self._charging = charging
        self._charges = charges
        self._holds = holds
        self._resolving = resolving
        self._names = names

    async def place(
        self,
        customer: str,
        feature: str,
        units: int,
        key: str | None,
        at: int,
        *,
        seconds: int = DEFAULT_SECONDS,
        actor: str,
    ) -> Hold | Denied:
        """Set ``units`` aside for ``seconds``: they count against every limit at once.

        Raises: UnknownCustomer, UnknownFeature, InvalidInput, IdempotencyConflict, Unavailable.
        Cost: as a consumption, and a share of one statement of the record in any case.
        """
        expect_seconds(seconds)
        call = await self._gate.call(customer, ((feature, units),), key, at, actor)
        call = call._replace(hold_seconds=seconds)
        taken = await self._charging.take(call)
        if isinstance(taken, Denied):
            return taken
        return placed(call, taken)

    async def capture(
        self, whose: Whose, *, units: int | None = None, final: bool = True
    ) -> Hold | Denied:
        """Take ``units`` of a hold for good (None: all that is held).

        ``final`` gives the rest back and closes it; else it stays open with what is left. More than
        is held is taken only if it fits, by quota and credits, all or nothing.
        Raises: NotFound, HoldClosed, InvalidInput, IdempotencyConflict, Unavailable.
        """
        if units is not None:
            expect_units(units)
        change = await self._change(whose, Resolution.CAPTURE, units, final=final)
        told = await self._holds.change(change)
        if units is None or told.hold is None:
            return await self._told(whose, told)
        if told.outcome is HoldOutcome.TOO_MUCH:
            return await self._capture_more(whose, change, told.hold, units)
        extra = None
        if told.outcome is HoldOutcome.REPLAYED:
            extra = await self._extra_of(change)
        return await self._told(whose, told, extra)

    async def void(self, whose: Whose) -> Hold:
        """Give back all that a hold still holds. Raises: as ``capture``."""
        change = await self._change(whose, Resolution.VOID)
        return await self._told(whose, await self._holds.change(change))

    async def end(self, whose: Whose, reason: str) -> Hold:
        """Give back all that a hold still holds, as an operator: with a row in the audit log.

        Raises: as ``capture``.
        """
        change = await self._change(whose, Resolution.VOID)
        change = change._replace(reason=require_reason(reason))
        async with self._database.transaction() as conn:
            told = await self._holds.change_on(conn, change)
            if told.outcome is HoldOutcome.DONE and told.hold is not None:
                await audit.record(
                    conn,
                    at=change.at,
                    actor=change.actor,
                    action="hold.void",
                    reason=reason,
                    customer_id=change.customer_id,
                    detail=_detail(self._gate.feature_key(told.hold.feature_id), told.hold),
                    correlation_id=change.correlation_id,
                )
        return await self._told(whose, told)

    async def extend(self, whose: Whose, seconds: int) -> Hold:
        """Let a hold stand for ``seconds`` from now, longer than it would.

        Raises: as ``capture``.
        """
        expect_seconds(seconds)
        until = instant(whose.at_ms) + timedelta(seconds=seconds)
        change = await self._change(whose, Resolution.EXTEND, seconds, until=until)
        return await self._told(whose, await self._holds.change(change))

    async def find(self, customer: str, hold_id: str) -> Hold | None:
        """Return one hold, None if the customer has no such."""
        number = await self._names.number(customer)
        record = await self._holds.find(number, read_id(hold_id).operation_id)
        return None if record is None else self._shown(customer, record)

    async def list_(
        self,
        customer: str,
        first: int,
        *,
        state: HoldState | None = None,
        after: str | None = None,
    ) -> list[Hold]:
        """Return at most ``first`` holds of a customer, newest first, older than ``after``."""
        number = await self._names.number(customer)
        place = None
        if after is not None:
            behind = read_id(after)
            place = (instant(behind.at_ms), behind.operation_id)
        records = await self._holds.list_(number, first, state=state, after=place)
        return [self._shown(customer, record) for record in records]

    async def expire(self, at: datetime) -> int:
        """End holds that are past their time; return how many were.

        Raises: Unavailable.
        """
        due = await self._holds.due(at, MOST_IN_A_TURN)
        changes = [
            Change(
                customer_id=customer_id,
                hold_id=hold_id,
                operation_id=f"~expire:{hold_id}",
                resolution=Resolution.EXPIRE,
                at=at,
                fingerprint="",
                expires_at=at + REPLAY,
                reason="expired",
                actor="headroom",
            )
            for customer_id, hold_id in due
        ]
        # Together, and one by one where one cannot be: the others are not to wait for its repair.
        told = await asyncio.gather(
            *(self._holds.change(change) for change in changes), return_exceptions=True
        )
        names = await self._names.keys_of([customer_id for customer_id, _ in due])
        ended = 0
        for change, one in zip(changes, told, strict=True):
            if isinstance(one, Unavailable | asyncio.CancelledError):
                raise one
            if isinstance(one, BaseException):
                log.error("the hold %s cannot be ended", change.hold_id, exc_info=one)
                continue
            ended += 1
            if one.hold is not None and one.outcome is HoldOutcome.DONE:
                await self._tell(names[one.hold.customer_id], one.hold)
        return ended

    async def tell_again(self) -> int:
        """Tell the counters what a process that died, or an outage, left untold.

        Raises: Unavailable.
        """
        untold = await self._holds.untold(MOST_IN_A_TURN)
        for customer, hold in untold:
            await self._resolving.tell(customer, hold.id, figures_of(hold))
            await self._holds.told(hold)
        return len(untold)

    async def _change(
        self,
        whose: Whose,
        resolution: Resolution,
        figure: int | None = None,
        *,
        final: bool = True,
        until: datetime | None = None,
    ) -> Change:
        if whose.key is not None:
            expect_key(whose.key)
        at = instant(whose.at_ms)
        hold_id = read_id(whose.hold_id).operation_id
        return Change(
            customer_id=await self._names.number(whose.customer),
            hold_id=hold_id,
            operation_id=whose.key or f"~{resolution}:{secrets.token_urlsafe(12)}",
            resolution=resolution,
            at=at,
            fingerprint=f"{resolution}:{hold_id}:{figure}:{final:d}",
            expires_at=at + REPLAY,
            reason=_REASONS[resolution],
            actor=whose.actor,
            correlation_id=correlation_id(),
            units=figure if resolution is Resolution.CAPTURE else None,
            final=final,
            until=until,
        )

    async def _told(self, whose: Whose, told: Told, extra: str | None = None) -> Hold:
        hold = told.hold
        match told.outcome:
            case HoldOutcome.DONE | HoldOutcome.REPLAYED if hold is not None:
                if told.outcome is HoldOutcome.DONE:
                    await self._tell(whose.customer, hold)
                shown = self._shown(whose.customer, hold)
                replayed = told.outcome is HoldOutcome.REPLAYED
                return replace(shown, extra=extra, replayed=replayed)
            case HoldOutcome.CONFLICT:
                raise IdempotencyConflict(
                    f"idempotencyKey {whose.key!r} was used for an operation with other contents"
                )
            case HoldOutcome.RESOLVED if hold is not None:
                raise HoldClosed(f"The hold is {hold.state} already; place another.")
            case HoldOutcome.EXPIRED if hold is not None:
                raise HoldClosed(f"The hold expired at {hold.expires_at:%Y-%m-%dT%H:%M:%SZ}.")
            case HoldOutcome.NOT_LATER if hold is not None:
                raise InvalidInput(
                    f"the hold stands until {hold.expires_at:%Y-%m-%dT%H:%M:%SZ} already; "
                    "an extension ends later"
                )
            case _:
                raise NotFound("The customer has no hold of this id.")

    async def _tell(self, customer: str, hold: HoldRecord) -> None:
        """Have the counters know a change; where that is not possible now, a worker will."""
        if not hold.counted:
            return
        try:
            await self._resolving.tell(customer, hold.id, figures_of(hold))
            await self._holds.told(hold)
        except (NotSent, OutcomeUnknown, Unavailable) as error:
            log.warning("a hold is resolved and the counters do not know it yet: %s", error)

    async def _capture_more(
        self, whose: Whose, change: Change, hold: HoldRecord, units: int
    ) -> Hold | Denied:
        """Capture all that is held and consume the rest, in one transaction of the record."""
        feature = self._gate.feature_key(hold.feature_id)
        more = units - hold.held
        call = await self._gate.call(
            whose.customer, ((feature, more),), None, whose.at_ms, whose.actor
        )
        # A name of its own, so that a retry finds what the first one took.
        keep = round(REPLAY.total_seconds())
        call = call._replace(key=_more(change), record_seconds=keep)
        change = change._replace(units=hold.held, final=True)
        closing: list[Told] = []

        async def decide(charge: Charge) -> Decided:
            async with self._database.transaction() as conn:
                decided = await self._charges.decide_on(conn, charge)
                if decided.outcome is Outcome.DONE:
                    told = await self._holds.change_on(conn, change)
                    closing.append(told)
                    if told.outcome is not HoldOutcome.DONE:
                        raise HoldClosed("The hold changed meanwhile; look at it again.")
                return decided

        taken = await self._charging.take(call, decide)
        if isinstance(taken, Denied):
            return taken
        if not closing:  # it was decided before, by a call whose answer was lost
            closing.append(await self._holds.change(change))
        extra = ConsumptionId(taken.at_ms, 0, taken.operation_id).encode()
        return await self._told(whose, closing[0], extra)

    async def _extra_of(self, change: Change) -> str | None:
        """Return the consumption of what the first of these captures took beyond the hold."""
        known = await self._charges.find(change.customer_id, _more(change), change.at)
        if known is None:
            return None
        first = read_reply(unpack(known["answer"]))
        return ConsumptionId(first.at_ms, 0, first.attempt).encode()

    def _shown(self, customer: str, record: HoldRecord) -> Hold:
        feature = self._gate.feature_key(record.feature_id)
        at_ms = round(record.at.timestamp() * 1000)
        own = ConsumptionId(at_ms, 0, record.id).encode()
        return Hold(own, customer, feature, record)


_REASONS = {
    Resolution.CAPTURE: "captured",
    Resolution.VOID: "voided",
    Resolution.EXTEND: "extended",
    Resolution.EXPIRE: "expired",
}


def _more(change: Change) -> str:
    return f"~more:{change.hold_id}:{change.operation_id}"


def _detail(feature: str, hold: HoldRecord) -> dict[str, object]:
    return {
        "hold": hold.id,
        "feature": feature,
        "units": hold.units - hold.captured,
        "credits": hold.credits - hold.spent,
    }
