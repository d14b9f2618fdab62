"""Comparing with the payment provider, and what it found that takes an act or a person."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import strawberry

from api.billing.reconcile import Asked, Report
from api.domain.errors import NotFound
from api.infra.postgres import Record
from api.schema import ids
from api.schema.context import Info
from api.schema.described import described
from api.schema.given import given
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import Json


@strawberry.enum(description="Where a finding stands.")
class FindingState(StrEnum):
    """Four words."""

    OPEN = "open"
    ACTING = "acting"
    RESOLVED = "resolved"
    GIVEN_UP = "given_up"


@strawberry.type(description="What a comparison with the provider found, until it is put right.")
class ReconciliationFinding:
    """One finding."""

    id: strawberry.ID
    kind: str
    object_id: str
    customer_key: str | None
    state: FindingState
    attempts: int
    next_attempt_at: datetime
    last_error: str | None
    detail: Json
    found_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None


@strawberry.type(description="A subscription that is not here as it is at the provider.")
class ReconciliationDifference:
    """One difference."""

    kind: str
    subscription_id: str
    fields: Json = strawberry.field(description="[[name, here, at the provider], …]")


@strawberry.type(description="What a comparison found; of the differences the first thousand.")
class ReconciliationReport:
    """One pass."""

    run: int
    executed: bool
    counts: Json
    differences: list[ReconciliationDifference]


@strawberry.type(description="A comparison with the provider: without an end it runs, or died.")
class ReconciliationRun:
    """One pass, as it is kept."""

    id: strawberry.ID
    scope: str = strawberry.field(description='Of "all", or of one "customer".')
    executed: bool = strawberry.field(description="It healed; a dry run only compares.")
    started_at: datetime
    finished_at: datetime | None
    counts: Json
    error: str | None
    actor: str
    reason: str
    correlation_id: str | None


@strawberry.type
class ReconciliationQuestions:
    """What was found."""

    @described("Comparisons with the provider, the last first; by its cursor, page after page.")
    async def reconciliation_runs(
        self, info: Info, first: int = 50, after: str | None = strawberry.UNSET
    ) -> Connection[ReconciliationRun]:
        """List runs."""
        services = info.context.services
        expect_first(first, services.max_page_size)
        rows = await services.reconciliation.runs(
            first + 1, ids.place_number("ReconciliationRun", given(after))
        )
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda row: ids.cursor("ReconciliationRun", row["id"]),
            node=_run_of,
        )

    @described("Findings, the last first.")
    async def reconciliation_findings(
        self, info: Info, first: int = 50, state: FindingState | None = strawberry.UNSET
    ) -> list[ReconciliationFinding]:
        """List findings."""
        services = info.context.services
        expect_first(first, services.max_page_size)
        wanted = given(state)
        rows = await services.findings.list_(
            first=first, state=None if wanted is None else wanted.value
        )
        return [_finding_of(row) for row in rows]


@strawberry.type
class ReconciliationActions:
    """Putting it right."""

    @described("Compare one customer, or everybody, with the provider; heal unless it is dry.")
    async def sync_subscriptions(
        self,
        info: Info,
        reason: str,
        customer: str | None = strawberry.UNSET,
        dry_run: bool = True,  # noqa: FBT001, FBT002 - an argument of the schema
    ) -> ReconciliationReport | None:
        """Compare. Raises: InvalidInput, Unavailable."""
        context = info.context
        key = given(customer)
        one = None if key is None else (await context.services.customers.get(key)).id
        report = await context.services.reconciliation.run(
            Asked(one, execute=not dry_run),
            actor=context.caller.actor,
            reason=reason,
            at=context.at,
        )
        return _report_of(report)

    @described("Let the record follow the provider's account that the present key is of.")
    async def accept_provider_account(self, info: Info, reason: str) -> bool | None:
        """Accept it. Raises: InvalidInput, Unavailable."""
        context = info.context
        await context.services.reconciliation.account.accept(
            actor=context.caller.actor, reason=reason, at=context.at
        )
        return True

    @described("Have a finding acted on again, from the first attempt.")
    async def retry_finding(self, info: Info, id: strawberry.ID, reason: str) -> bool | None:  # noqa: A002 - the contract's word
        """Retry one. Raises: NotFound."""
        context = info.context
        await context.services.findings.retry(
            _number(id), actor=context.caller.actor, reason=reason, at=context.at
        )
        return True

    @described("Say that a finding was put right, or that nothing has to be done.")
    async def resolve_finding(self, info: Info, id: strawberry.ID, reason: str) -> bool | None:  # noqa: A002 - the contract's word
        """Resolve one. Raises: NotFound."""
        context = info.context
        await context.services.findings.resolve(
            _number(id), actor=context.caller.actor, reason=reason, at=context.at
        )
        return True


def _number(said: str) -> int:
    if not (said.isascii() and said.isdigit() and len(said) < 19):  # noqa: PLR2004 - digits of 2^63
        raise NotFound(f"There is no finding {said[:50]!r}.")
    return int(said)


def _finding_of(row: Record) -> ReconciliationFinding:
    return ReconciliationFinding(
        id=strawberry.ID(str(row["id"])),
        kind=row["kind"],
        object_id=row["object_id"],
        customer_key=row["customer_key"],
        state=FindingState(row["state"]),
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        last_error=row["last_error"],
        detail=Json(row["detail"]),
        found_at=row["found_at"],
        resolved_at=row["resolved_at"],
        resolved_by=row["resolved_by"],
        resolution=row["resolution"],
    )


def _run_of(row: Record) -> ReconciliationRun:
    return ReconciliationRun(
        id=strawberry.ID(str(row["id"])),
        scope=row["scope"],
        executed=row["execute"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        counts=Json(row["counts"]),
        error=row["error"],
        actor=row["actor"],
        reason=row["reason"],
        correlation_id=row["correlation_id"],
    )


def _report_of(report: Report) -> ReconciliationReport:
    return ReconciliationReport(
        run=report.run_id,
        executed=report.execute,
        counts=Json(dict(report.counts)),
        differences=[
            ReconciliationDifference(
                kind=found.kind.value,
                subscription_id=found.subscription_id,
                fields=Json([list(field) for field in found.fields]),
            )
            for found in report.differences
        ],
    )
