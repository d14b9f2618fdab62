"""Credits as customers see them and operators mend them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.ledger.entries import Kind, Movement, Why, post
from tests.support.clock import FakeClock
from tests.support.graphql import CATALOG, Api, served

GRANT = """mutation ($credits: Units!, $key: String, $bucket: CreditBucket! = PERMANENT,
    $expiresAt: DateTime, $features: [String!]) {
  grantCredits(customer: "acme", credits: $credits, bucket: $bucket, reason: "goodwill",
      expiresAt: $expiresAt, features: $features, reference: "ticket-1", idempotencyKey: $key) {
    credits grants { grant credits } available replayed operationId
  }
}"""
ADJUST = """mutation ($credits: SignedUnits!, $key: String) {
  adjustCredits(customer: "acme", credits: $credits, reason: "miscounted", idempotencyKey: $key) {
    credits grants { grant credits } available replayed
  }
}"""
VOID = """mutation ($grant: Units!, $key: String) {
  voidGrant(customer: "acme", grant: $grant, reason: "a mistake", idempotencyKey: $key) {
    change { credits available replayed } grant spent held expired
  }
}"""
LOG = '{ auditLog(customer: "acme") { edges { node { action actor reason detail } } } }'
BALANCE = '{ customer(key: "acme") { credits { available held } } }'


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    catalog = CATALOG + "\n[costs.calls]\ncredits = 2\n"
    async with served(database_url, redis_url, clock, catalog=catalog) as serving:
        yield serving


async def give(api: Api, credits: int, **more: Any) -> dict[str, Any]:  # noqa: A002 - its own word
    change: dict[str, Any] = (await api.data(GRANT, credits=credits, **more))["grantCredits"]
    return change


async def acts(api: Api) -> list[dict[str, Any]]:
    found = (await api.data(LOG))["auditLog"]["edges"]
    return [e["node"] for e in found if e["node"]["action"].startswith("credits.")]


async def spend(
    api: Api, grant: int, amount: int, units: int, operation: str, kind: Kind = Kind.SPEND
) -> None:
    """Have credits spent on calls, as a consumption does, or come back."""
    at = api.clock.now()
    number = await api.core.holders.number("acme")
    feature = api.core.revisions.newest.feature_ids["calls"]
    why = Why(operation, "used", "key:product")
    moved = Movement(number, kind, grant, amount, at, why, feature, units)
    async with api.core.database.transaction() as conn:
        await post(conn, [moved])


async def available(api: Api) -> int:
    units: int = (await api.data(BALANCE))["customer"]["credits"]["available"]
    return units


async def test_credits_are_given_once_for_a_key_and_stand_on_record(api: Api) -> None:
    first = await give(api, 50, key="gift")
    again = await give(api, 50, key="gift")
    assert (first["credits"], first["available"], first["replayed"]) == (50, 50, False)
    assert again == {**first, "replayed": True}
    assert (await give(api, 50))["available"] == 100
    assert (await api.error(GRANT, credits=51, key="gift"))["code"] == "IDEMPOTENCY_CONFLICT"
    assert await available(api) == 100
    found = await acts(api)
    assert [(a["action"], a["reason"], a["actor"]) for a in found] == [
        ("credits.grant", "goodwill", "key:test")
    ] * 2
    assert found[1]["detail"]["operation"] == first["operationId"] == "~grant:gift"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"credits": 0}, "INVALID_INPUT"),
        ({"credits": 1, "expiresAt": "2026-03-10T10:00:00Z"}, "INVALID_INPUT"),
        ({"credits": 1, "features": ["nothing"]}, "UNKNOWN_FEATURE"),
        ({"credits": 1, "features": ["seats"]}, "INVALID_INPUT"),
        ({"credits": 1, "features": []}, "INVALID_INPUT"),
        ({"credits": 1, "key": "~mine"}, "INVALID_INPUT"),
    ],
)
async def test_a_gift_that_cannot_be_is_refused(api: Api, said: dict[str, Any], code: str) -> None:
    assert (await api.error(GRANT, **said))["code"] == code
    assert await acts(api) == []


async def test_more_credits_than_can_be_counted_are_refused(api: Api) -> None:
    await give(api, 2**53 - 1)
    assert "at most" in (await api.error(GRANT, credits=1))["message"]


async def test_a_correction_goes_up_by_a_grant_and_down_in_burn_order(api: Api) -> None:
    promo = await give(api, 20, bucket="PROMOTIONAL", expiresAt="2026-04-01T00:00:00Z")
    up = (await api.data(ADJUST, credits=30, key="up"))["adjustCredits"]
    assert (await api.error(ADJUST, credits=-30, key="up"))["code"] == "IDEMPOTENCY_CONFLICT"
    assert (up["credits"], up["available"]) == (30, 50)
    down = (await api.data(ADJUST, credits=-35, key="fix"))["adjustCredits"]
    assert down["grants"] == [
        {"grant": promo["grants"][0]["grant"], "credits": -20},
        {"grant": up["grants"][0]["grant"], "credits": -15},
    ]
    again = (await api.data(ADJUST, credits=-35, key="fix"))["adjustCredits"]
    assert again == {**down, "replayed": True}
    assert await available(api) == 15
    for credits in (-34, 35):  # noqa: A001 - the field's own word
        error = await api.error(ADJUST, credits=credits, key="fix")
        assert error["code"] == "IDEMPOTENCY_CONFLICT"
    assert [a["action"] for a in await acts(api)] == ["credits.adjust"] * 2 + ["credits.grant"]


async def test_more_than_is_available_is_not_taken_and_nothing_changes(api: Api) -> None:
    await give(api, 20)
    error = await api.error(ADJUST, credits=-21)
    assert (error["code"], error["message"]) == (
        "INVALID_INPUT",
        "21 credits cannot be taken: 20 are available. Nothing was changed.",
    )
    assert (await api.error(ADJUST, credits=0))["code"] == "INVALID_INPUT"
    assert await available(api) == 20
    assert len(await acts(api)) == 1


async def test_a_voided_grant_gives_back_what_is_left_and_says_what_is_not(api: Api) -> None:
    grant = (await give(api, 50))["grants"][0]["grant"]
    await spend(api, grant, 12, 6, "~a1")
    voided = (await api.data(VOID, grant=grant, key="v"))["voidGrant"]
    assert voided == {
        "change": {"credits": -38, "available": 0, "replayed": False},
        "grant": grant,
        "spent": 12,
        "held": 0,
        "expired": 0,
    }
    again = (await api.data(VOID, grant=grant, key="v"))["voidGrant"]
    assert again["change"] == {"credits": -38, "available": 0, "replayed": True}
    assert (await api.data(VOID, grant=grant))["voidGrant"]["change"]["credits"] == 0
    assert (await api.error(VOID, grant=999))["code"] == "NOT_FOUND"
    assert [a["action"] for a in await acts(api)] == ["credits.void_grant"] * 2 + ["credits.grant"]


async def test_a_grant_of_which_nothing_was_left_is_not_voided_later_under_the_same_key(
    api: Api,
) -> None:
    grant = (await give(api, 18))["grants"][0]["grant"]
    other = (await give(api, 5))["grants"][0]["grant"]
    await spend(api, grant, 18, 6, "~a1")
    nothing = (await api.data(VOID, grant=grant, key="v"))["voidGrant"]["change"]
    assert (nothing["credits"], nothing["replayed"]) == (0, False)
    await spend(api, grant, 18, 6, "~a1", kind=Kind.RETURN)
    again = (await api.data(VOID, grant=grant, key="v"))["voidGrant"]["change"]
    assert (again["credits"], again["available"], again["replayed"]) == (0, 23, True)
    assert (await api.error(VOID, grant=other, key="v"))["code"] == "IDEMPOTENCY_CONFLICT"


READ = """query ($kinds: [CreditEntryKind!], $first: Int! = 50, $after: String) {
  customer(key: "acme") { credits {
    available held buckets { bucket available held }
    grants { edges { node { number units available features reason actor reference } } }
    ledger(kinds: $kinds, first: $first, after: $after) {
      edges { cursor node { kind amount debit credit grant feature units reason actor } }
      pageInfo { hasNextPage endCursor }
    }
    statement(month: "2026-03") {
      total { opening granted spent closing } buckets { bucket closing }
      features { feature units credits } csv
    }
  } }
}"""


async def test_a_customer_reads_its_credits_but_not_who_did_what_and_why(api: Api) -> None:
    grant = (await give(api, 50, features=["calls"]))["grants"][0]["grant"]
    await spend(api, grant, 12, 6, "~a1")
    told = (await api.data(READ, as_=api.token("acme")))["customer"]["credits"]
    assert (told["available"], told["held"]) == (38, 0)
    assert told["buckets"][1] == {"bucket": "PERMANENT", "available": 38, "held": 0}
    [shown] = [edge["node"] for edge in told["grants"]["edges"]]
    assert (shown["available"], shown["features"], shown["reason"]) == (38, ["calls"], None)
    assert [edge["node"] for edge in told["ledger"]["edges"]] == [
        {
            "kind": "SPEND",
            "amount": 12,
            "debit": "available",
            "credit": "spent",
            "grant": grant,
            "feature": "calls",
            "units": 6,
            "reason": None,
            "actor": None,
        },
        {
            "kind": "GRANT",
            "amount": 50,
            "debit": "issued",
            "credit": "available",
            "grant": grant,
            "feature": None,
            "units": None,
            "reason": None,
            "actor": None,
        },
    ]
    statement = told["statement"]
    assert statement["total"] == {"opening": 0, "granted": 50, "spent": 12, "closing": 38}
    assert statement["features"] == [{"feature": "calls", "units": 6, "credits": 12}]
    assert statement["csv"].startswith("customer,month,")
    seen = (await api.data(READ, as_=await api.key("support")))["customer"]["credits"]
    assert [(e["node"]["reason"], e["node"]["actor"]) for e in seen["ledger"]["edges"]] == [
        ("used", "key:product"),
        ("goodwill", "key:test"),
    ]
    assert seen["grants"]["edges"][0]["node"]["reason"] == "goodwill"
    bare = (await api.data(READ, as_=await api.key("check")))["customer"]["credits"]
    assert bare["ledger"]["edges"][0]["node"]["actor"] is None


async def test_the_ledger_is_turned_by_cursor_and_filtered(api: Api) -> None:
    for _ in range(3):
        await give(api, 5)
    await api.data(ADJUST, credits=-2)
    page = (await api.data(READ, first=3))["customer"]["credits"]["ledger"]
    assert page["pageInfo"]["hasNextPage"]
    after = page["pageInfo"]["endCursor"]
    rest = (await api.data(READ, first=3, after=after))["customer"]["credits"]["ledger"]
    assert [e["node"]["kind"] for e in rest["edges"]] == ["GRANT"]
    only = (await api.data(READ, kinds=["REVOKE"]))["customer"]["credits"]["ledger"]
    assert [e["node"]["amount"] for e in only["edges"]] == [2]
    assert (await api.error(READ, after="nonsense"))["code"] == "INVALID_INPUT"


async def test_a_balance_of_an_earlier_instant(api: Api) -> None:
    await give(api, 5)
    api.clock.advance(days=1)
    await give(api, 6)
    at = """query ($at: DateTime) {
      customer(key: "acme") { credits(at: $at) { available } }
    }"""
    for instant, units in ((None, 11), ("2026-03-10T10:00:00Z", 5), ("2026-03-10T09:59:59Z", 0)):
        found = (await api.data(at, at=instant))["customer"]["credits"]
        assert found == {"available": units}, instant


REFUND = """mutation ($dryRun: Boolean! = true, $cost: RightCostInput, $after: String,
    $first: Int! = 100) {
  refundOvercharged(feature: "calls", from: "2026-03-01T00:00:00Z", to: "2026-04-01T00:00:00Z",
      reason: "priced wrongly", cost: $cost, dryRun: $dryRun, after: $after, first: $first) {
    dryRun credits after
    customers { customer operations charged right returnedBefore credits }
  }
}"""


async def test_an_overcharge_is_shown_first_then_returned_once(api: Api) -> None:
    grant = (await give(api, 100))["grants"][0]["grant"]
    await spend(api, grant, 50, 10, "~a1")
    owed = {
        "customer": "acme",
        "operations": 1,
        "charged": 50,
        "right": 20,
        "returnedBefore": 0,
        "credits": 30,
    }
    dry = (await api.data(REFUND))["refundOvercharged"]
    assert dry == {"dryRun": True, "credits": 30, "after": None, "customers": [owed]}
    assert await available(api) == 50
    done = (await api.data(REFUND, dryRun=False))["refundOvercharged"]
    assert done == {**dry, "dryRun": False}
    assert await available(api) == 80
    again = (await api.data(REFUND, dryRun=False))["refundOvercharged"]
    assert (again["credits"], again["customers"]) == (0, [])
    free = (await api.data(REFUND, cost={"credits": 1, "per": 2}))["refundOvercharged"]
    assert free["customers"][0]["credits"] == 15
    [act, _] = await acts(api)
    assert (act["action"], act["detail"]["credits"]) == ("credits.refund_overcharged", 30)
    assert act["detail"]["cost"] == {"credits": 2, "per": 1, "rounding": "up", "minimum": 0}
    error = await api.error(REFUND.replace("calls", "posts"))
    assert "say the right cost" in error["message"]
    assert (await api.error(REFUND, as_=await api.key("support")))["code"] == "FORBIDDEN"


async def test_heavy_users_are_reported(api: Api) -> None:
    grant = (await give(api, 100))["grants"][0]["grant"]
    await spend(api, grant, 50, 10, "~a1")
    api.clock.advance(hours=1)
    query = """{ heavyUsers(from: "2026-03-01T00:00:00Z") {
      customer { key } credits share features { feature units credits }
    } }"""
    assert (await api.data(query))["heavyUsers"] == [
        {
            "customer": {"key": "acme"},
            "credits": 50,
            "share": 1.0,
            "features": [{"feature": "calls", "units": 10, "credits": 50}],
        }
    ]


async def test_a_wrong_balance_is_found_and_rebuilt_on_record(api: Api) -> None:
    await give(api, 100)
    check = "{ creditFindings { kind severity observed expected } }"
    assert (await api.data(check))["creditFindings"] == []
    await api.core.database.execute("update credit_grants set available = 90")
    [finding] = (await api.data(check))["creditFindings"]
    assert (finding["kind"], finding["severity"]) == ("balance_mismatch", "critical")
    rebuild = 'mutation { rebuildCreditBalances(reason: "drifted") }'
    assert (await api.data(rebuild))["rebuildCreditBalances"] == 1
    assert (await api.data(rebuild))["rebuildCreditBalances"] == 0
    assert (await api.data(check))["creditFindings"] == []
    assert await available(api) == 100
    assert (await acts(api))[0]["action"] == "credits.rebuild"
