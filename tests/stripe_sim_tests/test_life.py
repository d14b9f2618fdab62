"""One customer's life, through the real package."""

import stripe

from tests.stripe_sim import SimulatedStripe


async def test_a_checkout_makes_a_paid_subscription_that_renews(
    sim: SimulatedStripe, api: stripe.StripeClient
) -> None:
    product = await api.v1.products.create_async({"name": "Starter"})
    price = await api.v1.prices.create_async(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 4900,
            "recurring": {"interval": "month"},
            "lookup_key": "starter_monthly",
        }
    )
    session = await api.v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "line_items": [{"price": price.id, "quantity": 1}],
            "success_url": "https://example.com/",
            "client_reference_id": "acme",
        }
    )
    sim.checkout.complete(session.id)
    found = await api.v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["subscription.latest_invoice.payments"]}
    )
    bought = found.subscription
    assert isinstance(bought, stripe.Subscription)
    assert bought.status == "active"
    invoice = bought.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert invoice.status == "paid"
    assert invoice.payments is not None
    assert invoice.payments.data[0].payment.payment_intent == "pi_00000001"
    sim.advance(days=32)
    again = await api.v1.subscriptions.retrieve_async(bought.id)
    assert again.status == "active"
    assert again.latest_invoice != invoice.id
    assert [one["status"] for one in sim.all("invoice")] == ["paid", "paid"]
