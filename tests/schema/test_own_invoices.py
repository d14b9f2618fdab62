"""A customer's token sees its own invoices, subscriptions and operations, and nobody else's."""

from typing import Any

import pytest

from tests.support.dealing import Dealing

INVOICES = """
query ($key: String!, $first: Int! = 50, $after: String) {
  customer(key: $key) {
    invoices(first: $first, after: $after) {
      edges { node { id providerId status paidMinor hostedUrl subscriptionProviderId } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""
MINE = "{ me { key invoices { edges { node { id providerId } } } } }"


async def both_bought(deal: Dealing) -> tuple[str, str]:
    return await deal.subscribe("starter"), await deal.subscribe("pro", key="globex")


async def test_a_customer_reads_what_it_paid(deal: Dealing) -> None:
    own, _ = await both_bought(deal)
    (edge,) = (await deal.post(INVOICES, key="acme"))["data"]["customer"]["invoices"]["edges"]
    node = edge["node"]
    assert (node["status"], node["paidMinor"]) == ("paid", 4_900)
    assert node["subscriptionProviderId"] == own
    (mine,) = (await deal.post(MINE))["data"]["me"]["invoices"]["edges"]
    assert mine["node"]["providerId"] == node["providerId"]


async def test_another_s_invoices_are_read_by_nobody_else(deal: Dealing) -> None:
    await both_bought(deal)
    assert (await deal.post(INVOICES, key="globex"))["data"]["customer"] is None
    assert (await deal.post(INVOICES, key="nobody"))["data"]["customer"] is None
    (theirs,) = (await deal.ask(INVOICES, key="globex"))["customer"]["invoices"]["edges"]
    node = "query ($id: ID!) { node(id: $id) { id } }"
    said = await deal.post(node, id=theirs["node"]["id"])
    assert (said.get("data") or {}).get("node") is None


async def test_one_s_cursor_opens_no_page_of_another(deal: Dealing) -> None:
    await both_bought(deal)
    page = (await deal.ask(INVOICES, key="globex"))["customer"]["invoices"]["pageInfo"]
    said = await deal.post(INVOICES, key="acme", after=page["endCursor"])
    ids = [edge["node"]["paidMinor"] for edge in said["data"]["customer"]["invoices"]["edges"]]
    assert 9_900 not in ids


@pytest.mark.parametrize("given", [{"first": -1}, {"first": 9_999}, {"after": "x"}])
async def test_a_page_that_cannot_be_is_told(deal: Dealing, given: dict[str, Any]) -> None:
    said = await deal.post(INVOICES, key="acme", **given)
    assert {error["extensions"]["code"] for error in said["errors"]} == {"INVALID_INPUT"}


@pytest.mark.parametrize(
    "field",
    [
        'customer(key: "acme") { overrides { reason } }',
        "alerts { edges { node { id } } }",
        'trace(correlationId: "x") { correlationId }',
        "billingOperations { edges { node { id } } }",
        'findCustomers(email: "globex@example.com") { __typename }',
        "webhookReport { received }",
        "webhookEvents { edges { node { __typename } } }",
        "reconciliationFindings { id }",
        "auditLog { edges { node { __typename } } }",
        'mutation { catchUpWebhooks(reason: "x") { missed } }',
        'mutation { acknowledgeAlert(id: "1", reason: "x") { id } }',
        'mutation { syncSubscriptions(dryRun: false, reason: "x") { __typename } }',
        'mutation { resolveFinding(id: "1", reason: "x") }',
        'mutation { resendInvoice(invoice: "in_1", reason: "x") { id } }',
        'mutation { markInvoicePaid(invoice: "in_1", reason: "x") { id } }',
        'mutation { refundPayment(input: {payment: "pi_1"}, reason: "x") { id } }',
        'mutation { createCoupon(input: {name: "x", percentOff: 5}, reason: "x") { id } }',
    ],
)
async def test_what_is_for_operators_is_not_for_a_customer(deal: Dealing, field: str) -> None:
    before = deal.stripe.faults.asked()
    document = field if field.startswith("mutation") else f"{{ {field} }}"
    (error,) = (await deal.post(document))["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN", error
    assert deal.stripe.faults.asked() == before
