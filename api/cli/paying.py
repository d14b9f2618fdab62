"""``headroom subscriptions``, ``invoices``, ``payments`` and ``coupons``: acts at the provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from api.billing.actions import BillingActions, By, Ending, When
from api.billing.operations import Operation
from api.billing.support_actions import Coupon, SupportActions
from api.cli.operator import actor_name
from api.cli.options import Actor, CustomerKey, DataDir, Json, Reason
from api.cli.output import say, say_json
from api.cli.running import on_core
from api.wiring import Core
from api.wiring.payments import actions_of, stripe_of, support_actions_of

subscriptions = typer.Typer(no_args_is_help=True, help="Change, end and resume subscriptions.")
invoices = typer.Typer(no_args_is_help=True, help="Send invoices again, or mark them paid.")
payments = typer.Typer(no_args_is_help=True, help="Give money back.")
coupons = typer.Typer(no_args_is_help=True, help="Discounts.")

GROUPS = {
    "subscriptions": subscriptions,
    "invoices": invoices,
    "payments": payments,
    "coupons": coupons,
}

Key = Annotated[
    str | None, typer.Option("--key", help="Yours for this act: said again it is the same one.")
]
Which = Annotated[
    str | None, typer.Option("--subscription", help="The provider's id, where there are several.")
]
Invoice = Annotated[str, typer.Argument(help="The provider's id, as in_….")]


@subscriptions.command()
def change(  # noqa: PLR0913 - one for each option
    key: CustomerKey,
    plan: Annotated[str, typer.Argument(help="The plan to move to.")],
    *,
    price: Annotated[str | None, typer.Option(help="Where the plan has several.")] = None,
    when: Annotated[When, typer.Option(help="Now, or as the period ends.")] = When.NOW,
    subscription: Which = None,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Move a subscription to another plan."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, acts: BillingActions, _: SupportActions) -> Operation:
        return await acts.change_plan(
            key, plan, price=price, when=when, subscription=subscription, by=by, at=core.clock.now()
        )

    say_operation(done(data_dir, act), as_json=as_json)


@subscriptions.command()
def cancel(
    key: CustomerKey,
    *,
    ending: Annotated[
        Ending,
        typer.Option(
            help="With its period, now, or now with unused time as credit on the customer's "
            "balance at Stripe. No payment is given back: see `payments refund`."
        ),
    ] = Ending.PERIOD_END,
    subscription: Which = None,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """End a subscription."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, acts: BillingActions, _: SupportActions) -> Operation:
        return await acts.cancel(
            key, ending=ending, subscription=subscription, by=by, at=core.clock.now()
        )

    say_operation(done(data_dir, act), as_json=as_json)


@subscriptions.command()
def resume(
    key: CustomerKey,
    *,
    subscription: Which = None,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Let a subscription go on that was to end, or to change, with its period."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, acts: BillingActions, _: SupportActions) -> Operation:
        return await acts.resume(key, subscription=subscription, by=by, at=core.clock.now())

    say_operation(done(data_dir, act), as_json=as_json)


@invoices.command()
def resend(
    invoice: Invoice,
    *,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Have the provider send an invoice again."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, _: BillingActions, acts: SupportActions) -> Operation:
        return await acts.resend_invoice(invoice, by=by, at=core.clock.now())

    say_operation(done(data_dir, act), as_json=as_json)


@invoices.command(name="mark-paid")
def mark_paid(
    invoice: Invoice,
    *,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Say that an invoice was paid elsewhere."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, _: BillingActions, acts: SupportActions) -> Operation:
        return await acts.mark_invoice_paid(invoice, by=by, at=core.clock.now())

    say_operation(done(data_dir, act), as_json=as_json)


@payments.command()
def refund(
    payment: Annotated[str, typer.Argument(help="The provider's id, as pi_….")],
    *,
    amount_minor: Annotated[
        int | None, typer.Option(min=1, help="In the smallest unit; without it, all that is left.")
    ] = None,
    customer: Annotated[str | None, typer.Option(help="Whose it is, for the audit log.")] = None,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Give money back, all or a part; credits that it bought follow by the provider's event."""
    by = by_of(actor, reason, op_key)

    async def act(core: Core, _: BillingActions, acts: SupportActions) -> Operation:
        return await acts.refund(
            payment, amount_minor, customer=customer, by=by, at=core.clock.now()
        )

    say_operation(done(data_dir, act), as_json=as_json)


@coupons.command()
def create(  # noqa: PLR0913 - one for each option
    name: Annotated[str, typer.Argument(help="As customers see it on their invoice.")],
    *,
    percent_off: Annotated[float | None, typer.Option(help="In percent.")] = None,
    amount_off_minor: Annotated[int | None, typer.Option(help="In the smallest unit.")] = None,
    currency: Annotated[str | None, typer.Option(help="Of the amount.")] = None,
    duration: Annotated[str, typer.Option(help="once, repeating or forever.")] = "once",
    months: Annotated[int | None, typer.Option(min=1, help="How long it repeats.")] = None,
    code: Annotated[str | None, typer.Option(help="What customers type.")] = None,
    most_redemptions: Annotated[int | None, typer.Option(min=1)] = None,
    op_key: Key = None,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Make a coupon, and with --code one that customers can type."""
    by = by_of(actor, reason, op_key)
    coupon = Coupon(
        name, percent_off, amount_off_minor, currency, duration, months, code, most_redemptions
    )

    async def act(core: Core, _: BillingActions, acts: SupportActions) -> Operation:
        return await acts.create_coupon(coupon, by=by, at=core.clock.now())

    say_operation(done(data_dir, act), as_json=as_json)


_Act = Callable[[Core, BillingActions, SupportActions], Awaitable[Operation]]


def done(data_dir: DataDir, act: _Act) -> Operation:
    """Have it carried out with this installation's provider."""

    async def asked(core: Core) -> Operation:
        async with stripe_of(core.settings) as stripe:
            return await act(core, actions_of(core, stripe), support_actions_of(core, stripe))

    return on_core(data_dir, asked)


def by_of(actor: str | None, reason: str, key: str | None) -> By:
    """Return who does it, and why."""
    return By(actor or actor_name(), reason, key)


def shown(operation: Operation) -> dict[str, object]:
    """Return an operation for a script."""
    return {
        "id": operation.id,
        "action": operation.action,
        "state": operation.state,
        "object": operation.object_id,
        "error": operation.error,
        "answer": dict(operation.answer),
    }


def say_operation(operation: Operation, *, as_json: bool) -> None:
    """Print what became of it."""
    if as_json:
        say_json(shown(operation))
        return
    say(f"{operation.id}  {operation.action}  {operation.state}")
    for name, value in operation.answer.items():
        say(f"{name:<18} {value}")
    if operation.error:
        say(operation.error)
