"""``headroom report``: figures over a window."""

from __future__ import annotations

from typing import Annotated

import typer

from api.billing.webhook_report import WebhookReport, webhook_report
from api.cli.options import DataDir, Json
from api.cli.output import say, say_json, say_table
from api.cli.running import on_core
from api.wiring import Core
from api.wiring.payments import inbox_of, stripe_of

app = typer.Typer(no_args_is_help=True, help="Figures over a window.")


@app.callback()
def group() -> None:
    """Keep the names of reports, also while there is one."""


@app.command()
def webhooks(
    *,
    window: Annotated[
        int, typer.Option(min=1, max=527_040, help="How many minutes it looks back.")
    ] = 1440,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Report what came of the provider's deliveries: success, failures by type, gaps by day."""

    async def found(core: Core) -> WebhookReport:
        provider = inbox_of(core, stripe_of(core.settings)).provider
        return await webhook_report(core.database, provider, minutes=window, at=core.clock.now())

    report = on_core(data_dir, found)
    if as_json:
        say_json(report)
        return
    rate = "none yet" if report.success_rate is None else f"{report.success_rate:.2%}"
    say(f"events   {report.received}, of which {report.missed} had to be fetched")
    say(f"success  {rate}")
    say(f"refused  {report.refused}")
    say(f"last     {report.last_event_at or 'never'}")
    say_table(("type", "state", "count"), [(r.type, r.state, r.count) for r in report.by_type])
    if report.failures:
        rows = [(r.type, r.problem, r.count) for r in report.failures]
        say_table(("type", "problem", "count"), rows)
    if report.refusals:
        say_table(("refused for", "count"), [(r.reason, r.count) for r in report.refusals])
    days = [(r.day, r.delivered, r.missed, "gap" if r.gap else "") for r in report.days]
    say_table(("day", "delivered", "fetched", ""), days)
