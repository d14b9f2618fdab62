"""What operators may do in a customer's ledger: give, correct, take back, and mend balances.

Nothing is edited: each act is entries with a reason and an actor, and a row in the audit log of the
same transaction. An act with a key is done once: told again it answers what it did.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from api.catalog import audit
from api.catalog.customers import Customer, Customers
from api.catalog.revisions import Revisions
from api.catalog.text import is_clean, require_reason
from api.domain.catalog import MAX_UNITS, FeatureKind
from api.domain.credits import Burned
from api.domain.errors import IdempotencyConflict, InvalidInput, UnknownFeature
from api.gates.booked import Because, Booked, Gift, Rebuilt, Voided
from api.gates.expectations import expect_key
from api.infra.postgres import Connection, Database, Record
from api.infra.telemetry import correlation_id
from api.ledger import adjusting, checks, grants, standing, voiding
from api.ledger.checks import Finding
from api.ledger.entries import Kind, Why, lock
from api.ledger.grants import NewGrant

MOST_PRIORITY = 1_000_000
LONGEST_REFERENCE = 200
_VOID = "credits.void_grant"


class Bookkeeping:
    """Acts of operators on credits. Every method may raise ``Unavailable``."""

    def __init__(self, database: Database, customers: Customers, revisions: Revisions) -> None:
        self._database = database
        self._customers = customers
        self._revisions = revisions

    async def grant(self, customer: str, gift: Gift, because: Because) -> Booked:
        """Give credits. Raises: UnknownCustomer, UnknownFeature, InvalidInput, IdempotencyConflict.

        Cost: one transaction.
        """
        found = await self._customers.get(customer)
        return await self._give(found, gift, because, "grant")

    async def adjust(
        self,
        customer: str,
        credits: int,  # noqa: A002 - the field's own word
        because: Because,
    ) -> Booked:
        """Correct a balance: up by a permanent grant, down by taking back in burn order.

        Raises: UnknownCustomer, IdempotencyConflict, and InvalidInput, where more would be taken
        than is available: nothing is changed then.
        """
        found = await self._customers.get(customer)
        if credits > 0:
            return await self._give(found, Gift(credits=credits), because, "adjust")
        if credits == 0:
            raise InvalidInput(
                "An adjustment by 0 credits changes nothing: say how many, or -many."
            )
        _expect_credits(-credits)
        why = _why("adjust", because)
        async with self._database.transaction() as conn:
            await lock(conn, [found.id])
            written = await adjusting.written(conn, found.id, why.operation_id)
            if written:
                taken = _taken(written)
                others = any(row["kind"] != Kind.REVOKE.word for row in written)
                if others or sum(one.credits for one in taken) != -credits:
                    raise _conflict(because)
            else:
                taken = tuple(await adjusting.take(conn, found.id, -credits, why, because.at))
                detail = {
                    "credits": credits,
                    "grants": {str(one.grant): one.credits for one in taken},
                }
                await _record(conn, "credits.adjust", found, why, because, detail)
            return await _booked(conn, found, why, because, _less(taken), replayed=bool(written))

    async def void_grant(self, customer: str, grant_id: int, because: Because) -> Voided:
        """Take back what is left of a grant; what is spent or held stays so.

        What of that comes back later is taken then, by a worker.

        Raises: UnknownCustomer, NotFound, InvalidInput, IdempotencyConflict.
        """
        found = await self._customers.get(customer)
        why = _why("void-grant", because)
        async with self._database.transaction() as conn:
            await lock(conn, [found.id])
            await grants.get(conn, found.id, grant_id)
            written = await adjusting.written(conn, found.id, why.operation_id)
            known = await audit.detail_of(conn, found.id, _VOID, why.operation_id)
            if known is not None and known["grant"] != grant_id:
                raise _conflict(because)
            taken = _taken(written)
            if known is None:
                left = await voiding.void(conn, found.id, grant_id, why, because.at)
                taken = (Burned(grant_id, left),) if left else ()
            stand = await adjusting.accounts(conn, found.id, grant_id)
            rest = {"spent": stand["spent"], "held": stand["held"], "expired": stand["expired"]}
            if known is None:
                # Also of nothing: said again it means that moment, not what came back since.
                detail = {"grant": grant_id, "credits": -sum(t.credits for t in taken), **rest}
                await _record(conn, _VOID, found, why, because, detail)
            replayed = known is not None
            booked = await _booked(conn, found, why, because, _less(taken), replayed=replayed)
        return Voided(booked=booked, grant_id=grant_id, **rest)

    async def check(self, customer: str | None, at: datetime) -> list[Finding]:
        """Return where balances and ledger disagree, of one customer or (None) of all.

        Raises: UnknownCustomer. Cost: a pass over all their entries.
        """
        number = None if customer is None else (await self._customers.get(customer)).id
        return [
            *await checks.balance_mismatch(self._database, at, number),
            *await checks.ledger_sum_mismatch(self._database, number),
        ]

    async def rebuild(self, found: Sequence[Finding], because: Because) -> list[Rebuilt]:
        """Make the kept balances that were found wrong what their entries sum to.

        What else was found is left: only a new entry mends it. Cost: a transaction for each
        customer.
        """
        require_reason(because.reason)
        wrong = {one.customer_id for one in found if one.kind == checks.BALANCE_MISMATCH}
        rebuilt: list[Rebuilt] = []
        for customer_id in sorted(wrong):
            async with self._database.transaction() as conn:
                changed = dict(await checks.rebuild_balances(conn, customer_id))
                if changed:
                    kept = {str(i): {"available": a, "held": h} for i, (a, h) in changed.items()}
                    await audit.record(
                        conn,
                        at=because.at,
                        actor=because.actor,
                        action="credits.rebuild",
                        reason=because.reason,
                        customer_id=customer_id,
                        detail={"grants": kept},
                        correlation_id=correlation_id(),
                    )
                    rebuilt.append(Rebuilt(customer_id=customer_id, grants=changed))
        return rebuilt

    async def _give(self, found: Customer, gift: Gift, because: Because, act: str) -> Booked:
        why = _why(act, because)
        numbers = self._checked(gift)
        new = NewGrant(
            customer_id=found.id,
            source=why.operation_id,
            bucket=gift.bucket,
            priority=gift.priority,
            units=gift.credits,
            effective_at=gift.effective_at or because.at,
            why=why,
            expires_at=gift.expires_at,
            features=numbers,
        )
        async with self._database.transaction() as conn:
            await lock(conn, [found.id])
            known = await adjusting.find_given(conn, found.id, new.source)
            if known is None:
                await _expect_room(conn, new, because)
                [grant_id] = await grants.give(conn, [new], because.at)
                await _record(conn, f"credits.{act}", found, why, because, _told(grant_id, gift))
            elif _same(known, new, gift):
                grant_id = known["id"]
            else:
                raise _conflict(because)
            moved = () if grant_id is None else (Burned(grant_id, gift.credits),)
            return await _booked(conn, found, why, because, moved, replayed=known is not None)

    def _checked(self, gift: Gift) -> frozenset[int] | None:
        """Return the numbers of the features, None for all.

        Raises: UnknownFeature, InvalidInput.
        """
        _expect_credits(gift.credits)
        if not 0 <= gift.priority <= MOST_PRIORITY:
            raise InvalidInput(f"The priority is 0 to {MOST_PRIORITY}; a lower one burns first.")
        if gift.features is None:
            return None
        if not gift.features:
            raise InvalidInput("Name the features that the credits pay for, or none for all.")
        newest = self._revisions.newest
        for key in gift.features:
            feature = newest.catalog.features.get(key)
            if feature is None:
                raise UnknownFeature(f"There is no feature {key[:200]!r}.")
            if feature.kind is not FeatureKind.METERED:
                raise InvalidInput(f"{key} is {feature.kind.value}: it never costs credits.")
        return frozenset(newest.feature_ids[key] for key in gift.features)


def _why(act: str, because: Because) -> Why:
    """Return the facts that stand in every entry of an act. Raises: InvalidInput."""
    if because.key is not None:
        expect_key(because.key)
    reference = because.reference
    if reference is not None and not (
        0 < len(reference) <= LONGEST_REFERENCE and is_clean(reference)
    ):
        raise InvalidInput(
            f"A reference has 1 to {LONGEST_REFERENCE} characters and no control characters."
        )
    return Why(
        f"~{act}:{because.key or secrets.token_urlsafe(12)}",
        require_reason(because.reason),
        because.actor,
        reference,
        correlation_id(),
    )


def _expect_credits(credits: int) -> None:  # noqa: A002 - the field's own word
    if not 1 <= credits <= MAX_UNITS:
        raise InvalidInput("Credits are a whole number from 1 to 2^53 - 1.")


async def _expect_room(conn: Connection, new: NewGrant, because: Because) -> None:
    """Go on only where these credits can be given now.

    Raises: InvalidInput, IdempotencyConflict.
    """
    if await adjusting.written(conn, new.customer_id, new.why.operation_id):
        raise _conflict(because)
    if new.expires_at is not None and new.expires_at <= max(new.effective_at, because.at):
        raise InvalidInput("The credits would have expired before they could be used.")
    if await adjusting.outstanding(conn, new.customer_id) > MAX_UNITS - new.units:
        raise InvalidInput("A customer has at most 2^53 - 1 credits.")


def _told(grant_id: int | None, gift: Gift) -> dict[str, object]:
    return {
        "grant": grant_id,
        "credits": gift.credits,
        "bucket": gift.bucket.value,
        "expires_at": None if gift.expires_at is None else gift.expires_at.isoformat(),
        "features": None if gift.features is None else sorted(gift.features),
    }


def _same(known: Record, new: NewGrant, gift: Gift) -> bool:
    """Tell whether what was given is what is asked for now; "at once" is whenever it was."""
    at_once = gift.effective_at is None and known["effective_at"] == known["created_at"]
    said = None if known["features"] is None else frozenset(known["features"])
    return (
        (at_once or known["effective_at"] == gift.effective_at)
        and (known["bucket"], known["priority"], known["units"])
        == (new.bucket.value, new.priority, new.units)
        and (known["expires_at"], said) == (new.expires_at, new.features)
    )


def _conflict(because: Because) -> IdempotencyConflict:
    return IdempotencyConflict(f"The key {because.key!r} was used for an act with other contents.")


def _taken(written: Sequence[Record]) -> tuple[Burned, ...]:
    return tuple(Burned(row["grant_id"], row["amount"]) for row in written)


def _less(taken: Sequence[Burned]) -> tuple[Burned, ...]:
    return tuple(Burned(one.grant, -one.credits) for one in taken)


async def _booked(
    conn: Connection,
    found: Customer,
    why: Why,
    because: Because,
    moved: tuple[Burned, ...],
    *,
    replayed: bool,
) -> Booked:
    now = (await standing.balances(conn, [found.id], because.at))[found.id]
    return Booked(
        customer=found.key,
        operation_id=why.operation_id,
        credits=sum(one.credits for one in moved),
        grants=moved,
        available=now.available,
        replayed=replayed,
    )


async def _record(
    conn: Connection,
    action: str,
    found: Customer,
    why: Why,
    because: Because,
    detail: Mapping[str, object],
) -> None:
    await audit.record(
        conn,
        at=because.at,
        actor=because.actor,
        action=action,
        reason=because.reason,
        customer_id=found.id,
        detail={"operation": why.operation_id, "reference": why.reference, **detail},
        correlation_id=why.correlation_id,
    )
