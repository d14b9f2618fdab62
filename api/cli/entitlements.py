"""``headroom entitlements``: what a customer may do, and why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from api.catalog.customers import Entitled
from api.cli.figures import windows_json, windows_text
from api.cli.operator import actor_name
from api.cli.options import Actor, CustomerKey, DataDir, FeatureKey, Json, Reason
from api.cli.output import instant, say, say_json, say_table
from api.cli.running import on_core
from api.domain.decision import WindowFigure
from api.domain.entitlements import Entitlement
from api.domain.errors import InvalidInput
from api.gates.explain import Explained
from api.gates.repair import Repaired
from api.wiring import Core
from api.wiring.operating import explain_of, rebuild_of

app = typer.Typer(no_args_is_help=True, help="What a customer may do, and why.")


@app.command()
def show(key: CustomerKey, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Show every feature of a customer, with its windows as they stand."""

    async def found(core: Core) -> tuple[Entitled, Mapping[str, tuple[WindowFigure, ...] | None]]:
        at = core.clock.now()
        customer = await core.customers.get(key)
        entitled = (await core.customers.entitled([customer.id], at))[customer.id]
        features = list(entitled.entitlements.features)
        return entitled, await core.gate.figures(key, features, _ms(at))

    entitled, figures = on_core(data_dir, found)
    features = entitled.entitlements.features
    if as_json:
        said = {
            name: {
                "granted": entitlement.granted,
                "value": entitlement.value,
                "windows": windows_json(figures[name] or ()),
            }
            for name, entitlement in features.items()
        }
        say_json({"customer": key, "plan": entitled.entitlements.plan, "features": said})
        return
    say(f"{key}: plan {entitled.entitlements.plan}")
    rows = [(name, _kind(e), e.granted, _figures(e, figures[name])) for name, e in features.items()]
    say_table(("feature", "kind", "granted", "now"), rows)


@app.command()
def explain(
    key: CustomerKey, feature: FeatureKey, *, as_json: Json = False, data_dir: DataDir = None
) -> None:
    """Say why a customer may, or may not, use a feature."""

    async def explained(core: Core) -> Explained:
        return await explain_of(core).entitlement(key, feature, core.clock.now())

    found = on_core(data_dir, explained)
    said = found.explanation
    if as_json:
        say_json(
            {
                "customer": found.customer,
                "newest_revision": found.newest_revision,
                "plan": said.entitlements.plan,
                "granted": said.entitlement.granted,
                "value": said.entitlement.value,
                "holdings": said.holdings,
                "offers": said.offers,
                "override": found.override,
                "decision": found.decision,
                "trouble": found.trouble,
            }
        )
        return
    revision = found.customer.catalog_revision
    say(f"{key}: plan {said.entitlements.plan}, by catalog revision {revision}")
    for holding in said.holdings:
        one = holding.subscription
        say(f"subscription {one.id} to {one.plan}, {one.status.value}: {holding.why}")
    for offer in said.offers:
        amount = ", ".join(
            f"{'unlimited' if limit.units is None else limit.units} a {limit.window.value}"
            for limit in offer.offer.limits
        )
        verdict = amount or ("yes" if offer.offer.enabled else "no")
        quantity = f" x {offer.quantity}" if offer.quantity != 1 else ""
        say(f"{offer.source} {offer.name}{quantity}: {verdict}")
    if found.override is not None:
        until = instant(found.override.facts.expires_at)
        say(f"override by {found.override.actor} until {until}: {found.override.reason}")
    if not said.entitlement.granted:
        say(f"so {feature} is not granted")
    if found.decision is not None:
        say(f"one unit now: {'allowed' if found.decision.allowed else found.decision.message}")
        for line in windows_text(found.decision.windows):
            say(f"  {line}")
    if found.trouble is not None:
        say(f"the gate cannot say: {found.trouble}")


@app.command()
def rebuild(
    key: Annotated[str | None, typer.Argument(help="A customer; or give --all.")] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Every customer.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --all: only say how many they are.")
    ] = False,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Derive rights from the record again, and have the gate know them."""
    if (key is None) != all_ or (dry_run and not all_):
        raise InvalidInput("Name a customer, or give --all (and with it, --dry-run).")
    who = actor or actor_name()
    if key is not None:
        _rebuild_one(key, who, reason, data_dir, as_json=as_json)
        return

    async def rebuilt(core: Core) -> int:
        at = core.clock.now()
        return await rebuild_of(core).all(at=at, actor=who, reason=reason, dry_run=dry_run)

    customers = on_core(data_dir, rebuilt)
    if as_json:
        say_json({"customers": customers, "dry_run": dry_run})
    else:
        say(f"{customers} customers {'would be' if dry_run else 'were'} rebuilt.")


def _rebuild_one(key: str, who: str, reason: str, data_dir: Path | None, *, as_json: bool) -> None:
    async def rebuilt(core: Core) -> Repaired:
        at = core.clock.now()
        return await core.repair.entitlements_rebuild(key, actor=who, reason=reason, at=at)

    show_repaired(on_core(data_dir, rebuilt), as_json=as_json)


def show_repaired(done: Repaired, *, as_json: bool) -> None:
    """Show what a repair changed."""
    if as_json:
        before = {f: windows_json(w or ()) for f, w in done.before.items()}
        after = {f: windows_json(w or ()) for f, w in done.after.items()}
        facts = {"customer": done.customer, "units": done.units}
        say_json({**facts, "before": before, "after": after})
        return
    rows = []
    for feature, windows in done.after.items():
        used = {w.window: w.used for w in done.before.get(feature) or ()}
        rows += [(feature, w.window, used.get(w.window), w.used, w.limit) for w in windows or ()]
    say_table(("feature", "window", "used before", "used now", "limit"), rows)


def _kind(entitlement: Entitlement) -> str:
    return entitlement.feature.kind.value


def _figures(entitlement: Entitlement, windows: tuple[WindowFigure, ...] | None) -> str:
    if windows:
        return "; ".join(windows_text(windows))
    return "-" if entitlement.value is None else str(entitlement.value)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
