"""``headroom sync`` and ``headroom reconcile``: putting the record in step with the provider."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.billing.listed_files import listed_in
from api.billing.reconcile import NOT_LINKED, Asked, Report
from api.billing.stripe_account import SUBSCRIPTION, listed
from api.cli.operator import actor_name
from api.cli.options import (
    Actor,
    CustomerKey,
    DataDir,
    Json,
    Reason,
    ReasonToExecute,
    reason_to_execute,
)
from api.cli.output import note, say, say_json, say_table
from api.cli.running import on_core
from api.wiring import Core
from api.wiring.payments import reconciliation_of, stripe_of

app = typer.Typer(no_args_is_help=True, help="Put the record in step with the payment provider.")

Execute = Annotated[
    bool, typer.Option("--execute/--dry-run", help="Heal, or only say what differs (default).")
]
File = Annotated[
    Path | None,
    typer.Option(
        "--from", exists=True, dir_okay=False, help="An exported list: .csv, or lines of JSON."
    ),
]


@app.command()
def customer(
    key: CustomerKey,
    *,
    execute: Execute = False,
    reason: ReasonToExecute = None,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Compare one customer's subscriptions and invoices with the provider's."""
    _compare(key, None, execute=execute, who=(actor, reason), as_json=as_json, data_dir=data_dir)


@app.command(name="all")
def all_(
    *,
    execute: Execute = False,
    file: File = None,
    reason: ReasonToExecute = None,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Compare everybody's subscriptions with the provider's, or with an exported list."""
    _compare(None, file, execute=execute, who=(actor, reason), as_json=as_json, data_dir=data_dir)


def reconcile(
    *,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Do the daily pass now: compare and heal everything, purchases and invoices too."""
    _compare(None, None, execute=True, who=(actor, reason), as_json=as_json, data_dir=data_dir)


def _compare(
    key: str | None,
    file: Path | None,
    *,
    execute: bool,
    who: tuple[str | None, str | None],
    as_json: bool,
    data_dir: Path | None,
) -> None:
    why = reason_to_execute(who[1]) if execute else who[1] or "to see what differs"

    async def compared(core: Core) -> Report:
        customer_id = None if key is None else (await core.customers.get(key)).id
        async with stripe_of(core.settings) as stripe:
            return await reconciliation_of(core, stripe).run(
                Asked(
                    customer_id,
                    execute=execute,
                    listed=None if file is None else listed_in(file, listed, SUBSCRIPTION),
                ),
                actor=who[0] or actor_name(),
                reason=why,
                at=core.clock.now(),
                progress=_progress,
            )

    report = on_core(data_dir, compared)
    if report.counts[NOT_LINKED]:
        note(
            f"{key} is not linked at Stripe yet, and Stripe's search finds nobody of that name: "
            "run `headroom sync all`, which finds who is too new for it."
        )
    if as_json:
        say_json(report)
        return
    rows = [
        (
            found.kind,
            found.subscription_id,
            ", ".join(f"{n}: {a or '-'} > {b or '-'}" for n, a, b in found.fields),
        )
        for found in report.differences
    ]
    if rows:
        say_table(("difference", "subscription", "here > at the provider"), rows)
    for name, count in sorted(report.counts.items()):
        say(f"{name:<32} {count}")
    healed = "are read anew" if execute else "would be read anew with --execute"
    note(f"{report.differing} of {report.counts['compared']} differ; those that can be {healed}.")


def _progress(compared: int, differing: int) -> None:
    if sys.stderr.isatty() or compared % 1_000 == 0:
        note(f"{compared} compared, {differing} differ")
