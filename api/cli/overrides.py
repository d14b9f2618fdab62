"""``headroom overrides``: promises to one customer about one feature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from api.catalog.customers import Customer
from api.cli.operator import actor_name
from api.cli.options import Actor, CustomerKey, DataDir, FeatureKey, Reason
from api.cli.output import say
from api.cli.running import on_core
from api.domain.catalog import Limit, Scalar, WindowKind
from api.domain.entitlements import OverrideFacts
from api.domain.errors import InvalidInput
from api.wiring import Core

app = typer.Typer(no_args_is_help=True, help="Promises to one customer about one feature.")


@app.command(name="set")
def set_(  # noqa: PLR0913 - one for each option
    key: CustomerKey,
    feature: FeatureKey,
    *,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="As day=100 or lifetime=unlimited; may be repeated."),
    ] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Give the feature, or take it away.")
    ] = None,
    value: Annotated[str | None, typer.Option(help="Of a value feature: a number or text.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="For how many days.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="Until when: 2026-12-31T23:59:59Z, or with an offset.")
    ] = None,
    reason: Reason,
    actor: Actor = None,
    data_dir: DataDir = None,
) -> None:
    """Promise something, in place of any earlier promise about the same feature."""
    limits = tuple(_limit(text) for text in limit or ())
    if days is not None and expires_at is not None:
        raise InvalidInput("Give --days or --expires-at, not both.")
    ends_at = None if expires_at is None else _instant(expires_at)

    async def promised(core: Core) -> Customer:
        at = core.clock.now()
        ends = ends_at if days is None else at + timedelta(days=days)
        override = OverrideFacts(feature, enabled, _scalar(value), limits, ends)
        who = actor or actor_name()
        return await core.changes.set_override(key, override, at=at, actor=who, reason=reason)

    customer = on_core(data_dir, promised)
    say(f"{customer.key}: override of {feature} is in force.")


@app.command()
def clear(
    key: CustomerKey,
    feature: FeatureKey,
    *,
    reason: Reason,
    actor: Actor = None,
    data_dir: DataDir = None,
) -> None:
    """Take a promise back: what the plan says holds again."""

    async def cleared(core: Core) -> Customer:
        who, at = actor or actor_name(), core.clock.now()
        return await core.changes.clear_override(key, feature, at=at, actor=who, reason=reason)

    customer = on_core(data_dir, cleared)
    say(f"{customer.key}: override of {feature} is cleared.")


def _limit(text: str) -> Limit:
    window, _, units = text.partition("=")
    known = {kind.value: kind for kind in WindowKind}
    if window not in known or not (units == "unlimited" or (units.isascii() and units.isdigit())):
        windows = ", ".join(known)
        raise InvalidInput(
            f"--limit {text!r} is not WINDOW=UNITS, with a window of {windows} and whole units or "
            "'unlimited'."
        )
    return Limit(known[window], None if units == "unlimited" else int(units))


def _scalar(text: str | None) -> Scalar | None:
    if text is None:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidInput(f"--expires-at {text!r} is not an instant as 2026-12-31T23:59:59Z.")
    return at.astimezone(UTC)
