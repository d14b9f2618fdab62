"""Invoices as they are made, finalised, paid and given up."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim import charging
from tests.stripe_sim.cards import AUTHENTICATES, OK
from tests.stripe_sim.discounting import take_off
from tests.stripe_sim.shapes import listed, new
from tests.stripe_sim.timeline import DAY
from tests.stripe_sim.world import World

Json = dict[str, Any]


def drawn_up(
    world: World,
    customer: Json,
    lines: list[Json],
    *,
    reason: str,
    currency: str,
    subscription: Json | None = None,
    period: tuple[int, int] | None = None,
    invoice_id: str | None = None,
) -> Json:
    """Return an invoice over these lines that nobody holds yet: a preview, or a draft to come."""
    made_id = invoice_id or world.name("upcoming_in")
    discounts = list(subscription["discounts"]) if subscription else []
    taken = take_off(world, lines, discounts)
    subtotal = sum(line["amount"] for line in lines)
    total = subtotal - sum(one["amount"] for one in taken)
    begin, end = period or (world.now, world.now)
    for line in lines:
        line["invoice"] = made_id
    made = new(
        "invoice",
        id=made_id,
        account_country="US",
        billing_reason=reason,
        collection_method=subscription["collection_method"]
        if subscription
        else "charge_automatically",
        created=world.now,
        currency=currency,
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_tax_exempt="none",
        discounts=discounts,
        lines=listed(lines, f"/v1/invoices/{made_id}/lines"),
        metadata={},
        parent=_parent(subscription),
        period_end=end,
        period_start=begin,
        starting_balance=customer["balance"],
        status="draft",
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal,
        total=total,
        total_discount_amounts=taken,
        total_excluding_tax=total,
        total_pretax_credit_amounts=[],
        total_taxes=[],
        auto_advance=subscription is not None,
    )
    due = max(0, total + customer["balance"])
    return made | {"amount_due": due, "amount_remaining": due}


def _parent(subscription: Json | None) -> Json | None:
    if subscription is None:
        return None
    return {
        "quote_details": None,
        "subscription_details": {
            "metadata": dict(subscription["metadata"]),
            "subscription": subscription["id"],
            "subscription_proration_date": None,
        },
        "type": "subscription_details",
    }


def subscription_of(world: World, invoice: Json) -> Json | None:
    """Return the subscription that an invoice bills, if it bills one."""
    parent = invoice["parent"]
    details = parent["subscription_details"] if parent else None
    return world.store.get("subscription", details["subscription"]) if details else None


def hold(world: World, invoice: Json) -> Json:
    """Keep a draft, and say so."""
    world.store.add(invoice)
    if (subscription := subscription_of(world, invoice)) is not None:
        world.billed.setdefault(subscription["id"], []).append(invoice["id"])
    world.events.emit("invoice.created", invoice)
    return invoice


def finalise(world: World, invoice: Json) -> None:
    """Open a draft: it has a number, and its amount stands; one of nothing is paid."""
    customer = world.store.get("customer", invoice["customer"])
    balance = customer["balance"] + invoice["total"]
    due = max(0, balance)
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    customer |= {
        "next_invoice_sequence": customer["next_invoice_sequence"] + 1,
        "balance": min(0, balance),
    }
    invoice |= {
        "status": "open",
        "number": number,
        "amount_due": due,
        "amount_remaining": due,
        "starting_balance": balance - invoice["total"],
        "ending_balance": min(0, balance),
        "effective_at": world.now,
        "hosted_invoice_url": f"https://invoice.stripe.com/i/{invoice['id']}",
        "invoice_pdf": f"https://pay.stripe.com/invoice/{invoice['id']}/pdf",
        "status_transitions": invoice["status_transitions"] | {"finalized_at": world.now},
    }
    if due:
        intent = charging.made_intent(world, customer["id"], due, invoice["currency"])
        world.make(
            "invoice_payment",
            "inpay",
            amount_requested=due,
            currency=invoice["currency"],
            invoice=invoice["id"],
            is_default=True,
            payment={"payment_intent": intent["id"], "type": "payment_intent"},
            status="open",
        )
    world.events.emit("invoice.finalized", invoice)
    if not due:
        _paid(world, invoice)


def payment_of(world: World, invoice: Json) -> Json | None:
    """Return the payment of an invoice that asks for money."""
    for one in world.store.all("invoice_payment", invoice=invoice["id"]):
        return world.store.get("payment_intent", one["payment"]["payment_intent"])
    return None


def collect(world: World, invoice: Json, method: str | None = None) -> str:
    """Try to take an open invoice's payment; return ``ok`` or the code of the failure."""
    intent = payment_of(world, invoice)
    if invoice["status"] == "paid" or intent is None:
        return OK
    code = charging.pay(world, intent, method or _method(world, invoice))
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    if code == OK:
        _paid(world, invoice)
    else:
        if code == AUTHENTICATES:
            world.events.emit("invoice.payment_action_required", invoice)
        world.events.emit("invoice.payment_failed", invoice)
    return code


def _method(world: World, invoice: Json) -> str | None:
    subscription = subscription_of(world, invoice)
    own = subscription["default_payment_method"] if subscription else None
    customer = world.store.get("customer", invoice["customer"])
    chosen = own or customer["invoice_settings"]["default_payment_method"]
    return str(chosen) if chosen else None


def has_method(world: World, subscription: Json) -> bool:
    """Tell whether a subscription's payments have a card to be taken from."""
    customer = world.store.get("customer", subscription["customer"])
    own = subscription["default_payment_method"]
    return bool(own or customer["invoice_settings"]["default_payment_method"])


def pay_elsewhere(world: World, invoice: Json) -> None:
    """Mark an invoice paid outside Stripe; what remains is no money of Stripe's."""
    if (intent := payment_of(world, invoice)) is not None:
        charging.cancel(world, intent, "void_invoice")
    invoice["amount_paid_off_stripe"] = invoice["amount_due"]
    _paid(world, invoice)


def _paid(world: World, invoice: Json) -> None:
    invoice |= {
        "status": "paid",
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status_transitions": invoice["status_transitions"] | {"paid_at": world.now},
    }
    for one in world.store.all("invoice_payment", invoice=invoice["id"]):
        one |= {
            "status": "paid",
            "amount_paid": one["amount_requested"],
            "status_transitions": one["status_transitions"] | {"paid_at": world.now},
        }
        world.events.emit("invoice_payment.paid", one)
    world.events.emit("invoice.paid", invoice)
    world.events.emit("invoice.payment_succeeded", invoice)


def void(world: World, invoice: Json) -> None:
    """Make an invoice as if it had never been."""
    if (intent := payment_of(world, invoice)) is not None:
        charging.cancel(world, intent, "void_invoice")
    with world.events.changing(invoice, "invoice.voided"):
        invoice |= {
            "status": "void",
            "auto_advance": False,
            "next_payment_attempt": None,
            "status_transitions": invoice["status_transitions"] | {"voided_at": world.now},
        }


def give_up(world: World, invoice: Json) -> None:
    """Mark an invoice as one that nobody will pay."""
    with world.events.changing(invoice, "invoice.marked_uncollectible"):
        marked = {"marked_uncollectible_at": world.now}
        invoice |= {
            "status": "uncollectible",
            "next_payment_attempt": None,
            "status_transitions": invoice["status_transitions"] | marked,
        }


def send(world: World, invoice: Json) -> None:
    """Send an open invoice to its customer."""
    if invoice["due_date"] is None and invoice["collection_method"] == "send_invoice":
        subscription = subscription_of(world, invoice)
        days = (subscription["days_until_due"] if subscription else None) or 30
        invoice["due_date"] = world.now + days * DAY
    world.events.emit("invoice.sent", invoice)
