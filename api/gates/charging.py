"""Quota and credits as one decision.

The counters judge the quota and count it as pending; one statement of the record, shared by all
callers of the moment, debits the credits and writes the operation's id: that is the decision. A
refusal takes the pending units back, a crash in between lets their deadline do so. Where no limit
counts anything the record alone decides, by the version of the rights that were last seen.

Failure policy: with the counters out of reach what needs them is refused, whatever the outage
policy; with the record out of reach only units that the plan includes pass.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from api.domain import keys
from api.domain.admission import Action
from api.domain.errors import HoldClosed, InvalidInput, Unavailable
from api.gates.judge import CountersLost, Judge
from api.gates.lacking import Holders, Lacking
from api.gates.outcome import Denied
from api.gates.taken import (
    Call,
    Taken,
    check_of,
    conflict,
    contents_of,
    credits_of,
    included,
    journaled,
    kept_seconds,
    taken,
)
from api.infra.packing import unpack
from api.infra.redis import NotSent, OutcomeUnknown, Overloaded, RedisDoor
from api.infra.telemetry import correlation_id
from api.ledger.charges import Charge, ChargedItem, Charges, Decided, HoldTerms, Outcome
from api.metering.counters import Operation, Reply, Verdict, pending_answer, read_reply
from api.metering.journal import instant
from api.metering.pending import Deadlines
from api.metering.undo import Undo

log = logging.getLogger(__name__)

MOST_ROUNDS = 6
"""Each round meets another change of rights, or another epoch."""
Decide = Callable[[Charge], Awaitable[Decided]]

MOST_RIGHTS = 100_000
"""Customers and features of which this process remembers that no limit counts them."""


class Rights(NamedTuple):
    """That no limit counts a feature for a customer, as of a version of its rights."""

    customer_id: int
    version: int
    valid_until_s: int


class Charging:
    """Consumes and holds what costs credits."""

    def __init__(
        self,
        *,
        door: RedisDoor,
        judge: Judge,
        undo: Undo,
        deadlines: Deadlines,
        charges: Charges,
        holders: Holders,
        lacking: Lacking,
    ) -> None:
        self._door = door
        self._judge = judge
        self._undo = undo
        self._deadlines = deadlines
        self._charges = charges
        self._holders = holders
        self._lacking = lacking
        self._rights: dict[tuple[str, int], Rights] = {}
        self._prefix = secrets.token_urlsafe(9)
        self._attempts = itertools.count()

    async def take(self, call: Call, decide: Decide | None = None) -> Taken | Denied:
        """Take the units of ``call``, by quota and credits together, or nothing.

        ``decide`` is asked in place of the record where more hangs on the decision, also for units
        that the plan includes.

        Raises: UnknownCustomer, InvalidInput, IdempotencyConflict, Unavailable.
        Cost: one round trip to the counters, if any limit counts; a share of one statement of the
        record, if any unit is paid with credits or held.
        """
        at = instant(call.at_ms)
        record_seconds = kept_seconds(call)
        for _ in range(MOST_ROUNDS):
            attempt = self._attempt()
            epoch, reply = await self._judged(
                call, attempt, record_seconds, await_=decide is not None
            )
            if reply.verdict is Verdict.DENIED:
                replayed = await self._recorded(call, at)
                return replayed or await self._lacking.denied(call, reply, at)
            if reply.verdict is not Verdict.PENDING:
                return included(call, reply, attempt)
            charge = await self._charge(call, reply, at, epoch, record_seconds)
            decided = await self._decided(call, reply, charge, decide)
            match decided.outcome:
                case Outcome.DONE:
                    return taken(call, reply, decided)
                case Outcome.REPLAYED:
                    return await self._replayed(call, reply, decided)
                case Outcome.CONFLICT:
                    await self._give_up(call, reply)
                    raise conflict(call)
                case Outcome.INSUFFICIENT:
                    await self._give_up(call, reply)
                    short = await self._short(call, reply, at)
                    if short is not None:
                        return short
                    # Credits came since it was judged, which may be long ago, if it was adopted.
                case _:
                    await self._give_up(call, reply, decided.outcome)
                    await self._renew(call, decided.outcome, at)
        raise Unavailable(
            "the customer's rights and credits change faster than they can be read; try again"
        )

    async def _judged(
        self, call: Call, attempt: str, record_seconds: int, *, await_: bool
    ) -> tuple[int, Reply]:
        """Return the counters' answer, and an epoch that it is not older than."""
        known = self._recall(call, attempt)
        if known is not None:
            return 0, known
        epoch = self._epoch(call.customer)
        reply = await self._ask(call, attempt, record_seconds, await_=await_)
        if _past(call, reply):
            number, now = reply.customer_id, instant(call.at_ms)
            if await self._charges.find(number, call.key or "", now) is None:
                # Whoever placed it died before it was decided: nobody could capture it any more.
                await self._give_up(call, reply, Outcome.VOIDED)
                reply = await self._ask(call, attempt, record_seconds, await_=await_)
        if reply.verdict is Verdict.CONFLICT:
            raise conflict(call)
        return epoch, reply

    def _attempt(self) -> str:
        return f"~{self._prefix}{next(self._attempts):x}"

    def _epoch(self, customer: str) -> int:
        try:
            return self._door.epoch(keys.shard_of(customer))
        except NotSent:
            return -1

    def _recall(self, call: Call, attempt: str) -> Reply | None:
        """Return what the counters would say, where they are known to count nothing here.

        Of a named call they may have the first answer, from when something did.
        """
        if len(call.items) != 1 or call.key is not None:
            return None
        item = call.items[0]
        rights = self._rights.get((call.customer, item.feature_id))
        if rights is None or 0 < rights.valid_until_s <= call.at_ms // 1000:
            return None
        return Reply(
            Verdict.PENDING,
            rows=((),),
            at_ms=call.at_ms,
            charged=(item.units if item.cost is not None else 0,),
            attempt=attempt,
            customer_id=rights.customer_id,
            version=rights.version,
            valid_until_s=rights.valid_until_s,
        )

    def _remember(self, call: Call, reply: Reply) -> None:
        if reply.entry or reply.adopted or len(call.items) != 1 or reply.rows[0]:
            return
        if len(self._rights) >= MOST_RIGHTS:
            self._rights.clear()
        self._rights[call.customer, call.items[0].feature_id] = Rights(
            reply.customer_id, reply.version, reply.valid_until_s
        )

    async def _ask(self, call: Call, attempt: str, record_seconds: int, *, await_: bool) -> Reply:
        action = Action.AWAIT if await_ else Action.PEND
        operation = Operation(
            action if call.hold_seconds is None else Action.HOLD,
            call.customer,
            attempt if call.key is None else call.key,
            [(item.feature_id, item.units) for item in call.items],
            "" if call.key is None else contents_of(call),
            record_seconds * 1000,
            record_seconds * 1000,
            attempt=attempt,
            costs=[item.cost is not None for item in call.items],
        )
        try:
            reply = await self._judge.ask(operation, call.at_ms, journaled=journaled(call))
        except CountersLost as lost:
            raise Unavailable(lost.message) from lost
        if reply.verdict is Verdict.PENDING:
            self._remember(call, reply)
        return reply

    async def _charge(
        self, call: Call, reply: Reply, at: datetime, epoch: int, record_seconds: int
    ) -> Charge:
        hold = None
        if call.hold_seconds is not None:
            until = instant(reply.at_ms) + timedelta(seconds=call.hold_seconds)
            hold = HoldTerms(until, call.items[0].cost)
        try:
            items = [
                ChargedItem(item.feature_id, item.units, charged, credits_of(item, charged))
                for item, charged in zip(call.items, reply.charged, strict=True)
            ]
        except InvalidInput:  # more than can be paid at all
            await self._give_up(call, reply)
            raise
        return Charge(
            customer_id=reply.customer_id,
            operation_id=reply.attempt if call.key is None else call.key,
            attempt=reply.attempt,
            at=instant(reply.at_ms),
            fingerprint=contents_of(call),
            expires_at=at + timedelta(seconds=record_seconds),
            answer=pending_answer(reply),
            items=items,
            reason="consumed" if hold is None else "held",
            actor=call.actor,
            correlation_id=correlation_id(),
            version=0 if reply.entry else reply.version,
            shard=keys.shard_of(call.customer) if reply.entry else -1,
            epoch=epoch,
            hold=hold,
        )

    async def _decided(
        self, call: Call, reply: Reply, charge: Charge, decide: Decide | None
    ) -> Decided:
        try:
            return await (decide or self._charges.decide)(charge)
        except HoldClosed:
            await self._give_up(call, reply)
            raise

    async def _give_up(self, call: Call, reply: Reply, outcome: Outcome | None = None) -> None:
        """Have the counters take back what they let pass; else its deadline does."""
        if not reply.entry and call.key is None:
            return
        try:
            done = await self._undo.undo(
                call.customer,
                call.key or reply.attempt,
                reply,
                [(item.feature_id, item.units) for item in call.items],
                held=call.hold_seconds is not None,
                void=outcome is Outcome.VOIDED,
            )
            if outcome is Outcome.OTHER_EPOCH and reply.entry and not done:
                # Else its units would stand in the way of the next attempt, up to their deadline.
                await self._deadlines.give_up(call.customer, reply.customer_id, reply.attempt)
        except (NotSent, OutcomeUnknown, Overloaded) as error:
            log.warning("pending units are left to their deadline: %s", error)

    async def _renew(self, call: Call, outcome: Outcome, at: datetime) -> None:
        """Bring what the decision found to be out of date."""
        for item in call.items:
            self._rights.pop((call.customer, item.feature_id), None)
        if outcome is Outcome.RIGHTS_CHANGED:
            await self._holders.publish_key(call.customer, at)

    async def _replayed(self, call: Call, reply: Reply, decided: Decided) -> Taken:
        first = read_reply(unpack(decided.answer))
        own = first.attempt == reply.attempt
        if not own:
            await self._give_up(call, reply)
        paid = await self._charges.paid(reply.customer_id, first.attempt)
        told = taken(call, first, decided._replace(paid=paid))
        # Its own attempt is told twice only where the first answer of the record was lost.
        return told._replace(replayed=not own or reply.adopted)

    async def _recorded(self, call: Call, at: datetime) -> Taken | None:
        """Return the first answer of a named call that the counters would refuse by now."""
        if call.key is None:
            return None
        customer_id = await self._holders.number(call.customer)
        known = await self._charges.find(customer_id, call.key, at)
        if known is None:
            return None
        if known["fingerprint"] != contents_of(call):
            raise conflict(call)
        first = read_reply(unpack(known["answer"]))
        paid = await self._charges.paid(customer_id, first.attempt)
        decided = Decided(Outcome.REPLAYED, known["credits"], known["balance"], paid)
        return taken(call, first, decided)._replace(replayed=True)

    async def _short(self, call: Call, reply: Reply, at: datetime) -> Denied | None:
        """Explain a refusal of the record, by how things stand without the call.

        None: by now there is no reason for one.
        """
        standing = reply
        if any(reply.rows):
            standing = await self._judge.ask(check_of(call), call.at_ms, journaled=False)
            if standing.verdict is Verdict.DENIED:
                return await self._lacking.denied(call, standing, at)
        lack = await self._lacking.lack(call, standing, at)
        return None if lack is None else Denied((lack,))


def _past(call: Call, reply: Reply) -> bool:
    """Tell whether ``reply`` is of a hold that an earlier call began, and that is over by now."""
    if call.hold_seconds is None or not reply.adopted:
        return False
    return reply.at_ms + call.hold_seconds * 1000 <= call.at_ms
