"""``headroom checkout``, ``portal`` and ``operations``, and what else is bought at the provider."""

from __future__ import annotations

from typing import Annotated

import typer

from api.billing.actions import BillingActions, When
from api.billing.acts import Preview
from api.billing.baskets import Basket
from api.billing.operations import Operation
from api.billing.support_actions import SupportActions
from api.cli.options import Actor, CustomerKey, DataDir, Json, Reason
from api.cli.output import instant, say, say_json, say_table
from api.cli.paying import Key, Which, by_of, done, say_operation, shown, subscriptions
from api.cli.running import on_core
from api.domain.errors import InvalidInput
from api.wiring import Core
from api.wiring.payments import actions_of, operations_of, stripe_of

checkout = typer.Typer(no_args_is_help=True, help="Pages where customers buy.")
portal = typer.Typer(no_args_is_help=True, help="The provider's own page for a customer.")
operations = typer.Typer(no_args_is_help=True, help="What was asked of the provider.")

GROUPS = {"checkout": checkout, "portal": portal, "operations": operations}

_STATES = ("pending", "answered", "confirmed", "refused", "unknown")

State = Annotated[str | None, typer.Option(help=f"One of {', '.join(_STATES)}; all by default.")]


@subscriptions.command(name="add-on")
def add_on(  # noqa: PLR0913 - one for each option
    key: CustomerKey,
    add_on: Annotated[str, typer.Argument(help="An add-on of the catalog.")],
    quantity: Annotated[int, typer.Argument(min=0, help="How many; 0 gives it up.")],
    *,
    subscription: Which = None,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Hold so many of an add-on."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, acts: BillingActions, _: SupportActions) -> Operation:
        return await acts.set_add_on(
            key, add_on, quantity, subscription=subscription, by=by, at=core.clock.now()
        )

    say_operation(done(data_dir, act), as_json=as_json)


@subscriptions.command(name="promotion-code")
def promotion_code(
    key: CustomerKey,
    code: Annotated[str, typer.Argument(help="As customers type it.")],
    *,
    subscription: Which = None,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Put the discount of a promotion code on a subscription."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, acts: BillingActions, _: SupportActions) -> Operation:
        return await acts.apply_promotion(
            key, code, subscription=subscription, by=by, at=core.clock.now()
        )

    say_operation(done(data_dir, act), as_json=as_json)


@subscriptions.command()
def preview(
    key: CustomerKey,
    plan: Annotated[str, typer.Argument(help="The plan to move to.")],
    *,
    price: Annotated[str | None, typer.Option(help="Where the plan has several.")] = None,
    when: Annotated[When, typer.Option(help="Now, or as the period ends.")] = When.NOW,
    subscription: Which = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show what a change of plan would cost; nothing is changed."""

    async def drawn(core: Core) -> Preview:
        async with stripe_of(core.settings) as stripe:
            cost, _ = await actions_of(core, stripe).preview(
                key, plan, price=price, when=when, subscription=subscription
            )
            return cost

    cost = on_core(data_dir, drawn)
    if as_json:
        say_json(
            {
                "currency": cost.currency,
                "now": cost.now_minor,
                "next": cost.next_minor,
                "removed_add_ons": list(cost.removed),
            }
        )
        return
    say(f"due now   {cost.now_minor} {cost.currency}, in the smallest unit")
    say(f"then      {cost.next_minor} {cost.currency}")
    if cost.removed:
        say(f"given up  {', '.join(cost.removed)}: not sold beside this plan")


@checkout.command(name="create")
def create_checkout(  # noqa: PLR0913 - one for each option
    key: CustomerKey,
    *,
    plan: Annotated[str | None, typer.Option(help="A plan; or a pack.")] = None,
    pack: Annotated[str | None, typer.Option(help="A pack; or a plan.")] = None,
    quantity: Annotated[int, typer.Option(min=1, help="Of the pack.")] = 1,
    price: Annotated[str | None, typer.Option(help="Where there are several.")] = None,
    add_on: Annotated[
        list[str] | None, typer.Option(help="KEY or KEY=QUANTITY; may be repeated.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="A promotion code.")] = None,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Open a page where the customer buys, and print its address."""
    by = by_of(actor, reason, op_key)
    add_ons = tuple(_counted(one) for one in add_on or ())
    basket = Basket(plan, price, add_ons, pack, quantity, code)

    async def act(core: Core, acts: BillingActions, _: SupportActions) -> Operation:
        return await acts.checkout(key, basket, by=by, at=core.clock.now())

    say_operation(done(data_dir, act), as_json=as_json)


@portal.command(name="create")
def create_portal(
    key: CustomerKey,
    *,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Open the provider's own page for a customer, and print its address."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, acts: BillingActions, _: SupportActions) -> Operation:
        return await acts.portal(key, by=by, at=core.clock.now())

    say_operation(done(data_dir, act), as_json=as_json)


@operations.command(name="list")
def list_operations(
    *,
    customer: Annotated[str | None, typer.Option(help="Of this customer only.")] = None,
    state: State = None,
    first: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List what was asked of the provider, the newest first."""
    if state is not None and state not in _STATES:
        raise InvalidInput(f"--state is one of {', '.join(_STATES)}, not {state!r}.")

    async def listed(core: Core) -> list[Operation]:
        number = None if customer is None else (await core.customers.get(customer)).id
        async with stripe_of(core.settings) as stripe:
            return await operations_of(core, stripe).list_(first, customer_id=number, state=state)

    found = on_core(data_dir, listed)
    if as_json:
        say_json([shown(one) for one in found])
        return
    rows = [
        (o.id, instant(o.created_at), o.action, o.state, o.object_id or "-", o.error or "-")
        for o in found
    ]
    say_table(("id", "asked", "action", "state", "object", "error"), rows)


def _counted(said: str) -> tuple[str, int]:
    key, _, number = said.partition("=")
    if number and not (number.isascii() and number.isdigit() and len(number) < 10):  # noqa: PLR2004 - a quantity is short
        raise InvalidInput(f"{said[:200]!r} is not KEY or KEY=QUANTITY.")
    return key, int(number or 1)
