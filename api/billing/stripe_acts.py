"""Stripe as the provider that is asked to act.

Planning reads; performing only writes, and from the plan alone: asked again it sends the same
requests under the same keys, which Stripe answers as it did the first time. A change of plan waits
at Stripe until it is paid (``pending_if_incomplete``). What is asked of a subscription later takes
a change back that was scheduled: it is released from its schedule first, as that would write over
other changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from api.billing import stripe_schedules
from api.billing.acts import Action, Planned, Preview, ProviderCustomer
from api.billing.looks import Look
from api.billing.problems import ProviderRefused
from api.billing.stripe_api import StripeApi
from api.billing.stripe_payments import PACK, QUANTITY
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
        """Find out all that the request needs. Cost: at most three calls, and pages of items."""
        match action:
            case Action.CHANGE_PLAN:
                planned = await self._plan_change(wish, expect=True)
            case Action.SET_ADD_ON:
                planned = await self._plan_add_on(wish)
            case Action.CANCEL | Action.RESUME:
                held = await self._subscription(wish["subscription"])
                planned = _of_subscription(held, {"mode": wish.get("mode")})
            case Action.APPLY_PROMOTION:
                held = await self._subscription(wish["subscription"])
                kept = stripe_schedules.restated(held["said"])
                planned = _of_subscription(
                    held, {"code": await self._promotion(wish["code"]), **kept}
                )
            case Action.CHECKOUT:
                planned = await self._plan_checkout(wish)
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
            Action.APPLY_PROMOTION: self._promote,
            Action.CHECKOUT: self._checkout,
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
        items = [{"id": planned["item"], "price": planned["price"]}]
        draw = self._api.v1.invoices.create_preview_async

        async def drawn(behaviour: str) -> _Json:
            said: Any = {
                "subscription": planned["subscription"],
                "subscription_details": {"items": items, "proration_behavior": behaviour},
            }
            return (await self._api.ask(draw(said))).to_dict()

        later = await drawn("none")
        if planned["when"] != "now":
            return Preview(later["currency"], 0, later["amount_due"])
        now = await drawn("always_invoice")
        return Preview(now["currency"], now["total"], later["amount_due"])

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
        price = await self._price(wish["price"])
        same = price["id"] == item["price"]["id"]
        others = stripe_schedules.going(held["said"]) or _waits(held["said"])
        if expect and same and not others:
            raise ProviderRefused("This subscription is on that plan already.", declined=False)
        about = {"when": wish["when"], "item": item["id"], "price": price["id"]}
        if wish["when"] == "now":
            return _of_subscription(held, about)
        if same:
            return _of_subscription(held, {**about, "phases": None})
        later = stripe_schedules.planned(held["said"], held["items"], item, price)
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
        item = next((i for i in held["items"] if _key_of(i) == wish["price"]), None)
        quantity = wish["quantity"]
        change: _Json
        if item is None:
            if not quantity:
                raise ProviderRefused("This subscription does not hold it.", declined=False)
            change = {"price": (await self._price(wish["price"]))["id"], "quantity": quantity}
        elif quantity:
            change = {"id": item["id"], "quantity": quantity}
        else:
            change = {"id": item["id"], "deleted": True}
        return _of_subscription(held, {"items": [change]})

    async def _plan_checkout(self, wish: _Said) -> Planned:
        lines = [
            {"price": (await self._price(one["price"]))["id"], "quantity": one["quantity"]}
            for one in wish["lines"]
        ]
        said: _Json = {
            "mode": "subscription" if wish.get("pack") is None else "payment",
            "line_items": lines,
            "client_reference_id": wish["customer_key"],
            "success_url": wish["success_url"],
            "cancel_url": wish["cancel_url"],
            "metadata": {LINK: wish["customer_key"]},
        }
        if wish.get("provider_customer"):
            said["customer"] = wish["provider_customer"]
        elif wish.get("email"):
            said["customer_email"] = wish["email"]
        if wish.get("promotion_code"):
            code = await self._promotion(wish["promotion_code"])
            said["discounts"] = [{"promotion_code": code}]
        else:
            said["allow_promotion_codes"] = True
        if wish.get("pack") is not None:
            said["metadata"] |= {PACK: wish["pack"], QUANTITY: str(lines[0]["quantity"])}
            if "customer" not in said:
                said["customer_creation"] = "always"
        else:
            said["subscription_data"] = {"metadata": {LINK: wish["customer_key"]}}
            if wish.get("trial_days"):
                said["subscription_data"]["trial_period_days"] = wish["trial_days"]
        return Planned(said)

    async def _change(self, request: _Said, key: str) -> _Json:
        if request["when"] == "now":
            items = [{"id": request["item"], "price": request["price"]}]
            return await self._update({**request, "items": items}, key)
        if request["phases"] is not None:
            return await stripe_schedules.change(self._api, request, key)
        # Back to the plan that is held: nothing is to change any more.
        await stripe_schedules.release(self._api, request, key)
        return {"subscription": request["subscription"], "schedule": None}

    async def _cancel(self, request: _Said, key: str) -> _Json:
        await stripe_schedules.release(self._api, request, key)
        if request["mode"] == "period_end":
            return await self._set_ending(request, key, ends=True)
        prorated = request["mode"] == "now_prorated"
        said: Any = {"prorate": prorated, "invoice_now": prorated}
        cancel = self._api.v1.subscriptions.cancel_async
        found = await self._api.ask(cancel(request["subscription"], said, _under(key)))
        return {"subscription": found.id, "status": found.status}

    async def _resume(self, request: _Said, key: str) -> _Json:
        await stripe_schedules.release(self._api, request, key)
        return await self._set_ending(request, key, ends=False)

    async def _set_ending(self, request: _Said, key: str, *, ends: bool) -> _Json:
        update = self._api.v1.subscriptions.update_async
        said: Any = {"cancel_at_period_end": ends}
        found = await self._api.ask(update(request["subscription"], said, _under(key)))
        return {"subscription": found.id, "status": found.status}

    async def _update(self, request: _Said, key: str) -> _Json:
        await stripe_schedules.release(self._api, request, key)
        update = self._api.v1.subscriptions.update_async
        said: Any = {"items": request["items"], **_PAID_FIRST}
        found = await self._api.ask(update(request["subscription"], said, _under(key)))
        waits = _waits(found.to_dict())
        return {"subscription": found.id, "status": found.status, "waits_for_payment": waits}

    async def _promote(self, request: _Said, key: str) -> _Json:
        update = self._api.v1.subscriptions.update_async
        said: Any = {"discounts": [{"promotion_code": request["code"]}]}
        found = await self._api.ask(update(request["subscription"], said, _under(key)))
        await stripe_schedules.discount(self._api, request, found.to_dict()["discounts"], key)
        return {"subscription": found.id, "status": found.status}

    async def _checkout(self, request: _Said, key: str) -> _Json:
        create = self._api.v1.checkout.sessions.create_async
        said: Any = dict(request)
        made = await self._api.ask(create(said, _under(key)))
        return {"checkout": made.id, "url": made.url}

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

    async def _subscription(self, subscription_id: str) -> _Json:
        found = await self._api.read(
            "subscriptions", subscription_id, expand=stripe_schedules.EXPANDED
        )
        items = found["items"]["data"]
        if found["items"].get("has_more"):
            items = await self._api.pages("subscription_items", subscription=subscription_id)
        return {"said": found, "items": items}

    async def _price(self, key: str) -> _Json:
        found = await self._api.read("prices", lookup_keys=[key], active=True)
        if not found["data"]:
            raise ProviderRefused(
                f"Stripe sells nothing under {key!r}: push the catalog, then ask again.",
                declined=False,
            )
        price: _Json = found["data"][0]
        return price

    async def _promotion(self, code: str) -> str:
        found = await self._api.read("promotion_codes", code=code, active=True)
        if not found["data"]:
            raise ProviderRefused("There is no such promotion code.", declined=False)
        return str(found["data"][0]["id"])


def _of_subscription(held: _Json, more: _Json) -> Planned:
    name = held["said"]["id"]
    request = {"subscription": name, "schedule": stripe_schedules.going(held["said"]), **more}
    return Planned(request, name, Look.SUBSCRIPTION)


def _waits(subscription: _Said) -> bool:
    """Tell whether a change waits at Stripe until it is paid."""
    return subscription.get("pending_update") is not None


def _key_of(item: _Json) -> str | None:
    price = item["price"]
    return price.get("lookup_key") or (price.get("metadata") or {}).get(PRICE)


def _under(key: str) -> Any:  # noqa: ANN401 - the package's own options
    return {"idempotency_key": key}
