"""``headroom alerts``: what a person should know of."""

from __future__ import annotations

from typing import Annotated

import typer

from api.catalog import alerts
from api.catalog.alerts import Alert
from api.cli.operator import actor_name
from api.cli.options import LARGEST_NUMBER, Actor, DataDir, Json, Reason
from api.cli.output import say, say_json, say_table
from api.cli.running import on_core
from api.wiring import Core

app = typer.Typer(no_args_is_help=True, help="What a person should know of.")


@app.command(name="list")
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Acknowledged ones too.")] = False,
    kind: Annotated[str | None, typer.Option(help="As webhook_silence.")] = None,
    first: Annotated[int, typer.Option(min=1, max=200, help="The most to show.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List alerts, the latest first."""

    async def found(core: Core) -> list[Alert]:
        return await alerts.list_(core.database, first=first, open_only=not everything, kind=kind)

    rows = on_core(data_dir, found)
    if as_json:
        say_json(rows)
        return
    head = ("id", "at", "severity", "kind", "about", "message", "seen by")
    say_table(
        head,
        [
            (r.id, r.at, r.severity.value, r.kind, r.subject, r.message, r.acknowledged_by)
            for r in rows
        ],
    )


@app.command()
def acknowledge(
    alert_id: Annotated[
        int, typer.Argument(min=1, max=LARGEST_NUMBER, help="Its number, as in the list.")
    ],
    *,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Say that somebody has seen to an alert."""

    async def done(core: Core) -> Alert:
        return await alerts.acknowledge(
            core.database,
            alert_id,
            actor=actor or actor_name(),
            reason=reason,
            at=core.clock.now(),
        )

    row = on_core(data_dir, done)
    if as_json:
        say_json(row)
    else:
        say(f"Alert {row.id}, {row.kind}, was seen to by {row.acknowledged_by}.")
