"""``headroom trace``: what was written under one correlation id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from api.billing import traces
from api.billing.traces import TraceEntry
from api.cli.options import DataDir, Json
from api.cli.output import say_json, say_table
from api.cli.running import on_core
from api.wiring import Core


def trace(
    correlation_id: Annotated[str, typer.Argument(help="As log lines and answers say it.")],
    *,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show events, operations, changes, ledger, audit and alerts under one correlation id."""

    async def found(core: Core) -> Sequence[TraceEntry]:
        return await traces.find(core.database, correlation_id)

    rows = on_core(data_dir, found)
    if as_json:
        say_json(rows)
        return
    say_table(
        ("at", "source", "customer", "what", "reference"),
        [(r.at, r.source, r.customer, r.what, r.reference) for r in rows],
    )
