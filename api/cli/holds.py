"""``headroom holds``: what is set aside for a customer."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.operator import actor_name
from api.cli.options import Actor, CustomerKey, DataDir, Json, Reason
from api.cli.output import say, say_json, say_table
from api.cli.running import on_core
from api.gates.held import Hold, Whose
from api.ledger.holds import HoldState
from api.wiring import Core

app = typer.Typer(no_args_is_help=True, help="What is set aside for a customer.")

_HEADINGS = (
    "hold",
    "feature",
    "state",
    "units",
    "captured",
    "held",
    "credits held",
    "placed",
    "expires",
    "by",
)


@app.command(name="list")
def list_(
    key: CustomerKey,
    *,
    state: Annotated[HoldState | None, typer.Option(help="Only holds of this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List a customer's holds, newest first."""

    async def found(core: Core) -> list[Hold]:
        return await core.holding.list_(key, limit, state=state)

    holds = on_core(data_dir, found)
    if as_json:
        say_json([_plain(hold) for hold in holds])
        return
    rows = [
        (
            hold.id,
            hold.feature,
            hold.record.state,
            hold.record.units,
            hold.record.captured,
            hold.record.held,
            hold.record.held_credits,
            hold.record.at,
            hold.record.expires_at,
            hold.record.actor,
        )
        for hold in holds
    ]
    say_table(_HEADINGS, rows)


@app.command()
def void(
    key: CustomerKey,
    hold: Annotated[str, typer.Argument(help="The hold's id, as it is listed.")],
    *,
    reason: Reason,
    actor: Actor = None,
    data_dir: DataDir = None,
) -> None:
    """Give back all that a hold still holds."""

    async def ended(core: Core) -> Hold:
        at_ms = int(core.clock.now().timestamp() * 1000)
        whose = Whose(key, hold, None, at_ms, actor or actor_name())
        return await core.holding.end(whose, reason)

    record = on_core(data_dir, ended).record
    units, credits_ = record.units - record.captured, record.credits - record.spent
    say(f"{key}: {units} units and {credits_} credits are given back.")


def _plain(hold: Hold) -> dict[str, object]:
    record = hold.record
    return {
        "id": hold.id,
        "feature": hold.feature,
        "state": record.state,
        "units": record.units,
        "captured": record.captured,
        "held": record.held,
        "charged": record.charged,
        "credits": record.credits,
        "spent_credits": record.spent,
        "held_credits": record.held_credits,
        "placed_at": record.at,
        "expires_at": record.expires_at,
        "resolved_at": record.resolved_at,
        "actor": record.actor,
    }
