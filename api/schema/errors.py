"""The one map from what went wrong to an entry in ``errors``.

An expected error shows its code, status and message; a denial its facts; a client's own mistake is
told as it is. Anything else is a bug: logged under an error id, and masked.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from graphql import GraphQLError

from api.catalog.problems import CatalogError
from api.domain import codes
from api.domain.decision import Decision, LikeOthers, instant
from api.domain.errors import HeadroomError, InvalidInput, RateLimited
from api.gates.outcome import Denied
from api.schema.scalars import write_instant

log = logging.getLogger(__name__)

Entry = dict[str, Any]


class Refused(Exception):
    """A call that was denied, on its way to ``errors``: the field is null."""

    def __init__(self, denied: Denied, *, together: bool = False) -> None:
        super().__init__(denied.decisions[0].message)
        self.denied = denied
        self.together = together


def entry_of(error: GraphQLError) -> Entry:
    """Return one entry of ``errors``, fit for a stranger's eyes."""
    entry: Entry = {"message": error.message}
    if error.locations:
        entry["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path is not None:
        entry["path"] = list(error.path)
    cause = _cause(error)
    if isinstance(cause, Refused):
        entry["extensions"] = _of_denied(cause)
    elif isinstance(cause, HeadroomError):
        entry["message"] = cause.message
        entry["extensions"] = extensions_of(cause)
    elif cause is None:
        entry["extensions"] = _of_code(InvalidInput.code, InvalidInput.status)
    else:
        entry |= _masked(cause)
    return entry


def expected_entry(
    error: Refused | HeadroomError, locations: list[Entry], path: list[str | int]
) -> Entry:
    """Return what ``entry_of`` returns for an expected error, located already; it costs less."""
    if isinstance(error, Refused):
        message, extensions = str(error), _of_denied(error)
    else:
        message, extensions = error.message, extensions_of(error)
    return {"message": message, "locations": locations, "path": path, "extensions": extensions}


def request_entry(error: HeadroomError) -> Entry:
    """Return the entry of an error that belongs to the request as a whole."""
    return {"message": error.message, "extensions": extensions_of(error)}


def bug_entry(error: BaseException) -> Entry:
    """Log a bug under a new error id, and return the entry that tells nothing but the id."""
    return dict(_masked(error))


def extensions_of(error: HeadroomError) -> Entry:
    """Return code, status and whatever else an expected error can say."""
    extensions = _of_code(error.code, error.status)
    if isinstance(error, RateLimited):
        extensions["retryAfterSeconds"] = error.retry_after_seconds
    if isinstance(error, CatalogError):
        extensions["problems"] = [
            {"file": p.file, "line": p.line, "message": p.message} for p in error.problems
        ]
    return extensions


def facts_of(decision: Decision) -> Entry:
    """Return the facts of one denial, under the names that every door gives them."""
    alike = decision.alike if type(decision) is LikeOthers else None
    if alike is None:
        return _facts(decision)
    if alike.facts is None:
        alike.facts = _facts(decision)
    facts = alike.facts.copy()
    facts["customer"] = decision.customer
    facts["retryAfterSeconds"] = decision.retry_after_seconds
    return facts


def _facts(decision: Decision) -> Entry:
    worst = decision.window
    facts = {
        "code": decision.code,
        "status": decision.status,
        "customer": decision.customer,
        "feature": decision.feature,
        "units": decision.units,
        "window": None if worst is None else worst.window.name,
        "limit": None if worst is None else worst.limit,
        "used": None if worst is None else worst.used,
        "held": None if worst is None else worst.held,
        "remaining": None if worst is None else worst.remaining,
        "resetsAt": None if worst is None else _instant(worst.resets_at_s),
        "retryAfterSeconds": decision.retry_after_seconds,
        "maxUnitsNow": decision.max_units_now,
        "unlockedBy": list(decision.unlocked_by),
        "unlockedByPacks": list(decision.unlocked_by_packs),
        "degraded": decision.degraded,
        "docs": decision.docs,
    }
    if decision.cost is not None:  # it costs credits
        facts |= {"cost": decision.cost, "balance": decision.balance}
    return facts


def _of_denied(refused: Refused) -> Entry:
    decisions = refused.denied.decisions
    extensions = facts_of(decisions[0])
    if refused.together:
        extensions["denials"] = [
            {"message": decision.message, **facts_of(decision)} for decision in decisions
        ]
    return extensions


def _cause(error: GraphQLError) -> BaseException | None:
    """Return what a resolver raised; None for the client's own mistake.

    A mistake that is found while the document is read has no path. One in an argument, found when
    its field is reached, has a path and no cause, as its value came with the request.
    """
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if error.path is None:
        return None
    if cause is None or isinstance(cause, GraphQLError):
        return None if error.message.startswith("Argument '") else error
    return cause


def _of_code(code: str, status: int) -> Entry:
    return {"code": code, "status": status, "docs": codes.docs_of(code)}


def _masked(error: BaseException) -> Mapping[str, Any]:
    error_id = secrets.token_hex(8)
    log.error(
        "a request failed by a bug, told as error %s",
        error_id,
        exc_info=(type(error), error, error.__traceback__),
        extra={"error_id": error_id},
    )
    return {
        "message": f"Something failed here. It is logged as error {error_id}.",
        "extensions": _of_code("INTERNAL", 500) | {"errorId": error_id},
    }


@lru_cache(maxsize=4096)
def _instant(seconds: int | None) -> str | None:
    at = instant(seconds)
    return None if at is None else write_instant(at)
