"""Stripe as the provider that is asked to act.

Planning reads; performing only writes, and from the plan alone: asked again it sends the same
requests under the same keys, which Stripe answers as it did the first time. A change of plan waits
at Stripe until it is paid (``pending_if_incomplete``). What is asked of a subscription later takes
a change back that was scheduled: it is released from its schedule first, as that would write over
other changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from api.billing import stripe_discounts, stripe_schedules, stripe_selling
from api.billing.acts import Action, Planned, Preview, ProviderCustomer
from api.billing.looks import Look
from api.billing.problems import ProviderRefused
from api.billing.stripe_api import StripeApi
from api.billing.stripe_prices import PRICE
from api.billing.stripe_shapes import LINK

_Json = dict[str, Any]
_Said = Mapping[str, Any]

_PAID_FIRST = {
    "payment_behavior": "pending_if_incomplete",
    "proration_behavior": "always_invoice",
}


class StripeActs:
    """Actions at Stripe."""

    def __init__(self, api: StripeApi) -> None:
        self._api = api

    @property
    def name(self) -> str:
        """The word that stands for Stripe in the record."""
        return "stripe"

    @property
    def answers(self) -> bool:
        """Whether anything can be asked: a key is configured."""
        return self._api.answers

    async def plan(self, action: Action, wish: _Said) -> Planned:
        """Find out all that the request needs. Cost: a few calls, and pages of lists."""
        match action:
            case Action.CHANGE_PLAN:
                planned = await self._plan_change(wish, expect=True)
            case Action.SET_ADD_ON:
                planned = await self._plan_add_on(wish)
            case Action.CANCEL:
                held = await self._subscription(wish["subscription"])
                planned = _of_subscription(held, {"mode": wish["mode"]})
            case Action.RESUME:
                held = await self._subscription(wish["subscription"])
                planned = _of_subscription(held, {"clears": _what_ends(held["said"])})
            case Action.APPLY_PROMOTION:
                held = await self._subscription(wish["subscription"], "discounts")
                planned = _of_subscription(
                    held, await stripe_discounts.planned(self._api, held, wish)
                )
            case Action.CHECKOUT:
                planned = await stripe_selling.planned(self._api, wish)
            case Action.REFUND:
                planned = await self._plan_refund(wish)
            case Action.RESEND_INVOICE | Action.MARK_INVOICE_PAID:
                planned = Planned(dict(wish), wish["invoice"], Look.INVOICE)
            case _:
                planned = Planned(dict(wish))
        return planned

    async def perform(self, action: Action, request: _Said, key: str) -> _Json:
        """Ask for it under ``key``. Cost: one to three calls."""
        doing: Mapping[Action, Callable[[_Said, str], Awaitable[_Json]]] = {
            Action.CHANGE_PLAN: self._change,
            Action.CANCEL: self._cancel,
            Action.RESUME: self._resume,
            Action.SET_ADD_ON: self._update,
            Action.APPLY_PROMOTION: partial(stripe_discounts.apply, self._api),
            Action.CHECKOUT: partial(stripe_selling.checkout, self._api),
            Action.PORTAL: self._portal,
            Action.REFUND: self._refund,
            Action.CREATE_COUPON: self._coupon,
            Action.RESEND_INVOICE: self._resend,
            Action.MARK_INVOICE_PAID: self._mark_paid,
        }
        return await doing[action](request, key)

    async def preview(self, wish: _Said) -> Preview:
        """Have Stripe draw the invoices. Cost: four calls."""
        planned = (await self._plan_change(wish)).request
        draw = self._api.v1.invoices.create_preview_async

        async def drawn(behaviour: str) -> _Json:
            said: Any = {
                "subscription": planned["subscription"],
                "subscription_details": {
                    "items": planned["items"],
                    "proration_behavior": behaviour,
                },
            }
            return (await self._api.ask(draw(said))).to_dict()

        removed = tuple(planned["removed"])
        later = await drawn("none")
        if planned["when"] != "now":
            return Preview(later["currency"], 0, later["amount_due"], removed)
        now = await drawn("always_invoice")
        return Preview(now["currency"], now["total"], later["amount_due"], removed)

    async def knows(self, customer: str) -> bool:
        """Tell whether Stripe has this customer still. Cost: one call."""
        return await stripe_selling.knows(self._api, customer)

    async def stands(self, page: str, request: _Said, wish: _Said) -> bool:
        """Tell whether a page is open that sells on these terms. Cost: at most one call."""
        return await stripe_selling.stands(self._api, page, request, wish)

    async def find_by_email(self, email: str) -> Sequence[ProviderCustomer]:
        """List Stripe's customers of this address."""
        found = await self._api.pages("customers", email=email)
        return [
            ProviderCustomer(
                id=one["id"],
                email=one.get("email"),
                name=one.get("name"),
                key=(one.get("metadata") or {}).get(LINK),
            )
            for one in found
        ]

    async def _plan_change(self, wish: _Said, *, expect: bool = False) -> Planned:
        """Plan it; with ``expect`` only where there is something to change or to take back."""
        held = await self._subscription(wish["subscription"])
        item = next((i for i in held["items"] if _key_of(i) in wish["plan_prices"]), None)
        if item is None:
            raise ProviderRefused("This subscription holds no plan to change.", declined=False)
        beside = {
            i["id"]: wish["beside"][key]
            for i in held["items"]
            if (key := _key_of(i)) in wish["beside"]
        }
        moved = [one["price"] for one in beside.values() if one["price"] is not None]
        sold = await stripe_selling.prices(self._api, [wish["price"], *moved])
        price = sold[wish["price"]]
        wanted = {item["id"]: price["id"]} | {
            name: None if one["price"] is None else sold[one["price"]]["id"]
            for name, one in beside.items()
        }
        same = price["id"] == item["price"]["id"] and not beside
        others = stripe_schedules.going(held["said"]) or _waits(held["said"])
        if expect and same and not others:
            raise ProviderRefused("This subscription is on that plan already.", declined=False)
        about: _Json = {
            "when": wish["when"],
            "items": [
                {"id": name, "deleted": True} if new is None else {"id": name, "price": new}
                for name, new in wanted.items()
            ],
            "removed": sorted({o["add_on"] for o in beside.values() if o["price"] is None}),
        }
        if wish["when"] == "now":
            return _of_subscription(held, about)
        if same:
            return _of_subscription(held, {**about, "phases": None})
        later = stripe_schedules.planned(
            held["said"], held["items"], wanted, item["current_period_end"], price["recurring"]
        )
        return _of_subscription(held, {**about, **later})

    async def _plan_refund(self, wish: _Said) -> Planned:
        """Plan it; where ``payers`` are named only of a payment of one of them."""
        said = {name: wish[name] for name in ("payment", "amount_minor")}
        if wish.get("payers") is not None:
            found = await self._api.read("payment_intents", wish["payment"])
            if found.get("customer") not in wish["payers"]:
                raise ProviderRefused("This payment is not that customer's.", declined=False)
        return Planned(said, wish["payment"], Look.PAYMENT)

    async def _plan_add_on(self, wish: _Said) -> Planned:
        held = await self._subscription(wish["subscription"])
        item = next((i for i in held["items"] if _key_of(i) in wish["prices"]), None)
        quantity = wish["quantity"]
        change: _Json
        if item is None:
            if not quantity:
                raise ProviderRefused("This subscription does not hold it.", declined=False)
            sold = await stripe_selling.prices(self._api, [wish["price"]])
            change = {"price": sold[wish["price"]]["id"], "quantity": quantity}
        elif quantity:
            change = {"id": item["id"], "quantity": quantity}
        else:
            change = {"id": item["id"], "deleted": True}
        return _of_subscription(held, {"items": [change]})

    async def _change(self, request: _Said, key: str) -> _Json:
        removed = {"removed_add_ons": request["removed"]} if request["removed"] else {}
        if request["when"] == "now":
            return await self._update(request, key) | removed
        if request["phases"] is not None:
            return await stripe_schedules.change(self._api, request, key) | removed
        # Back to the plan that is held: nothing is to change any more.
        await stripe_schedules.release(self._api, request, key)
        return {"subscription": request["subscription"], "schedule": None}

    async def _cancel(self, request: _Said, key: str) -> _Json:
        await stripe_schedules.release(self._api, request, key)
        if request["mode"] == "period_end":
            return await self._set_ending(request, {"cancel_at_period_end": True}, key)
        prorated = request["mode"] == "now_prorated"
        said: Any = {"prorate": prorated, "invoice_now": prorated}
        cancel = self._api.v1.subscriptions.cancel_async
        found = await self._api.ask(cancel(request["subscription"], said, _under(key)))
        return {"subscription": found.id, "status": found.status}

    async def _resume(self, request: _Said, key: str) -> _Json:
        await stripe_schedules.release(self._api, request, key)
        return await self._set_ending(request, request["clears"], key)

    async def _set_ending(self, request: _Said, ending: _Said, key: str) -> _Json:
        update = self._api.v1.subscriptions.update_async
        said: Any = dict(ending)
        found = await self._api.ask(update(request["subscription"], said, _under(key)))
        return {"subscription": found.id, "status": found.status}

    async def _update(self, request: _Said, key: str) -> _Json:
        await stripe_schedules.release(self._api, request, key)
        update = self._api.v1.subscriptions.update_async
        said: Any = {"items": request["items"], **_PAID_FIRST}
        found = await self._api.ask(update(request["subscription"], said, _under(key)))
        waits = _waits(found.to_dict())
        return {"subscription": found.id, "status": found.status, "waits_for_payment": waits}

    async def _portal(self, request: _Said, key: str) -> _Json:
        create = self._api.v1.billing_portal.sessions.create_async
        said: Any = dict(request)
        made = await self._api.ask(create(said, _under(key)))
        return {"portal": made.id, "url": made.url}

    async def _refund(self, request: _Said, key: str) -> _Json:
        said: Any = {"payment_intent": request["payment"], "reason": "requested_by_customer"}
        if request["amount_minor"] is not None:
            said["amount"] = request["amount_minor"]
        made = await self._api.ask(self._api.v1.refunds.create_async(said, _under(key)))
        return {"refund": made.id, "status": made.status, "amount_minor": made.amount}

    async def _coupon(self, request: _Said, key: str) -> _Json:
        said: Any = request["coupon"]
        coupon = await self._api.ask(
            self._api.v1.coupons.create_async(said, _under(f"{key}:coupon"))
        )
        if request["code"] is None:
            return {"coupon": coupon.id}
        named: Any = {
            "promotion": {"type": "coupon", "coupon": coupon.id},
            "code": request["code"],
        }
        create = self._api.v1.promotion_codes.create_async
        made = await self._api.ask(create(named, _under(key)))
        return {"coupon": coupon.id, "promotion_code": made.id, "code": made.code}

    async def _resend(self, request: _Said, key: str) -> _Json:
        send = self._api.v1.invoices.send_invoice_async
        found = await self._api.ask(send(request["invoice"], {}, _under(key)))
        return {"invoice": found.id, "status": found.status, "url": found.hosted_invoice_url}

    async def _mark_paid(self, request: _Said, key: str) -> _Json:
        pay = self._api.v1.invoices.pay_async
        found = await self._api.ask(
            pay(request["invoice"], {"paid_out_of_band": True}, _under(key))
        )
        return {"invoice": found.id, "status": found.status}

    async def _subscription(self, subscription_id: str, *expanded: str) -> _Json:
        found = await self._api.read(
            "subscriptions", subscription_id, expand=[*stripe_schedules.EXPANDED, *expanded]
        )
        items = found["items"]["data"]
        if found["items"].get("has_more"):
            items = await self._api.pages("subscription_items", subscription=subscription_id)
        return {"said": found, "items": items}


def _of_subscription(held: _Json, more: _Json) -> Planned:
    name = held["said"]["id"]
    request = {"subscription": name, "schedule": stripe_schedules.going(held["said"]), **more}
    return Planned(request, name, Look.SUBSCRIPTION)


def _waits(subscription: _Said) -> bool:
    """Tell whether a change waits at Stripe until it is paid."""
    return subscription.get("pending_update") is not None


def _what_ends(subscription: _Said) -> _Json:
    """Return what lets it go on; Stripe takes one of the two, and knows an instant by itself."""
    if subscription["cancel_at"] is not None and not subscription["cancel_at_period_end"]:
        return {"cancel_at": ""}
    return {"cancel_at_period_end": False}


def _key_of(item: _Json) -> str | None:
    price = item["price"]
    return price.get("lookup_key") or (price.get("metadata") or {}).get(PRICE)


def _under(key: str) -> Any:  # noqa: ANN401 - the package's own options
    return {"idempotency_key": key}
