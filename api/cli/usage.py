"""``headroom usage``: what was used, and putting it right."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from api.cli.entitlements import show_repaired
from api.cli.figures import windows_json, windows_text
from api.cli.operator import actor_name
from api.cli.options import Actor, CustomerKey, DataDir, FeatureKey, Json, Reason
from api.cli.output import note, say, say_json, say_table
from api.cli.running import on_core
from api.domain.catalog import WindowKind
from api.domain.decision import WindowFigure
from api.domain.windows import Frame, Window, window_at
from api.gates.repair import Repaired, UsageExplained
from api.wiring import Core

app = typer.Typer(no_args_is_help=True, help="What was used, and putting it right.")

_MOST_DAYS = 366


@app.command()
def show(
    key: CustomerKey,
    feature: FeatureKey,
    *,
    days: Annotated[
        int, typer.Option(min=1, max=_MOST_DAYS, help="How many days of history, by day.")
    ] = 7,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show a feature's windows as they stand, and what was used day by day."""

    async def found(
        core: Core,
    ) -> tuple[tuple[WindowFigure, ...] | None, list[Window], list[int]]:
        at = core.clock.now()
        customer = await core.customers.get(key)
        figures = await core.gate.figures(key, [feature], int(at.timestamp() * 1000))
        frame = Frame(WindowKind.DAY, zone=customer.timezone)
        past = [window_at(frame, at)]
        while len(past) < days:
            past.insert(0, window_at(frame, past[0].starts_at - timedelta(seconds=1)))
        feature_id = core.revisions.newest.feature_ids[feature]
        return figures[feature], past, await core.usage.history(customer.id, feature_id, past)

    windows, past, units = on_core(data_dir, found)
    if as_json:
        points = [
            {"startsAt": w.starts_at, "endsAt": w.ends_at, "units": u}
            for w, u in zip(past, units, strict=True)
        ]
        now = None if windows is None else windows_json(windows)
        say_json({"customer": key, "feature": feature, "windows": now, "usage": points})
        return
    for line in windows_text(windows or ()) or ["not granted, or not limited"]:
        say(line)
    rows = [(window.starts_at, used) for window, used in zip(past, units, strict=True)]
    say_table(("day from", "units"), rows)


@app.command()
def explain(
    key: CustomerKey,
    feature: Annotated[str | None, typer.Argument(help="One feature; all by default.")] = None,
    *,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Say what each counter rests on: the gate's figures, the counter, and the record."""

    async def explained(core: Core) -> UsageExplained:
        return await core.repair.usage_explain(key, feature, core.clock.now())

    found = on_core(data_dir, explained)
    if as_json:
        features = {
            name: [
                {
                    **windows_json([counter.figure])[0],
                    "counted": counter.counted,
                    "recorded": counter.recorded,
                    "drifted": counter.drifted,
                }
                for counter in counters
            ]
            for name, counters in found.features.items()
        }
        facts = {"shard": found.shard, "epoch": found.epoch, "waiting": found.waiting}
        say_json({"customer": key, **facts, "settled": found.settled, "features": features})
        return
    say(f"{key}: shard {found.shard}, epoch {found.epoch}, {found.waiting} operations to record")
    rows = [
        (
            name,
            counter.figure.window,
            counter.figure.used,
            "unknown" if counter.counted is None else counter.counted,
            counter.recorded,
            counter.figure.limit,
            "yes" if counter.drifted else "no",
        )
        for name, counters in found.features.items()
        for counter in counters
    ]
    say_table(("feature", "window", "used", "counter", "record", "limit", "drifted"), rows)
    if not found.settled:
        note("The customer is busy: counter and record are of slightly different moments.")


@app.command()
def reset(
    key: CustomerKey,
    feature: FeatureKey,
    *,
    window: Annotated[
        WindowKind | None, typer.Option(help="Its present window; all that reset by default.")
    ] = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Give back what was used in the present window, by entries in the record."""

    async def done(core: Core) -> Repaired:
        who, at = actor or actor_name(), core.clock.now()
        return await core.repair.usage_reset(key, feature, window, actor=who, reason=reason, at=at)

    repaired = on_core(data_dir, done)
    if not as_json:
        say(f"{repaired.units} units of {feature} were given back to {key}.")
    show_repaired(repaired, as_json=as_json)


@app.command()
def rebuild(
    key: CustomerKey,
    *,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Have all counters of a customer filled from the record again."""

    async def done(core: Core) -> Repaired:
        who, at = actor or actor_name(), core.clock.now()
        return await core.repair.usage_rebuild(key, actor=who, reason=reason, at=at)

    show_repaired(on_core(data_dir, done), as_json=as_json)
