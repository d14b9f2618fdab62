"""Invoices as requests read, send, pay and void them, and previews of those to come."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim import invoicing, lines
from tests.stripe_sim.billing import OVER, follow, settle
from tests.stripe_sim.cards import OK
from tests.stripe_sim.catalog import only
from tests.stripe_sim.customers import attach, living
from tests.stripe_sim.errors import Refused, declined, lacking
from tests.stripe_sim.listing import page_of, page_within
from tests.stripe_sim.params import merged, need, number, one_of, truth
from tests.stripe_sim.planning import item_list, new_item, period_of, planned
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.shapes import copied, new
from tests.stripe_sim.timeline import DAY
from tests.stripe_sim.world import World

Json = dict[str, Any]

_WORDS = ("charge_automatically", "send_invoice")


@route("POST", "/v1/invoices/create_preview")
def create_preview(asked: Asked) -> Json:
    """Return the next invoice as it would be, after a change that is only asked about."""
    world, params = asked.world, asked.params
    only(params, {"customer", "subscription", "subscription_details", "schedule"})
    if "subscription" not in params:
        return _preview_of_new(world, params)
    held = world.store.get("subscription", params["subscription"], "subscription")
    if held["status"] in OVER:
        raise Refused("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    details = params.get("subscription_details") or {}
    subscription = copied(held)
    customer = world.store.get("customer", subscription["customer"])
    plan = planned(world, subscription, details)
    waiting = [copied(line) for line in world.prorations.get(subscription["id"], [])]
    at_once = truth(details, "cancel_now")
    if plan.bill_now or at_once:
        due = plan.lines
        if at_once:
            due = [
                lines.prorated(world, subscription, item, at=world.now, sign=-1)
                for item in subscription["items"]["data"]
                if details.get("proration_behavior") != "none"
            ]
        return _drawn(world, customer, waiting + due, subscription, "subscription_update")
    ends = truth(details, "cancel_at_period_end", default=subscription["cancel_at_period_end"])
    if ends and not plan.lines and not waiting:
        raise Refused("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    subscription["items"] = item_list(subscription["id"], plan.items)
    due = waiting + plan.lines + ([] if ends else _next_period(world, subscription))
    return _drawn(world, customer, due, subscription, "upcoming")


def _next_period(world: World, subscription: Json) -> list[Json]:
    made = []
    anchor = subscription["billing_cycle_anchor"]
    first = min(item["current_period_end"] for item in subscription["items"]["data"])
    for item in subscription["items"]["data"]:
        if item["current_period_end"] != first:
            continue
        start, over = period_of(anchor, item["price"], item["current_period_end"])
        edges = {"current_period_start": start, "current_period_end": over}
        made.append(lines.of_period(world, subscription, item | edges))
    return made


def _drawn(world: World, customer: Json, due: list[Json], subscription: Json, reason: str) -> Json:
    items = subscription["items"]["data"]
    period = (items[0]["current_period_start"], items[0]["current_period_end"])
    return invoicing.drawn_up(
        world,
        customer,
        due,
        reason=reason,
        currency=subscription["currency"],
        subscription=subscription,
        period=period,
    )


def _preview_of_new(world: World, params: Json) -> Json:
    customer = living(world, need(params, "customer"))
    said = (params.get("subscription_details") or {}).get("items")
    if not said:
        raise Refused("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    items = [new_item(world, "sub_preview", one, (world.now, world.now)) for one in said]
    for item in items:
        item["current_period_end"] = period_of(world.now, item["price"], world.now)[1]
    subscription = new(
        "subscription",
        id="sub_preview",
        currency=items[0]["price"]["currency"],
        items=item_list("sub_preview", items),
        metadata={},
    )
    due = [lines.of_period(world, subscription, item) for item in items]
    return _drawn(world, customer, due, subscription, "upcoming")


@route("POST", "/v1/invoiceitems")
def create_invoice_item(asked: Asked) -> Json:
    """Make something to be billed once, on a draft that is named."""
    world, params = asked.world, asked.params
    only(
        params, {"customer", "invoice", "amount", "currency", "description", "pricing", "quantity"}
    )
    customer = living(world, need(params, "customer"))
    invoice = world.store.get("invoice", need(params, "invoice"), "invoice")
    amount = number(params, "amount")
    price: Json = {
        "id": None,
        "product": None,
        "currency": params.get("currency", invoice["currency"]),
        "unit_amount": amount,
        "unit_amount_decimal": str(amount or 0),
    }
    if "pricing" in params:
        price = world.store.get("price", need(params["pricing"], "price"), "price")
    elif amount is None:
        raise lacking("amount")
    quantity = number(params, "quantity", 1) or 1
    item = world.make(
        "invoiceitem",
        "ii",
        amount=(price["unit_amount"] or 0) * quantity,
        currency=price["currency"],
        customer=customer["id"],
        date=world.now,
        description=params.get("description"),
        discountable=True,
        invoice=invoice["id"],
        metadata={},
        period={"start": world.now, "end": world.now},
        quantity=quantity,
    )
    line = lines.once(world, price, quantity, world.now, item["id"])
    line |= {"invoice": invoice["id"], "description": params.get("description")}
    if price["id"] is None:
        line["pricing"] = None
    invoice["lines"]["data"].append(line)
    with world.events.changing(invoice, "invoice.updated"):
        total = invoice["total"] + line["amount"]
        names = ("subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax")
        invoice |= dict.fromkeys((*names, "amount_due", "amount_remaining"), total)
    world.events.emit("invoiceitem.created", item)
    return item


@route("POST", "/v1/invoices")
def create_invoice(asked: Asked) -> Json:
    """Make an empty draft for a customer."""
    world, params = asked.world, asked.params
    only(params, {"customer", "currency", "collection_method", "days_until_due", "metadata",
                  "auto_advance", "description"})  # fmt: skip
    customer = living(world, need(params, "customer"))
    made = invoicing.drawn_up(
        world,
        customer,
        [],
        reason="manual",
        currency=params.get("currency", "usd"),
        invoice_id=world.name("in"),
    )
    days = number(params, "days_until_due")
    made |= {
        "collection_method": one_of(params, "collection_method", _WORDS, _WORDS[0]),
        "due_date": None if days is None else world.now + days * DAY,
        "metadata": merged({}, params),
        "description": params.get("description"),
        "auto_advance": truth(params, "auto_advance"),
    }
    return invoicing.hold(world, made)


@route("GET", "/v1/invoices/*")
def read_invoice(asked: Asked) -> Json:
    """Read an invoice."""
    return asked.world.store.get("invoice", asked.id)


@route("POST", "/v1/invoices/*")
def update_invoice(asked: Asked) -> Json:
    """Change what may be changed of an invoice."""
    only(asked.params, {"metadata", "description", "auto_advance"})
    invoice = asked.world.store.get("invoice", asked.id)
    with asked.world.events.changing(invoice, "invoice.updated"):
        invoice["metadata"] = merged(invoice["metadata"], asked.params)
        invoice["description"] = asked.params.get("description", invoice["description"])
        default = invoice["auto_advance"]
        invoice["auto_advance"] = truth(asked.params, "auto_advance", default=default)
    return invoice


@route("GET", "/v1/invoices/*/lines")
def list_lines(asked: Asked) -> Json:
    """List the lines of an invoice."""
    invoice = asked.world.store.get("invoice", asked.id)
    return page_within(asked, invoice["lines"]["data"], f"/v1/invoices/{asked.id}/lines")


@route("GET", "/v1/invoices")
def list_invoices(asked: Asked) -> Json:
    """List invoices."""
    name = asked.params.get("subscription")
    own = None if name is None else set(asked.world.billed.get(name, []))
    return page_of(
        asked,
        "invoice",
        "/v1/invoices",
        apart=("customer",),
        same=("status", "collection_method"),
        other=("subscription",),
        fits=None if own is None else lambda one: one["id"] in own,
    )


@route("GET", "/v1/invoice_payments")
def list_invoice_payments(asked: Asked) -> Json:
    """List the payments of an invoice, or the invoice of a payment."""
    intent = asked.params.get("payment", {}).get("payment_intent")
    return page_of(
        asked,
        "invoice_payment",
        "/v1/invoice_payments",
        apart=("invoice",),
        same=("status",),
        other=("payment",),
        fits=None if intent is None else lambda one: one["payment"]["payment_intent"] == intent,
    )


def _open(asked: Asked, *also: str) -> Json:
    invoice = asked.world.store.get("invoice", asked.id)
    if invoice["status"] not in ("open", *also):
        word = {"paid": "Invoice is already paid"}.get(invoice["status"])
        raise Refused(
            word or f"This invoice is {invoice['status']}, so nothing of the kind can be done.",
            code="invoice_not_editable",
        )
    return invoice


@route("POST", "/v1/invoices/*/finalize")
def finalise_invoice(asked: Asked) -> Json:
    """Open a draft."""
    invoice = asked.world.store.get("invoice", asked.id)
    if invoice["status"] != "draft":
        raise Refused("This invoice is already finalized.", code="invoice_not_editable")
    invoicing.finalise(asked.world, invoice)
    return invoice


@route("POST", "/v1/invoices/*/pay")
def pay_invoice(asked: Asked) -> Json:
    """Take the payment now, or mark the invoice paid elsewhere."""
    world, params = asked.world, asked.params
    only(params, {"paid_out_of_band", "payment_method", "off_session", "forgive"})
    invoice = _open(asked, "draft", "uncollectible")
    if invoice["status"] == "draft":
        invoicing.finalise(world, invoice)
    if truth(params, "paid_out_of_band"):
        invoicing.pay_elsewhere(world, invoice)
        follow(world, invoice, OK)
        return invoice
    method = params.get("payment_method")
    if method:
        method = attach(world, method, invoice["customer"])["id"]
    code = invoicing.collect(world, invoice, method)
    follow(world, invoice, code)
    if code != OK:
        raise declined(code, invoicing.payment_of(world, invoice))
    return invoice


@route("POST", "/v1/invoices/*/send")
def send_invoice(asked: Asked) -> Json:
    """Send an invoice; a draft is opened first."""
    invoice = _open(asked, "draft", "uncollectible")
    if invoice["collection_method"] != "send_invoice":
        raise Refused(
            "You can only manually send an invoice if its collection method is `send_invoice`.",
            param="id",
        )
    if invoice["status"] == "draft":
        settle(asked.world, invoice)
    else:
        invoicing.send(asked.world, invoice)
    return invoice


@route("POST", "/v1/invoices/*/void")
def void_invoice(asked: Asked) -> Json:
    """Make an open invoice void; a change that waited for it is dropped."""
    world = asked.world
    invoice = _open(asked, "uncollectible")
    subscription = invoicing.subscription_of(world, invoice)
    invoicing.void(world, invoice)
    if subscription is not None:
        held = world.plans.get(subscription["id"])
        if held is not None and held[1] is invoice:
            del world.plans[subscription["id"]]
            with world.events.changing(subscription, "customer.subscription.updated"):
                subscription["pending_update"] = None
    return invoice


@route("POST", "/v1/invoices/*/mark_uncollectible")
def give_up_invoice(asked: Asked) -> Json:
    """Mark an open invoice as one that nobody will pay."""
    invoice = _open(asked)
    invoicing.give_up(asked.world, invoice)
    return invoice


@route("DELETE", "/v1/invoices/*")
def delete_invoice(asked: Asked) -> Json:
    """Delete a draft."""
    invoice = asked.world.store.get("invoice", asked.id)
    if invoice["status"] != "draft":
        raise Refused("You can only delete draft invoices.")
    asked.world.store.drop(invoice)
    asked.world.events.emit("invoice.deleted", invoice)
    return {"id": asked.id, "object": "invoice", "deleted": True}
