"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="The data folder of an embedded server; HEADROOM_DATA_DIR, else the default."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]
ReasonToExecute = Annotated[
    str | None,
    typer.Option("--reason", help="Why; kept in the audit log. Needed with --execute."),
]

Actor = Annotated[
    str | None, typer.Option(help="Who; kept in the audit log. Default: you, on this machine.")
]
LARGEST_NUMBER = 2**63 - 1
"""The largest that a row can have."""

CustomerKey = Annotated[str, typer.Argument(help="The product's own name for the customer.")]
FeatureKey = Annotated[str, typer.Argument(help="A feature of the catalog.")]


def reason_to_execute(given: str | None) -> str:
    """Return why something is done. Raises: BadParameter, where nobody says."""
    if not given:
        raise typer.BadParameter("--execute needs --reason: say why.", param_hint="--reason")
    return given
