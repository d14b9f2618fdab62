"""``headroom catalog push``: the catalog's products and prices, at the payment provider."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.billing.pushing import Pushed
from api.billing.shelf import Step
from api.catalog.file import load
from api.catalog.problems import CatalogError
from api.cli.operator import actor_name
from api.cli.options import Actor, DataDir, Json, ReasonToExecute, reason_to_execute
from api.cli.output import note, say, say_json
from api.cli.running import on_core
from api.domain.errors import InvalidInput
from api.wiring import Core
from api.wiring.payments import pusher_of, stripe_of


def push(
    file: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, help="A catalog in TOML; default: the one in force."
        ),
    ] = None,
    *,
    execute: Annotated[bool, typer.Option("--execute", help="Do it; else only show it.")] = False,
    retire: Annotated[
        bool, typer.Option("--retire", help="Also put away what is sold no more.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, also with a live key.")] = False,
    reason: ReasonToExecute = None,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Make the payment provider sell what the catalog sells. Safe to repeat."""
    why = reason_to_execute(reason) if execute else None
    try:
        given = load(file) if file is not None else None
    except CatalogError as error:
        for problem in error.problems:
            note(str(problem))
        raise typer.Exit(1) from None

    async def pushed(core: Core) -> Pushed:
        catalog = given or (await core.revisions.current()).catalog
        async with stripe_of(core.settings) as stripe:
            pusher = pusher_of(core, stripe)
            found = await pusher.show(catalog, retire=retire)
            if why is None or not found.plan.steps:
                return found
            if pusher.live and not yes:
                _confirm(found)
            return await pusher.push(
                catalog,
                retire=retire,
                actor=actor or actor_name(),
                reason=why,
                at=core.clock.now(),
                progress=_progress,
            )

    told = on_core(data_dir, pushed)
    if as_json:
        say_json(
            {
                "executed": execute,
                "steps": [step.to_json() for step in told.plan.steps],
                "done": [step.to_json() for step in told.done],
                "sold_no_more": [step.to_json() for step in told.plan.gone],
                "ids": told.names,
            }
        )
        return
    if not told.done:
        _show(told)
    for name, id_ in told.names.items():
        say(f"{name}={id_}")
    if told.plan.steps and not execute:
        note("Nothing was changed; give --execute to do it.")


def _confirm(found: Pushed) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("This key is live, and nobody can be asked: give --yes to go on.")
    _show(found)
    if typer.prompt("This key is live. Type yes to go on", err=True) != "yes":
        raise InvalidInput("Nothing was changed.")


def _show(found: Pushed) -> None:
    for step in found.plan.steps:
        note(str(step))
    if not found.plan.steps:
        note("The provider sells what the catalog sells.")
    for step in found.plan.gone:
        note(f"sold no more (give --retire): {step}")


def _progress(done: int, total: int, step: Step) -> None:
    note(f"{done} of {total}: {step}")
