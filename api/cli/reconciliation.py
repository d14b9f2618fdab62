"""``headroom reconciliation``: what was found that takes an act or a person."""

from __future__ import annotations

from typing import Annotated

import typer

from api.billing.account import AccountIdentity
from api.billing.queue import ReconciliationQueue
from api.cli.operator import actor_name
from api.cli.options import LARGEST_NUMBER, Actor, DataDir, Json, Reason
from api.cli.output import note, say_json, say_table
from api.cli.running import on_core
from api.domain.errors import InvalidInput
from api.infra.postgres import Record
from api.wiring import Core
from api.wiring.payments import reconciliation_of, reconciliation_queue_of, stripe_of

app = typer.Typer(no_args_is_help=True, help="Findings of comparisons with the provider.")

_STATES = ("open", "acting", "resolved", "given_up")

Item = Annotated[int, typer.Argument(min=1, max=LARGEST_NUMBER, help="Its number, as in the list.")]


@app.command(name="list")
def list_(
    *,
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(_STATES)}.")] = None,
    first: Annotated[int, typer.Option(min=1, max=200, help="The most to show.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List findings, the latest first."""
    if state is not None and state not in _STATES:
        raise InvalidInput(f"--state is one of {', '.join(_STATES)}, not {state!r}.")

    async def found(core: Core) -> list[Record]:
        return await _queue(core).list_(first=first, state=state)

    rows = on_core(data_dir, found)
    if as_json:
        say_json([dict(row) for row in rows])
        return
    names = ("id", "kind", "object_id", "customer_key", "state", "attempts", "next_attempt_at")
    say_table((*names, "last_error"), [[row[n] for n in (*names, "last_error")] for row in rows])


@app.command()
def runs(
    *,
    first: Annotated[int, typer.Option(min=1, max=200, help="The most to show.")] = 20,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List comparisons, the latest first; one without an end has died, and is begun again."""

    async def found(core: Core) -> list[Record]:
        return await reconciliation_of(core, stripe_of(core.settings)).runs(first)

    rows = on_core(data_dir, found)
    if as_json:
        say_json([dict(row) for row in rows])
        return
    names = ("id", "scope", "execute", "started_at", "finished_at", "actor", "error")
    say_table(names, [[row[name] for name in names] for row in rows])


@app.command()
def retry(item: Item, *, reason: Reason, actor: Actor = None, data_dir: DataDir = None) -> None:
    """Have a finding acted on again, from the first attempt."""

    async def done(core: Core) -> None:
        await _queue(core).retry(
            item, actor=actor or actor_name(), reason=reason, at=core.clock.now()
        )

    on_core(data_dir, done)
    note(f"Finding {item} is acted on again.")


@app.command()
def resolve(item: Item, *, reason: Reason, actor: Actor = None, data_dir: DataDir = None) -> None:
    """Say that a finding was put right, or that nothing has to be done."""

    async def done(core: Core) -> None:
        await _queue(core).resolve(
            item, actor=actor or actor_name(), reason=reason, at=core.clock.now()
        )

    on_core(data_dir, done)
    note(f"Finding {item} is resolved.")


@app.command(name="accept-account")
def accept_account(*, reason: Reason, actor: Actor = None, data_dir: DataDir = None) -> None:
    """Let the record follow the account of the present key from now on."""

    async def done(core: Core) -> AccountIdentity:
        async with stripe_of(core.settings) as stripe:
            return await reconciliation_of(core, stripe).account.accept(
                actor=actor or actor_name(), reason=reason, at=core.clock.now()
            )

    accepted = on_core(data_dir, done)
    mode = "live" if accepted.live else "test"
    note(f"The record follows account {accepted.id or '(not told)'} in {mode} mode.")


def _queue(core: Core) -> ReconciliationQueue:
    # Nothing is asked of the provider here, so its door needs no closing.
    return reconciliation_queue_of(core, stripe_of(core.settings))
