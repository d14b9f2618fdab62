"""``headroom migrate``: the schema of the record, forward and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from api.cli.engines import Engines
from api.cli.options import DataDir, Json
from api.cli.output import instant, note, say, say_json, say_table
from api.cli.running import settings_here
from api.domain.errors import InvalidInput
from api.infra.migrations import Migrator

app = typer.Typer(no_args_is_help=True, help="Move the record's schema forward and back.")


@app.command()
def up(
    *,
    to: Annotated[int | None, typer.Option(help="Stop after this one.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Apply every migration that is missing; at a start, 'serve' does this by itself."""
    applied = asyncio.run(_migrator(data_dir).up(to))
    for name in applied:
        say(f"applied {name}")
    if not applied:
        note("Nothing to apply.")


@app.command()
def down(
    *,
    steps: Annotated[int, typer.Option(min=1, help="How many to undo.")] = 1,
    to: Annotated[
        int | None, typer.Option(min=0, help="Undo all after this one; 0 undoes everything.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="The data that goes with them may go.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Undo migrations, and lose the data that they made room for."""
    migrator = _migrator(data_dir)
    if not yes:
        raise InvalidInput("This drops tables with their data. Repeat it with --yes.")
    undone = asyncio.run(migrator.down(steps=steps, to=to))
    for name in undone:
        say(f"undid {name}")
    if not undone:
        note("Nothing to undo.")


@app.command()
def status(*, as_json: Json = False, data_dir: DataDir = None) -> None:
    """List every migration, and when it was applied. Exits with 1 while any is missing."""
    found = asyncio.run(_migrator(data_dir).status())
    if as_json:
        say_json(found)
    else:
        rows = [(m.name, instant(m.applied_at) if m.applied_at else "missing") for m in found]
        say_table(("migration", "applied"), rows)
    if any(m.applied_at is None for m in found):
        raise typer.Exit(1)


def _migrator(data_dir: Path | None) -> Migrator:
    settings = settings_here()
    if settings.database_url and data_dir is None:
        # The counters have no schema, so only the record must be named.
        return Migrator(settings.database_direct_url or settings.database_url)
    return Migrator(Engines.find(settings, data_dir).direct_url)
