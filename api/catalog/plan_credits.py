"""Giving the credits that plans bring, inside the transaction that changes a customer's rights.

Nothing is scheduled: the next slice's beginning is part of how long rights are valid, so whoever
needs them then, or the worker, settles the customer and comes by here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from api.domain.catalog import Bucket, Catalog
from api.domain.entitlements import CustomerFacts, SubscriptionFacts, giving_of
from api.domain.event_order import TERMINAL
from api.domain.plan_credits import Gift, Given, Slice, brings_any, due, gifts, subscription_of
from api.infra.postgres import Connection, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id
from api.ledger.entries import Kind, Movement, Why, lock, post
from api.ledger.expiry import expire_on
from api.ledger.grants import NewGrant, give

_sql = Queries.load("subscriptions")

ACTOR = "headroom"


class Judged(NamedTuple):
    """One customer's facts, and the catalog that they are judged by."""

    catalog: Catalog
    facts: CustomerFacts


class Turn(NamedTuple):
    """What a change, or time alone, made of one customer's rights.

    ``since`` is the instant up to which everything was given already: how long the rights before
    were known to be valid, if they are over.
    """

    before: Judged
    after: Judged
    since: datetime


def turn_of(
    before: Judged, after: Judged, valid_until: datetime | None, at: datetime
) -> Turn | None:
    """Return what may bring credits to one customer, None where no plan brings any."""
    if not (brings_any(before.catalog) or brings_any(after.catalog)):
        return None
    return Turn(before, after, at if valid_until is None else min(valid_until, at))


async def arrive(conn: Connection, turns: Sequence[Turn | None], at: datetime) -> None:
    """Give what is due to these customers, and end what their ended subscriptions had brought.

    What the rights before would have brought meanwhile comes first, so that a change takes
    nothing. Under the customers' row locks. Cost: none without a turn that concerns credits;
    otherwise at most eleven statements, whatever the number.
    """
    wanted: dict[int, tuple[Turn, tuple[Slice, ...]]] = {}
    for turn in turns:
        if turn is not None:
            slices = (*_due(turn.before, turn.since, at), *_due(turn.after, at, at))
            if slices or turn.before.facts.subscriptions or turn.after.facts.subscriptions:
                wanted[turn.after.facts.id] = (turn, slices)
    if not wanted:
        return
    earliest = min((s.starts_at for _, slices in wanted.values() for s in slices), default=at)
    await lock(conn, wanted)
    rows: dict[int, list[Record]] = {customer_id: [] for customer_id in wanted}
    for row in await conn.fetch(_sql.plan_grants, list(wanted), min(earliest, at)):
        rows[row["customer_id"]].append(row)
    made = {
        customer_id: gifts(slices, map(_given, rows[customer_id]))
        for customer_id, (_, slices) in wanted.items()
    }
    await give(conn, [_grant(i, gift) for i, new in made.items() for gift in new], at)
    # What lives on in another grant may not be spent from the old one any more, also not by a call
    # of an instant before.
    over = [
        (customer_id, row["id"])
        for customer_id, new in made.items()
        if any(gift.source == gift.slice.rollover_source for gift in new)
        for row in rows[customer_id]
        if row["available"] > 0 and row["expires_at"] <= at
    ]
    if over:
        await expire_on(conn, over, at)
    ended = (_ended(rows[i], turn.after.facts, at) for i, (turn, _) in wanted.items())
    await _end(conn, list(chain.from_iterable(ended)), at)


def _due(judged: Judged, since: datetime, at: datetime) -> tuple[Slice, ...]:
    giving = giving_of(judged.catalog, judged.facts, at)
    return due(judged.catalog, judged.facts, giving, since, at)


def _given(row: Record) -> Given:
    return Given(
        source=row["source"],
        plan=row["reference"],
        units=row["units"],
        left=row["available"] + row["expired"],
        expires_at=row["expires_at"],
    )


def _grant(customer_id: int, gift: Gift) -> NewGrant:
    return NewGrant(
        customer_id=customer_id,
        source=gift.source,
        bucket=Bucket.SUBSCRIPTION,
        priority=gift.slice.priority,
        units=gift.units,
        effective_at=gift.slice.starts_at,
        expires_at=gift.slice.ends_at,
        why=Why(gift.source, gift.reason, ACTOR, gift.slice.plan, correlation_id()),
    )


def _ended(
    rows: Sequence[Record], facts: CustomerFacts, at: datetime
) -> list[tuple[Record, datetime]]:
    """Return the grants that outlive the subscription they came with, and when that ended."""
    subscriptions = {s.id: s for s in facts.subscriptions}
    found: list[tuple[Record, datetime]] = []
    for row in rows:
        number = subscription_of(row["source"])
        if number != 0 and row["expires_at"] > at:
            end = _end_of(subscriptions.get(number), at)
            if end is not None:
                found.append((row, end))
    return found


def _end_of(subscription: SubscriptionFacts | None, at: datetime) -> datetime | None:
    """Return when it ended, None while it lasts; one that went to another customer ended here."""
    if subscription is None:
        return at
    if subscription.ends_at is not None and subscription.ends_at <= at:
        return subscription.ends_at
    return at if subscription.status in TERMINAL else None


async def _end(conn: Connection, ended: Sequence[tuple[Record, datetime]], at: datetime) -> None:
    """Expire by entries what is left, and let what still comes back to these grants follow it."""
    if not ended:
        return
    await post(
        conn,
        [
            Movement(
                row["customer_id"],
                Kind.EXPIRE,
                row["id"],
                row["available"],
                at,
                Why(
                    f"~end:{row['source']}",
                    "subscription ended",
                    ACTOR,
                    row["reference"],
                    correlation_id(),
                ),
            )
            for row, _ in ended
            if row["available"] > 0
        ],
    )
    await conn.execute(
        _sql.end_grants,
        [row["customer_id"] for row, _ in ended],
        [row["id"] for row, _ in ended],
        [end for _, end in ended],
    )
