"""``headroom credits``: what customers have, and where it went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from api.cli.options import CustomerKey, DataDir, Json
from api.cli.output import note, say, say_json, say_table
from api.cli.running import on_core
from api.domain.catalog import Bucket
from api.domain.errors import InvalidInput
from api.gates.outcome import ConsumptionId
from api.ledger import history, standing
from api.ledger.entries import Kind
from api.ledger.heavy_users import HeavyUser, heavy_users
from api.ledger.history import Entry, Filter
from api.ledger.standing import Balance, GrantStanding
from api.ledger.statement import Statement, statement, to_csv
from api.wiring import Core

app = typer.Typer(no_args_is_help=True, help="What customers have of credits, and mending it.")

Until = Annotated[str | None, typer.Option("--to", help="Likewise; now by default.")]
_KINDS = {kind.word: kind for kind in Kind}
_GRANTS = 50


@app.command()
def balance(
    key: CustomerKey,
    *,
    at: Annotated[str | None, typer.Option(help="At an earlier instant; now by default.")] = None,
    before: Annotated[int | None, typer.Option(help="Grants older than this one.", min=1)] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show what a customer has by bucket, and the grants it comes from."""
    asked = None if at is None else instant_of(at, "--at")

    async def found(core: Core) -> tuple[Balance, list[GrantStanding]]:
        customer = await core.customers.get(key)
        now, database = core.clock.now(), core.database
        if asked is not None:
            return await standing.balance_at(database, customer.id, asked), []
        balances = await standing.balances(database, [customer.id], now)
        return balances[customer.id], await standing.grants(database, customer.id, _GRANTS, before)

    stands, grants = on_core(data_dir, found)
    if as_json:
        totals = {"available": stands.available, "held": stands.held}
        said = {"customer": key, **totals, "buckets": stands.buckets}
        say_json(said if asked is not None else {**said, "grants": grants})
        return
    rows = [(one.bucket, one.available, one.held) for one in stands.buckets]
    say_table(("bucket", "available", "held"), [*rows, ("all", stands.available, stands.held)])
    if grants:
        say("")
        say_table(
            ("grant", "bucket", "priority", "given", "left", "held", "expires", "reason"),
            [
                (g.id, g.bucket, g.priority, g.units, g.available, g.held, g.expires_at, g.reason)
                for g in grants
            ],
        )
    if len(grants) == _GRANTS:
        note(f"Older ones: --before {grants[-1].id}")


@app.command()
def ledger(  # noqa: PLR0913 - one for each filter
    key: CustomerKey,
    *,
    kind: Annotated[list[str] | None, typer.Option(help="As spend; may be repeated.")] = None,
    bucket: Annotated[Bucket | None, typer.Option()] = None,
    feature: Annotated[str | None, typer.Option()] = None,
    grant: Annotated[int | None, typer.Option(help="The number of one.", min=1)] = None,
    operation: Annotated[
        str | None, typer.Option(help="The id answered, our name for it, or its caller's.")
    ] = None,
    reference: Annotated[str | None, typer.Option()] = None,
    correlation_id: Annotated[str | None, typer.Option()] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Its first instant.")] = None,
    to: Until = None,
    first: Annotated[int, typer.Option(min=1, max=history.MOST_IN_A_PAGE)] = 50,
    before: Annotated[int | None, typer.Option(help="Entries older than this one.")] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List a customer's entries, newest first."""
    unknown = [word for word in kind or () if word not in _KINDS]
    if unknown:
        raise InvalidInput(f"--kind {unknown[0]!r} is not one of {', '.join(_KINDS)}.")
    wanted = Filter(
        kinds=[_KINDS[word] for word in kind] if kind else None,
        bucket=bucket,
        feature=feature,
        grant_id=grant,
        operations=None if operation is None else ConsumptionId.names_of(operation),
        reference=reference,
        correlation_id=correlation_id,
        since=None if from_ is None else instant_of(from_, "--from"),
        until=None if to is None else instant_of(to, "--to"),
    )

    async def found(core: Core) -> list[Entry]:
        customer = await core.customers.get(key)
        return await history.entries(core.database, customer.id, wanted, first, before)

    rows = on_core(data_dir, found)
    if as_json:
        say_json(rows)
        return
    say_table(
        (
            "entry",
            "at",
            "kind",
            "amount",
            "grant",
            "bucket",
            "feature",
            "units",
            "operation",
            "reference",
            "why",
        ),
        [
            (
                e.id,
                e.at,
                e.kind,
                e.amount,
                e.grant_id,
                e.bucket,
                e.feature,
                e.units,
                e.operation_id,
                e.reference,
                f"{e.reason} ({e.actor})",
            )
            for e in rows
        ],
    )
    if len(rows) == first:
        note(f"There may be more: --before {rows[-1].id}")


@app.command(name="statement")
def statement_(
    key: CustomerKey,
    month: Annotated[str, typer.Argument(help="As 2026-03, in the customer's time zone.")],
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, in stable columns.")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show a customer's month: what stood, what moved, and what stood at its end."""

    async def found(core: Core) -> Statement:
        customer = await core.customers.get(key)
        return await statement(core.database, customer.id, customer.timezone, month)

    summed = on_core(data_dir, found)
    if as_csv:
        say(to_csv(key, summed).rstrip("\n"))
        return
    if as_json:
        say_json({"customer": key, "total": summed.total, **_plain(summed)})
        return
    say(f"{key}: {summed.month} in {summed.zone}")
    lines = [(line.bucket.value, line.figures) for line in summed.buckets]
    lines.append(("all", summed.total))
    say_table(
        ("bucket", *(name.replace("_", " ") for name in summed.total)),
        [(name, *figures.values()) for name, figures in lines],
    )
    if summed.features:
        say("")
        rows = [(f.feature, f.units, f.spent, f.returned, f.credits) for f in summed.features]
        say_table(("feature", "units", "spent", "returned", "credits"), rows)


@app.command(name="heavy-users")
def heavy_users_(
    *,
    from_: Annotated[
        str | None, typer.Option("--from", help="Its first instant; 30 days ago by default.")
    ] = None,
    to: Until = None,
    first: Annotated[int, typer.Option(min=1, max=1000, help="How many customers.")] = 20,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List who spent most credits, on what, and how much of the whole."""
    since = None if from_ is None else instant_of(from_, "--from")
    until = None if to is None else instant_of(to, "--to")

    async def found(core: Core) -> list[HeavyUser]:
        end = until or core.clock.now()
        start = since or end - timedelta(days=30)
        return await heavy_users(core.database, start, end, first)

    users = on_core(data_dir, found)
    if as_json:
        say_json(users)
        return
    rows = [
        (
            user.customer,
            user.credits,
            f"{user.share:.1%}",
            ", ".join(f"{f.feature or '-'} {f.credits} for {f.units}" for f in user.features),
        )
        for user in users
    ]
    say_table(("customer", "credits", "share", "features"), rows)


def instant_of(text: str, option: str) -> datetime:
    """Read an instant; a date is its first one in UTC. Raises: InvalidInput."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is not None and len(text) == len("2026-12-31"):
        at = at.replace(tzinfo=UTC)
    if at is None or at.tzinfo is None:
        raise InvalidInput(
            f"{option} {text!r} is neither an instant as 2026-12-31T23:59:59Z nor a date."
        )
    return at.astimezone(UTC)


def _plain(summed: Statement) -> dict[str, object]:
    return {
        "month": summed.month,
        "timezone": summed.zone,
        "starts_at": summed.starts_at,
        "ends_at": summed.ends_at,
        "buckets": [{"bucket": line.bucket, **line.figures} for line in summed.buckets],
        "features": [
            {"feature": f.feature, "units": f.units, "credits": f.credits} for f in summed.features
        ],
    }
