"""The program: its commands, and how errors leave it.

Exit codes: 0 done, 1 refused or failed, 2 typed wrongly. An error is one line on stderr.
"""

from __future__ import annotations

import os
import sys

import typer

from api.cli import (
    alerts,
    buying,
    catalog,
    credit_acts,
    credit_repair,
    credits,  # noqa: A004 - the group's own name
    customers,
    demo,
    entitlements,
    holds,
    keys,
    migrate,
    overrides,
    paying,
    reconciliation,
    report,
    server,
    sync,
    traces,
    usage,
    webhooks,
)
from api.cli.output import note
from api.domain.errors import HeadroomError
from api.infra.settings import SettingsError

app = typer.Typer(
    name="headroom",
    help="May this customer do this now? Plans, entitlements and quotas, kept true.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
server.add_to(app)
credit_acts.add_to(credits.app)
credit_repair.add_to(credits.app)
app.command()(demo.demo)
app.command()(sync.reconcile)
app.command()(traces.trace)
for name, group in {
    "migrate": migrate.app,
    "catalog": catalog.app,
    "keys": keys.app,
    "customers": customers.app,
    "entitlements": entitlements.app,
    "overrides": overrides.app,
    "credits": credits.app,
    "holds": holds.app,
    "usage": usage.app,
    "webhooks": webhooks.app,
    **paying.GROUPS,
    **buying.GROUPS,
    "sync": sync.app,
    "reconciliation": reconciliation.app,
    "alerts": alerts.app,
    "report": report.app,
}.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run one command."""
    try:
        app()
    except SettingsError as error:
        _fail(*error.problems)
    except HeadroomError as error:
        _fail(error.message)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(*problems: str) -> None:
    for problem in problems:
        note(f"headroom: {problem}")
    sys.exit(1)
