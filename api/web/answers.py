"""What the HTTP gates answer with: the names of the GraphQL contract, as plain JSON."""

from __future__ import annotations

from typing import Any

import orjson

from api.domain.decision import Decision
from api.domain.funding import Funding
from api.gates.held import Hold
from api.gates.outcome import Consumption
from api.schema.errors import facts_of
from api.schema.scalars import write_instant


def consumption_body(consumption: Consumption, windows: str) -> bytes:
    """Return the JSON of what was counted; ``windows`` are those of it, as JSON."""
    id_, customer, feature, units, _, replayed, degraded, funding, balance = consumption
    more = b"}"
    if funding is not None:
        more = b"," + orjson.dumps({"funding": funding_facts(funding), "balance": balance})[1:]
    # By hand, as most of it is constant; the names of customers hold any character, ids and
    # features' keys none that JSON would escape.
    said = (
        f',"feature":"{feature}","units":{units},"windows":{windows}'
        f',"replayed":{"true" if replayed else "false"}'
        f',"degraded":{"true" if degraded else "false"}'
    )
    return b'{"id":"%b","customer":%b%b%b' % (
        id_.encode(),
        orjson.dumps(customer),
        said.encode(),
        more,
    )


def hold_body(hold: Hold, windows: str) -> bytes:
    """Return the JSON of a hold: GraphQL's ``Hold``; ``windows`` are those of it, as JSON.

    Windows, funding and balance are told when it is placed, and only then.
    """
    record = hold.record
    said: dict[str, Any] = {
        "id": hold.id,
        "customer": hold.customer,
        "feature": hold.feature,
        "state": record.state.name,
        "units": record.units,
        "captured": record.captured,
        "held": record.held,
        "charged": record.charged,
        "credits": record.credits,
        "spentCredits": record.spent,
        "heldCredits": record.held_credits,
        "placedAt": write_instant(record.at),
        "expiresAt": write_instant(record.expires_at),
        "resolvedAt": None if record.resolved_at is None else write_instant(record.resolved_at),
        "extraConsumptionId": hold.extra,
        "replayed": hold.replayed,
    }
    if hold.funding is not None:
        said["windows"] = orjson.Fragment(windows)
        said["funding"] = funding_facts(hold.funding)
        said["balance"] = hold.balance
    return orjson.dumps(said)


def funding_facts(funding: Funding) -> dict[str, Any]:
    """Return who paid, as GraphQL's ``Funding``."""
    return {
        "included": funding.included,
        "charged": funding.charged,
        "credits": funding.credits,
        "buckets": [
            {"bucket": bucket.upper(), "credits": paid} for bucket, paid in funding.buckets
        ],
    }


def decision_facts(decision: Decision, windows: str) -> dict[str, Any]:
    """Return every fact of one decision: GraphQL's ``Decision``, and a denial's extensions.

    Plans are told by their keys; ``windows`` are those of it, as JSON.
    """
    return {
        "allowed": decision.allowed,
        "message": decision.message,
        **facts_of(decision),
        "windows": orjson.Fragment(windows),
    }
