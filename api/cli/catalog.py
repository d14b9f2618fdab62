"""``headroom catalog``: what is sold, from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from api.catalog.difference import Change, difference
from api.catalog.file import load
from api.catalog.problems import CatalogError
from api.catalog.revisions import NoCatalog
from api.cli import catalog_push
from api.cli.operator import actor_name
from api.cli.options import Actor, DataDir, Json
from api.cli.output import note, say, say_json
from api.cli.running import on_core
from api.domain.catalog import Catalog
from api.domain.errors import InvalidInput
from api.wiring import Core

app = typer.Typer(no_args_is_help=True, help="What is sold: check, compare and apply a file.")
app.command(name="push")(catalog_push.push)

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A catalog in TOML.")]


@app.command()
def check(file: File, *, as_json: Json = False) -> None:
    """Check a file by itself; needs no server."""
    catalog = _read(file, as_json=as_json)
    if as_json:
        say_json({"ok": True, "plans": list(catalog.plans), "features": list(catalog.features)})
    else:
        say(f"{file}: good: {len(catalog.plans)} plans, {len(catalog.features)} features.")


@app.command()
def plan(file: File, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Show what applying a file would change, and change nothing."""
    catalog = _read(file, as_json=as_json)

    async def compare(core: Core) -> tuple[Sequence[Change], Sequence[str]]:
        return await _changes(core, catalog), await core.revisions.hindrances(catalog)

    changes, hindrances = on_core(data_dir, compare)
    if as_json:
        say_json({"changes": [c.to_json() for c in changes], "hindrances": list(hindrances)})
    else:
        _show(changes)
    if hindrances:
        raise InvalidInput("It would be refused. " + " ".join(hindrances))


@app.command()
def apply(
    file: File,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "a new catalog",
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show what changes, apply the file, and bring every customer to it. Usage stays as it is."""
    catalog = _read(file, as_json=as_json)

    async def applied(core: Core) -> tuple[Sequence[Change], int, int]:
        changes = await _changes(core, catalog)
        if not as_json:
            _show(changes)
        at = core.clock.now()
        revision = await core.revisions.apply(catalog, actor or actor_name(), reason, at)
        moved = await core.changes.walk(at, _progress)
        return changes, revision.number, moved

    changes, number, moved = on_core(data_dir, applied)
    if as_json:
        found = [c.to_json() for c in changes]
        say_json({"revision": number, "customers": moved, "changes": found})
    else:
        say(f"Revision {number} is in force; {moved} customers were brought to it.")


async def _changes(core: Core, catalog: Catalog) -> Sequence[Change]:
    try:
        present = (await core.revisions.current()).catalog
    except NoCatalog:
        return difference(None, catalog)
    return difference(present, catalog)


def _read(file: Path, *, as_json: bool) -> Catalog:
    """Return the catalog of a file, or tell every problem and end."""
    try:
        return load(file)
    except CatalogError as error:
        if as_json:
            say_json({"ok": False, "problems": error.problems})
        else:
            for problem in error.problems:
                note(str(problem))
        raise typer.Exit(1) from None
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}.") from None


def _show(changes: Sequence[Change]) -> None:
    for change in changes:
        say(str(change))
        if change.warning:
            say(f"  ! {change.warning}")
    if not changes:
        say("Nothing changes.")


def _progress(done: int, total: int) -> None:
    if total:
        note(f"{done} of {total} customers")
