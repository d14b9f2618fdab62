"""``headroom credits grant``, ``adjust`` and ``void-grant``: an operator's acts on one customer."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.credits import instant_of
from api.cli.operator import actor_name
from api.cli.options import Actor, CustomerKey, DataDir, Json, Reason
from api.cli.output import say, say_json
from api.cli.running import on_core
from api.domain.catalog import Bucket
from api.gates.booked import USUAL_PRIORITY, Because, Booked, Gift, Voided
from api.wiring import Core
from api.wiring.operating import bookkeeping_of

IdempotencyKey = Annotated[
    str | None, typer.Option("--idempotency-key", help="Names the act: a repeat does nothing more.")
]
Reference = Annotated[str | None, typer.Option(help="An outside name, as a ticket's.")]


def add_to(group: typer.Typer) -> None:
    """Make these commands of the group."""
    group.command()(grant)
    group.command()(adjust)
    group.command(name="void-grant")(void_grant)


def grant(  # noqa: PLR0913 - one for each option
    key: CustomerKey,
    credits: Annotated[int, typer.Argument(min=1)],  # noqa: A002 - the field's own word
    *,
    bucket: Annotated[Bucket, typer.Option()] = Bucket.PERMANENT,
    priority: Annotated[int, typer.Option(help="A lower one burns first.")] = USUAL_PRIORITY,
    effective_at: Annotated[str | None, typer.Option(help="From when; now by default.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="Until when; for ever by default.")] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="Pays for this one only; may be repeated.")
    ] = None,
    reason: Reason,
    reference: Reference = None,
    idempotency_key: IdempotencyKey = None,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Give a customer credits."""
    gift = Gift(
        credits=credits,
        bucket=bucket,
        priority=priority,
        effective_at=None if effective_at is None else instant_of(effective_at, "--effective-at"),
        expires_at=None if expires_at is None else instant_of(expires_at, "--expires-at"),
        features=frozenset(feature) if feature else None,
    )

    async def given(core: Core) -> Booked:
        because = because_of(core, actor, reason, reference, idempotency_key)
        return await bookkeeping_of(core).grant(key, gift, because)

    _show_booked(on_core(data_dir, given), as_json=as_json)


def adjust(
    key: CustomerKey,
    *,
    credits: Annotated[int, typer.Option(help="As 50, or -50 to take back.")],  # noqa: A002 - likewise
    reason: Reason,
    reference: Reference = None,
    idempotency_key: IdempotencyKey = None,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Correct a balance, up by a permanent grant or down in burn order."""

    async def adjusted(core: Core) -> Booked:
        because = because_of(core, actor, reason, reference, idempotency_key)
        return await bookkeeping_of(core).adjust(key, credits, because)

    _show_booked(on_core(data_dir, adjusted), as_json=as_json)


def void_grant(
    key: CustomerKey,
    number: Annotated[int, typer.Argument(min=1, help="As 'credits balance' shows it.")],
    *,
    reason: Reason,
    reference: Reference = None,
    idempotency_key: IdempotencyKey = None,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Take back what is left of a grant; what is spent or held stays so."""

    async def voided(core: Core) -> Voided:
        because = because_of(core, actor, reason, reference, idempotency_key)
        return await bookkeeping_of(core).void_grant(key, number, because)

    done = on_core(data_dir, voided)
    _show_booked(done.booked, as_json=as_json, **{"grant": done.grant_id, **_rest(done)})
    if not as_json:
        say(", ".join(f"{units} {word}" for word, units in _rest(done).items()) + " of it stay so.")


def because_of(
    core: Core, actor: str | None, reason: str, reference: str | None, key: str | None = None
) -> Because:
    """Return who acts now, and why."""
    return Because(
        actor=actor or actor_name(),
        reason=reason,
        at=core.clock.now(),
        reference=reference,
        key=key,
    )


def _rest(done: Voided) -> dict[str, int]:
    return {"spent": done.spent, "held": done.held, "expired": done.expired}


def _show_booked(booked: Booked, *, as_json: bool, **more: int) -> None:
    moved = [{"grant": one.grant, "credits": one.credits} for one in booked.grants]
    if as_json:
        say_json(
            {
                "customer": booked.customer,
                "operation_id": booked.operation_id,
                "credits": booked.credits,
                "grants": moved,
                "available": booked.available,
                "replayed": booked.replayed,
                **more,
            }
        )
        return
    grants = ", ".join(f"{one['credits']:+} of grant {one['grant']}" for one in moved)
    before = ", as before" if booked.replayed else ""
    say(f"{booked.customer}: {booked.credits:+} credits ({grants or 'nothing'}){before}.")
    say(f"{booked.available} are available now.")
