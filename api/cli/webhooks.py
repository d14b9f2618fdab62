"""``headroom webhooks``: what the payment provider told, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from api.billing.catch_up import CaughtUp
from api.billing.inbox import Inbox, StoredEvent
from api.billing.signature_failures import FailureGroup, SignatureFailure
from api.cli.operator import actor_name
from api.cli.options import Actor, DataDir, Json, Reason
from api.cli.output import instant, note, say, say_json, say_table
from api.cli.running import on_core
from api.domain.errors import InvalidInput
from api.wiring import Core
from api.wiring.payments import catch_up_of, inbox_of, stripe_of

app = typer.Typer(no_args_is_help=True, help="Events of the payment provider.")

_STATES = ("pending", "applied", "ignored", "failed", "parked")


@app.command(name="list")
def list_(
    *,
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(_STATES)}.")] = None,
    event_type: Annotated[
        str | None, typer.Option("--type", help="As customer.subscription.updated.")
    ] = None,
    customer: Annotated[str | None, typer.Option(help="A customer's key.")] = None,
    first: Annotated[int, typer.Option(min=1, max=200, help="The most to show.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List events, the latest first."""
    if state is not None and state not in _STATES:
        raise InvalidInput(f"--state is one of {', '.join(_STATES)}, not {state!r}.")

    async def found(core: Core) -> list[StoredEvent]:
        customer_id = None if customer is None else (await core.customers.get(customer)).id
        return await _inbox(core).list_(
            first=first, state=state, event_type=event_type, customer_id=customer_id
        )

    events = on_core(data_dir, found)
    if as_json:
        say_json([_brief(event) for event in events])
        return
    rows = [(e.event_id, e.type, e.received_at, e.state, e.attempts, e.problem) for e in events]
    say_table(("event", "type", "received", "state", "attempts", "problem"), rows)


@app.command()
def show(
    event_id: Annotated[str, typer.Argument(help="The provider's id, as evt_….")],
    *,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show one event, with its payload."""

    async def found(core: Core) -> StoredEvent:
        return await _inbox(core).show(event_id)

    event = on_core(data_dir, found)
    if as_json:
        say_json(event)
        return
    for label, value in _brief(event).items():
        if value is not None:
            say(f"{label:<16} {value}")
    say_json(event.payload)


@app.command()
def failures(
    *,
    by: Annotated[
        str | None, typer.Option(help="Group them: by address, or by customer (as claimed).")
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=8_760, help="How far groups look back.")] = 24,
    customer: Annotated[str | None, typer.Option(help="Only those that claim this key.")] = None,
    first: Annotated[int, typer.Option(min=1, max=200, help="The most to show.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List or group deliveries whose signature did not hold, the latest first."""
    if by not in (None, "address", "customer"):
        raise InvalidInput(f"--by is address or customer, not {by!r}.")

    async def found(core: Core) -> Sequence[SignatureFailure | FailureGroup]:
        kept = _inbox(core).failures
        since = core.clock.now() - timedelta(hours=hours)
        if by == "address":
            return await kept.by_address(since, first)
        if by == "customer":
            return await kept.by_customer(since, first)
        return await kept.list_(customer=customer, first=first)

    rows = on_core(data_dir, found)
    if as_json:
        say_json(rows)
    elif by is None:
        head = ("at", "address", "user agent", "event claimed", "customer claimed", "why", "count")
        one = [row for row in rows if isinstance(row, SignatureFailure)]
        say_table(
            head,
            [
                (r.at, r.remote_address, r.user_agent, r.payload_id, r.customer, r.reason, r.count)
                for r in one
            ],
        )
    else:
        groups = [row for row in rows if isinstance(row, FailureGroup)]
        say_table((by, "count", "last"), [(g.name, g.count, g.last_at) for g in groups])


@app.command()
def replay(
    event_ids: Annotated[
        list[str] | None, typer.Argument(help="Events; or give --all-parked.")
    ] = None,
    *,
    all_parked: Annotated[
        bool, typer.Option("--all-parked", help="Every event that waits for somebody.")
    ] = False,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Those of a type that failed or are parked.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which they are.")] = False,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Have events handled again from the start; what was applied already changes nothing more."""
    if [bool(event_ids), all_parked, event_type is not None].count(True) != 1:
        raise InvalidInput("Name events, or give --all-parked, or --type; one of the three.")

    async def replayed(core: Core) -> list[StoredEvent]:
        return await _inbox(core).replay(
            event_ids or None,
            actor=actor or actor_name(),
            reason=reason,
            at=core.clock.now(),
            dry_run=dry_run,
            event_type=event_type,
        )

    events = on_core(data_dir, replayed)
    if as_json:
        say_json([_brief(event) for event in events])
        return
    for event in events:
        say(f"{event.event_id}  {event.type}")
    note(f"{len(events)} events {'would be' if dry_run else 'are'} handled again.")


@app.command(name="catch-up")
def catch_up(
    *,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"],
            help="From this instant, as 2026-03-01T12:00Z; else from where the last pass ended.",
        ),
    ] = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Fetch events that were never delivered from the provider's list, and have them applied."""

    async def done(core: Core) -> CaughtUp:
        begin = since.replace(tzinfo=UTC) if since is not None and not since.tzinfo else since
        async with stripe_of(core.settings) as stripe:
            return await catch_up_of(core, stripe).since(
                begin, actor=actor or actor_name(), reason=reason, at=core.clock.now()
            )

    found = on_core(data_dir, done)
    if as_json:
        say_json(found)
        return
    say(f"{found.listed} events since {instant(found.since)}, {found.missed} of them new here.")
    if found.beyond_reach:
        note("The provider's list does not reach back that far: run `headroom sync all`.")


def _inbox(core: Core) -> Inbox:
    # Nothing is asked of the provider here, so its door needs no closing.
    return inbox_of(core, stripe_of(core.settings))


def _brief(event: StoredEvent) -> dict[str, object]:
    return {
        "id": event.event_id,
        "type": event.type,
        "state": event.state,
        "problem": event.problem,
        "error": event.error,
        "attempts": event.attempts,
        "received_at": instant(event.received_at),
        "next_attempt_at": instant(event.next_attempt_at),
        "handled_at": None if event.handled_at is None else instant(event.handled_at),
        "version": event.version,
        "object": event.object_id,
        "correlation_id": event.correlation_id,
    }
