"""``headroom credits check`` and ``refund-overcharged``: what concerns everybody's credits."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.credit_acts import Reference, because_of
from api.cli.credits import instant_of
from api.cli.options import Actor, DataDir, FeatureKey, Json, Reason
from api.cli.output import note, say, say_json, say_table
from api.cli.running import on_core
from api.domain.catalog import Rounding
from api.domain.errors import InvalidInput
from api.gates.booked import Rebuilt
from api.gates.refunding import Refund, RightCost
from api.ledger.checks import Finding
from api.ledger.overcharges import Difference
from api.wiring import Core
from api.wiring.operating import bookkeeping_of, refunding_of


def add_to(group: typer.Typer) -> None:
    """Make these commands of the group."""
    group.command()(check)
    group.command(name="refund-overcharged")(refund_overcharged)


def check(
    key: Annotated[str | None, typer.Argument(help="One customer; all by default.")] = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild balances that differ from their entries.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; with --repair.")] = None,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Say where balances and ledger disagree; exits with 1 while anything is wrong."""
    if repair != (reason is not None):
        raise InvalidInput("Give --repair with a --reason, or neither.")

    async def checked(core: Core) -> tuple[list[Finding], list[Rebuilt]]:
        books = bookkeeping_of(core)
        found = await books.check(key, core.clock.now())
        if reason is None:
            return found, []
        rebuilt = await books.rebuild(found, because_of(core, actor, reason, None))
        return await books.check(key, core.clock.now()), rebuilt

    found, rebuilt = on_core(data_dir, checked)
    if as_json:
        say_json({"findings": found, "rebuilt": [_rebuilt(one) for one in rebuilt]})
    else:
        for one in rebuilt:
            say(f"customer {one.customer_id}: the balances of {len(one.grants)} grants are rebuilt")
        if found:
            say_table(
                ("finding", "severity", "customer", "grant", "operation", "observed", "expected"),
                [
                    (
                        f.kind,
                        f.severity,
                        f.customer_id,
                        f.grant_id,
                        f.operation_id,
                        f.observed,
                        f.expected,
                    )
                    for f in found
                ],
            )
        else:
            say("Balances and ledger agree.")
    if found:
        raise typer.Exit(1)


def refund_overcharged(  # noqa: PLR0913 - one for each option
    feature: FeatureKey,
    *,
    from_: Annotated[str, typer.Option("--from", help="As 2026-03-01T00:00:00Z.")],
    to: Annotated[str, typer.Option("--to", help="Likewise; itself not included.")],
    credits: Annotated[  # noqa: A002 - the field's own word
        int | None, typer.Option(help="The right cost; the newest catalog's by default.")
    ] = None,
    per: Annotated[int | None, typer.Option(help="For so many units; 1 by default.")] = None,
    rounding: Annotated[Rounding | None, typer.Option(help="up by default.")] = None,
    minimum: Annotated[int | None, typer.Option(help="0 by default.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply/--dry-run", help="Return it, or (the default) only say what.")
    ] = False,
    reason: Reason,
    reference: Reference = None,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Return to everybody what a feature was charged above its right cost, once.

    Stopped in the middle, run it again: what was returned is not returned twice.
    """
    refund = Refund(
        feature=feature,
        since=instant_of(from_, "--from"),
        until=instant_of(to, "--to"),
        cost=RightCost(credits=credits, per=per, rounding=rounding, minimum=minimum),
    )

    async def refunded(core: Core) -> list[Difference]:
        refunding = refunding_of(core)
        because = because_of(core, actor, reason, reference)
        owed: list[Difference] = []
        after: int | None = 0
        while after is not None:
            page = await refunding.page(refund, because, dry_run=not apply, after=after)
            owed += page.customers
            after = page.after
            if after is not None:
                total = sum(one.credits for one in owed)
                note(f"{len(owed)} customers so far, {total} credits")
        return owed

    owed = on_core(data_dir, refunded)
    total = sum(one.credits for one in owed)
    if as_json:
        say_json({"dry_run": not apply, "credits": total, "customers": owed})
        return
    say_table(
        ("customer", "operations", "charged", "right", "returned before", "credits"),
        [(d.customer, d.operations, d.charged, d.right, d.returned, d.credits) for d in owed],
    )
    done = "were returned" if apply else "would be returned; --apply does it"
    say(f"{total} credits to {len(owed)} customers {done}.")


def _rebuilt(one: Rebuilt) -> dict[str, object]:
    kept = {str(i): {"available": a, "held": h} for i, (a, h) in one.grants.items()}
    return {"customer": one.customer_id, "grants": kept}
