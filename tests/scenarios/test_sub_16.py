"""SUB-16: an invoice is sent again, or was paid elsewhere; a customer is known by e-mail only."""

from typing import Any

from tests.support.clock import FakeClock
from tests.support.dealing import OPERATION, dealing

FIND = """
query ($email: String!) {
  findCustomers(email: $email) { customers { key } atProvider { id email key linkedWith } }
}
"""


def doing(field: str) -> str:
    return (
        f'mutation ($invoice: String!) {{ {field}(invoice: $invoice, reason: "they asked") '
        f"{OPERATION} }}"
    )


async def test_an_invoice_is_sent_again_and_then_was_paid_elsewhere(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        bought = await deal.subscribe("pro", collection_method="send_invoice", days_until_due=7)
        deal.stripe.advance(days=10)
        await deal.hear()
        invoice = deal.stripe.get(bought)["latest_invoice"]
        sent: Any = await deal.post(doing("resendInvoice"), as_="support", invoice=invoice)
        assert sent["data"]["resendInvoice"]["objectId"] == invoice
        paid = await deal.post(doing("markInvoicePaid"), as_="support", invoice=invoice)
        assert paid["data"]["markInvoicePaid"]["error"] is None
        await deal.hear()
        assert deal.stripe.get(invoice)["status"] == "paid"
        states = await deal.core.database.fetch("select state from provider_operations")
        assert [row["state"] for row in states] == ["confirmed", "confirmed"]
        [held] = (await deal.standing())["subscriptions"]
        assert held["status"] == "ACTIVE"
        twice = await deal.post(doing("markInvoicePaid"), as_="support", invoice=invoice)
        assert twice["errors"][0]["extensions"]["code"] == "PROVIDER_REFUSED"
        own = await deal.post(doing("markInvoicePaid"), invoice=invoice)
        assert own["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_customer_is_found_by_its_address(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        await deal.subscribe("pro")
        said = await deal.post(FIND, as_="support", email="acme@example.com")
        [found] = said["data"]["findCustomers"]["atProvider"]
        assert (found["email"], found["key"]) == ("acme@example.com", "acme")
        assert found["linkedWith"] == "acme"
        stranger = deal.stripe.customer(email="acme@example.com")
        said = await deal.post(FIND, as_="support", email="acme@example.com")
        linked = {
            one["id"]: one["linkedWith"] for one in said["data"]["findCustomers"]["atProvider"]
        }
        assert linked == {found["id"]: "acme", stranger: None}
