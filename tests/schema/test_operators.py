"""What operators do, in GraphQL: each with a reason, and on record."""

from typing import Any

import pytest

from api.billing import inbox
from tests.support.graphql import CATALOG, Api
from tests.support.stripe_events import body_of, event, signed

BETTER = CATALOG.replace("calls = { hour = 5,", "calls = { hour = 6,")


async def log(api: Api, **asked: object) -> list[dict[str, Any]]:
    query = """query ($customer: String, $first: Int! = 50) {
      auditLog(customer: $customer, first: $first) {
        edges { node { at actor action reason detail correlationId customer { key } } }
      }
    }"""
    answer = await api.send({"query": query, "variables": asked})
    return [edge["node"] for edge in answer["data"]["auditLog"]["edges"]]


APPLY = """mutation ($document: String!, $dryRun: Boolean! = false) {
  applyCatalog(document: $document, dryRun: $dryRun, reason: "spring prices") {
    applied revision hindrances customersMoved changes { path before after warning text }
  }
}"""


async def test_a_dry_run_of_a_catalog_says_what_would_change_and_changes_nothing(api: Api) -> None:
    dry = (await api.data(APPLY, document=BETTER, dryRun=True))["applyCatalog"]
    assert (dry["applied"], dry["revision"], dry["customersMoved"]) == (False, 1, 0)
    [change] = dry["changes"]
    assert change["path"] == ["plan", "free", "calls", "hour"]
    assert (change["before"], change["after"]) == (5, 6)
    revisions = "{ catalogRevisions { edges { node { number } } } }"
    assert (await api.data(revisions))["catalogRevisions"]["edges"] == [{"node": {"number": 1}}]


async def test_a_catalog_is_applied_moves_customers_and_keeps_what_was_used(api: Api) -> None:
    consume = 'mutation { consume(input: {customer: "acme", feature: "calls", units: 4}) { id } }'
    await api.data(consume)
    applied = (await api.data(APPLY, document=BETTER))["applyCatalog"]
    assert (applied["applied"], applied["revision"], applied["customersMoved"]) == (True, 2, 2)
    check = '{ check(customer: "acme", feature: "calls") { windows { limit used } } }'
    assert (await api.data(check))["check"]["windows"][0] == {"limit": 6, "used": 4}
    again = (await api.data(APPLY, document=BETTER))["applyCatalog"]
    assert (again["applied"], again["revision"], again["changes"]) == (False, 2, [])
    revisions = """{ catalogRevisions(first: 1) {
      edges { node { number appliedBy document } } pageInfo { hasNextPage endCursor }
    } }"""
    page = (await api.data(revisions))["catalogRevisions"]
    assert page["edges"][0]["node"]["number"] == 2
    assert page["edges"][0]["node"]["appliedBy"] == "key:test"
    assert page["edges"][0]["node"]["document"]["product"] == "test"
    assert page["pageInfo"]["hasNextPage"]
    [act] = [one for one in await log(api) if one["reason"] == "spring prices"]
    assert act["action"] == "catalog.apply"


async def test_a_bad_catalog_is_refused_whole_with_every_problem_and_its_line(api: Api) -> None:
    bad = CATALOG.replace('kind = "boolean"', 'kind = "maybe"').replace("seats = 3", "seats = -3")
    error = await api.error(APPLY, document=bad)
    assert error["code"] == "INVALID_INPUT"
    problems = error["problems"]
    lines = bad.splitlines()
    assert len(problems) >= 2
    assert {p["file"] for p in problems} == {"catalog.toml"}
    assert any("maybe" in lines[p["line"] - 1] for p in problems)
    assert any("-3" in lines[p["line"] - 1] for p in problems)


async def test_a_key_is_made_shown_once_used_and_revoked(api: Api) -> None:
    made = (
        await api.data(
            """mutation { createApiKey(name: "gate", scopes: [CHECK, CONSUME], reason: "new gate") {
              key apiKey { number name prefix scopes revokedAt }
            } }"""
        )
    )["createApiKey"]
    assert made["apiKey"]["scopes"] == ["CHECK", "CONSUME"]
    assert made["key"].startswith(made["apiKey"]["prefix"])
    assert (await api.data("{ me { key } }", as_=made["key"]))["me"] is None
    listed = (await api.data("{ apiKeys { name prefix scopes revokedAt } }"))["apiKeys"]
    assert made["key"] not in str(listed)
    assert listed[0]["name"] == "gate"
    revoke = """mutation ($which: String!) {
      revokeApiKey(which: $which, reason: "moved") { name revokedAt }
    }"""
    revoked = (await api.data(revoke, which="gate"))["revokeApiKey"]
    assert revoked == {"name": "gate", "revokedAt": "2026-03-10T10:00:00Z"}
    assert (await api.error("{ me { key } }", as_=made["key"]))["code"] == "UNAUTHENTICATED"
    assert (await api.error(revoke, which="gate"))["code"] == "NOT_FOUND"
    assert [one["action"] for one in await log(api, first=2)] == ["keys.revoke", "keys.create"]


MINT = """mutation ($customer: String!, $scopes: [Scope!]! = [CHECK], $ttl: Int! = 60) {
  mintCustomerToken(customer: $customer, scopes: $scopes, ttlSeconds: $ttl, reason: "login") {
    token expiresAt
  }
}"""


async def test_a_token_is_minted_by_a_service_that_has_the_scope_itself(api: Api) -> None:
    gate = await api.key("consume")
    minted = await api.data(MINT, as_=gate, customer="acme", scopes=["CONSUME"])
    token = minted["mintCustomerToken"]["token"]
    assert minted["mintCustomerToken"]["expiresAt"] == "2026-03-10T10:01:00Z"
    consume = 'mutation { consume(input: {feature: "calls"}) { customer } }'
    assert (await api.data(consume, as_=token))["consume"] == {"customer": "acme"}
    api.clock.advance(seconds=120)
    assert (await api.error("{ me { key } }", as_=token))["code"] == "UNAUTHENTICATED"
    assert (await log(api, first=1))[0]["action"] == "tokens.mint"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"customer": "nobody"}, "UNKNOWN_CUSTOMER"),
        ({"customer": "acme", "scopes": ["ADMIN"]}, "INVALID_INPUT"),
        ({"customer": "acme", "scopes": []}, "INVALID_INPUT"),
        ({"customer": "acme", "ttl": 0}, "INVALID_INPUT"),
        ({"customer": "acme", "ttl": 90_000}, "INVALID_INPUT"),
    ],
)
async def test_a_token_that_must_not_be_is_not_minted(
    api: Api, asked: dict[str, object], code: str
) -> None:
    answer = await api.send({"query": MINT, "variables": asked})
    assert answer["errors"][0]["extensions"]["code"] == code


async def test_customers_are_listed_in_pages_and_found_by_address(api: Api) -> None:
    tell = """mutation ($key: String!) {
      upsertCustomer(input: {key: $key, email: "Both@Example.com"}) { key }
    }"""
    for key in ("one", "two"):
        await api.data(tell, key=key)
    query = """query ($first: Int! = 50, $after: String, $email: String) {
      customers(first: $first, after: $after, email: $email) {
        edges { cursor node { key } } pageInfo { hasNextPage endCursor }
      }
    }"""
    keys, after = [], None
    while True:
        page = (await api.data(query, first=3, after=after))["customers"]
        keys += [edge["node"]["key"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert keys == ["acme", "other", "one", "two"]
    page = (await api.data(query, email="both@example.COM", first=1))["customers"]
    assert [edge["node"]["key"] for edge in page["edges"]] == ["one"]
    rest = await api.data(query, email="both@example.com", after=page["pageInfo"]["endCursor"])
    assert [edge["node"]["key"] for edge in rest["customers"]["edges"]] == ["two"]


async def test_a_promise_is_made_seen_kept_and_taken_back(api: Api) -> None:
    promise = """mutation ($input: OverrideInput!) {
      setOverride(input: $input, reason: "goodwill") {
        feature enabled value limits { window units } expiresAt reason actor
      }
    }"""
    made = await api.data(
        promise,
        input={
            "customer": "acme",
            "feature": "calls",
            "limits": [{"window": "HOUR", "units": 50}, {"window": "DAY", "units": None}],
            "expiresAt": "2026-03-11T10:00:00Z",
        },
    )
    assert made["setOverride"] == {
        "feature": "calls",
        "enabled": None,
        "value": None,
        "limits": [{"window": "HOUR", "units": 50}, {"window": "DAY", "units": None}],
        "expiresAt": "2026-03-11T10:00:00Z",
        "reason": "goodwill",
        "actor": "key:test",
    }
    check = '{ check(customer: "acme", feature: "calls", units: 40) { allowed maxUnitsNow } }'
    assert (await api.data(check))["check"] == {"allowed": True, "maxUnitsNow": 50}
    clear = """mutation { clearOverride(customer: "acme", feature: "calls", reason: "done") {
      feature reason
    } }"""
    assert (await api.data(clear))["clearOverride"] == {"feature": "calls", "reason": "goodwill"}
    assert (await api.data(check))["check"]["allowed"] is False
    assert (await api.error(clear))["code"] == "NOT_FOUND"
    [cleared, made_act] = (await log(api, customer="acme"))[:2]
    assert (cleared["action"], cleared["reason"]) == ("override.clear", "done")
    assert (made_act["action"], made_act["customer"]) == ("override.set", {"key": "acme"})


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"value": {"a": 1}},
        {"value": 1},
        {"limits": [{"window": "HOUR"}]},
        {"limits": [{"window": "HOUR", "units": 1, "status": 418}]},
        {"limits": [{"window": "HOUR", "units": 1}], "expiresAt": "2020-01-01T00:00:00Z"},
        {"enabled": False, "limits": [{"window": "HOUR", "units": 1}]},
    ],
)
async def test_a_promise_that_cannot_be_kept_is_refused(api: Api, said: dict[str, object]) -> None:
    query = """mutation ($input: OverrideInput!) {
      setOverride(input: $input, reason: "x") { feature }
    }"""
    error = await api.error(query, input={"customer": "acme", "feature": "calls", **said})
    assert (error["code"], error["status"]) == ("INVALID_INPUT", 400)


async def test_an_entitlement_is_explained_by_everything_that_it_rests_on(api: Api) -> None:
    await api.data(
        """mutation { setOverride(reason: "pilot", input: {
          customer: "acme", feature: "calls", limits: [{window: HOUR, units: 2}]
        }) { feature } }"""
    )
    explained = (
        await api.data(
            """{ explainEntitlement(customer: "acme", feature: "calls") {
              customer { key } feature catalogRevision newestCatalogRevision plan plans withheld
              subscriptions { status gives why }
              offers { source name quantity enabled limits { window units } }
              override { reason } granted limits { window units } changesAt
              decision { allowed windows { limit } } trouble
            } }"""
        )
    )["explainEntitlement"]
    assert explained["plan"] == "free"
    assert [one["source"] for one in explained["offers"]] == ["plan", "override"]
    assert explained["limits"] == [{"window": "HOUR", "units": 2}, {"window": "DAY", "units": 8}]
    assert explained["override"] == {"reason": "pilot"}
    assert explained["decision"]["allowed"] is True
    assert (explained["granted"], explained["trouble"]) == (True, None)


async def test_usage_is_explained_reset_and_rebuilt(api: Api) -> None:
    consume = 'mutation { consume(input: {customer: "acme", feature: "calls", units: 5}) { id } }'
    await api.data(consume)
    reset = """mutation { resetUsage(customer: "acme", feature: "calls", reason: "by mistake") {
      units before { windows { used } } after { windows { used } }
    } }"""
    repaired = (await api.data(reset))["resetUsage"]
    assert repaired["units"] == 5
    assert repaired["before"] == [{"windows": [{"used": 5}, {"used": 5}]}]
    assert repaired["after"] == [{"windows": [{"used": 0}, {"used": 0}]}]
    await api.data(consume)
    rebuild = """mutation { rebuildUsage(customer: "acme", reason: "stuck") {
      after { feature granted windows { used } }
    } }"""
    after = (await api.data(rebuild))["rebuildUsage"]["after"]
    assert after[0] == {"feature": "calls", "granted": True, "windows": [{"used": 5}, {"used": 5}]}
    explain = """{ usageExplain(customer: "acme", feature: "calls") {
      customer settled waiting features { feature counters {
        window { window used } counted recorded drifted
      } }
    } }"""
    explained = (await api.data(explain))["usageExplain"]
    assert explained["features"] == [
        {
            "feature": "calls",
            "counters": [
                {
                    "window": {"window": window, "used": 5},
                    "counted": 5,
                    "recorded": 5,
                    "drifted": False,
                }
                for window in ("HOUR", "DAY")
            ],
        }
    ]
    assert [one["action"] for one in await log(api, customer="acme")][:2] == [
        "usage.rebuild",
        "usage.reset",
    ]


async def test_rights_are_published_again_for_one_or_for_all(api: Api) -> None:
    one = """mutation { rebuildEntitlements(customer: "acme", reason: "lost") {
      after { feature granted }
    } }"""
    rebuilt = (await api.data(one))["rebuildEntitlements"]
    assert rebuilt["after"][0] == {"feature": "calls", "granted": True}
    everybody = """mutation ($dry: Boolean!) {
      rebuildAllEntitlements(reason: "new store", dryRun: $dry)
    }"""
    assert (await api.data(everybody, dry=True))["rebuildAllEntitlements"] == 2
    assert (await log(api, first=1))[0]["action"] == "entitlements.rebuild"
    assert (await api.data(everybody, dry=False))["rebuildAllEntitlements"] == 2
    assert (await log(api, first=1))[0]["action"] == "entitlements.rebuild_all"


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "bell \x07"])
async def test_an_action_without_a_sayable_reason_is_refused(api: Api, reason: str) -> None:
    for mutation in (
        'resetUsage(customer: "acme", feature: "calls", reason: $r) { units }',
        'rebuildUsage(customer: "acme", reason: $r) { units }',
        'rebuildEntitlements(customer: "acme", reason: $r) { units }',
        "rebuildAllEntitlements(reason: $r)",
        'createApiKey(name: "x", scopes: [CHECK], reason: $r) { key }',
        'revokeApiKey(which: "test", reason: $r) { name }',
        'mintCustomerToken(customer: "acme", reason: $r) { token }',
    ):
        error = await api.error(f"mutation ($r: String!) {{ {mutation} }}", r=reason)
        assert error["code"] == "INVALID_INPUT", mutation


async def store(api: Api, number: int, state: str) -> None:
    """Have an event told, and leave it in this state as the worker would."""
    at = api.clock.now()
    told = event("invoice.paid", {"id": f"in_{number}"}, at, event_id=f"evt_{number}")
    body = body_of(told)
    await api.inbox.accept(body, signed(body, at), "127.0.0.1", "test", at)
    await api.core.database.execute(
        "update webhook_events set state = $1, error = 'unknown price' where event_id = $2",
        state,
        told["id"],
    )


async def test_events_are_listed_shown_and_replayed(api: Api) -> None:
    for number in range(3):
        await store(api, number, "parked" if number else "applied")
    query = """query ($state: WebhookState, $after: String, $type: String) {
      webhookEvents(first: 2, state: $state, after: $after, type: $type) {
        edges { node { eventId type state error objectId customer { key } } }
        pageInfo { hasNextPage endCursor }
      }
    }"""
    page = (await api.data(query))["webhookEvents"]
    assert [edge["node"]["eventId"] for edge in page["edges"]] == ["evt_2", "evt_1"]
    assert page["pageInfo"]["hasNextPage"]
    page = (await api.data(query, after=page["pageInfo"]["endCursor"]))["webhookEvents"]
    assert [edge["node"]["eventId"] for edge in page["edges"]] == ["evt_0"]
    parked = (await api.data(query, state="PARKED"))["webhookEvents"]["edges"]
    assert {edge["node"]["state"] for edge in parked} == {"PARKED"}
    assert (await api.data(query, type="charge.refunded"))["webhookEvents"]["edges"] == []
    shown = '{ webhookEvent(eventId: "evt_1") { state attempts payload error } }'
    found = (await api.data(shown))["webhookEvent"]
    assert (found["state"], found["attempts"], found["error"]) == ("PARKED", 0, "unknown price")
    assert found["payload"]["id"] == "evt_1"
    dry = 'mutation { replayWebhooks(reason: "price added", dryRun: true) { eventId } }'
    assert len((await api.data(dry))["replayWebhooks"]) == 2
    assert (await api.data(shown))["webhookEvent"]["state"] == "PARKED"
    one = 'mutation { replayWebhook(eventId: "evt_1", reason: "price added") { eventId } }'
    assert (await api.data(one))["replayWebhook"] == {"eventId": "evt_1"}
    assert (await api.data(shown))["webhookEvent"]["state"] == "PENDING"
    rest = 'mutation { replayWebhooks(reason: "price added") { eventId } }'
    assert (await api.data(rest))["replayWebhooks"] == [{"eventId": "evt_2"}]
    assert [one["action"] for one in await log(api, first=2)] == ["webhooks.replay"] * 2
    many = ["evt_1"] * (inbox.MOST_REPLAYED + 1)
    query = 'mutation ($ids: [String!]) { replayWebhooks(reason: "x", eventIds: $ids) { eventId } }'
    assert (await api.error(query, ids=many))["code"] == "INVALID_INPUT"
