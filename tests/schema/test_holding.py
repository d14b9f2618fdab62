"""Holds in GraphQL: by services, listed for whoever may see the customer, ended by operators."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.catalog.file import parse
from tests.support.clock import FakeClock
from tests.support.credits import CATALOG, accounts, actors, gift
from tests.support.graphql import Api, served

FIELDS = """
  id customer feature state units captured held charged credits spentCredits heldCredits
  placedAt expiresAt resolvedAt balance extraConsumptionId replayed actor
  funding { included charged credits buckets { bucket credits } }
  windows { window used held remaining }
"""
PLACE = f"mutation ($input: PlaceHoldInput!) {{ placeHold(input: $input) {{ {FIELDS} }} }}"
CAPTURE = f"mutation ($input: CaptureHoldInput!) {{ captureHold(input: $input) {{ {FIELDS} }} }}"
VOID = f"mutation ($input: VoidHoldInput!) {{ voidHold(input: $input) {{ {FIELDS} }} }}"
EXTEND = f"mutation ($input: ExtendHoldInput!) {{ extendHold(input: $input) {{ {FIELDS} }} }}"
END = """mutation ($hold: ID!, $reason: String! = "the call broke off") {
  endHold(customer: "acme", holdId: $hold, reason: $reason) { state held heldCredits }
}"""
HOLDS = """query ($first: Int! = 50, $after: String, $state: HoldState) {
  customer(key: "acme") {
    holds(first: $first, after: $after, state: $state) {
      edges { cursor node { id state units actor windows { window held } } }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
}"""


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock, catalog=CATALOG) as serving:
        await gift(serving.core, clock, 40)
        yield serving


async def placed(api: Api, feature: str = "claim", **given: object) -> Any:  # noqa: ANN401 - JSON
    given = {"customer": "acme", "feature": feature, **given}
    return (await api.data(PLACE, input=given))["placeHold"]


async def test_what_was_set_aside_is_told_with_who_pays_and_what_is_left(api: Api) -> None:
    hold = await placed(api, "chat", units=130, seconds=60)
    assert hold.pop("id")
    assert hold == {
        "customer": "acme",
        "feature": "chat",
        "state": "OPEN",
        "units": 130,
        "captured": 0,
        "held": 130,
        "charged": 30,
        "credits": 9,
        "spentCredits": 0,
        "heldCredits": 9,
        "placedAt": "2026-03-10T10:00:00Z",
        "expiresAt": "2026-03-10T10:01:00Z",
        "resolvedAt": None,
        "balance": 31,
        "extraConsumptionId": None,
        "replayed": False,
        "actor": "key:test",
        "funding": {
            "included": 100,
            "charged": 30,
            "credits": 9,
            "buckets": [{"bucket": "PERMANENT", "credits": 9}],
        },
        "windows": [
            {"window": "DAY", "used": 0, "held": 130, "remaining": 20},
            {"window": "MONTH", "used": 0, "held": 100, "remaining": 0},
        ],
    }


async def test_a_capture_shows_the_windows_as_they_stand_then(api: Api) -> None:
    hold = await placed(api, "chat", units=130)
    given = {"customer": "acme", "holdId": hold["id"], "units": 110, "final": False}
    part = (await api.data(CAPTURE, input=given))["captureHold"]
    assert (part["state"], part["captured"], part["held"]) == ("OPEN", 110, 20)
    assert (part["spentCredits"], part["heldCredits"]) == (3, 6)
    assert part["windows"] == [
        {"window": "DAY", "used": 110, "held": 20, "remaining": 20},
        {"window": "MONTH", "used": 100, "held": 0, "remaining": 0},
    ]
    assert (part["funding"], part["balance"]) == (None, None)
    last = {"customer": "acme", "holdId": hold["id"], "units": 5}
    whole = (await api.data(CAPTURE, input=last))["captureHold"]
    assert (whole["state"], whole["captured"], whole["held"]) == ("CAPTURED", 115, 0)
    assert whole["windows"][0] == {"window": "DAY", "used": 115, "held": 0, "remaining": 35}
    assert await accounts(api.core) == {"available": 35, "spent": 5}


async def test_one_document_can_void_and_extend_and_sees_each_change(api: Api) -> None:
    one, two = [await placed(api, "calls", units=3) for _ in range(2)]
    data = await api.data(
        """mutation ($one: ID!, $two: ID!) {
          a: extendHold(input: {customer: "acme", holdId: $one, seconds: 900}) {
            expiresAt windows { used held }
          }
          b: voidHold(input: {customer: "acme", holdId: $two}) { state windows { used held } }
          c: captureHold(input: {customer: "acme", holdId: $one, units: 1}) {
            state windows { used held }
          }
        }""",
        one=one["id"],
        two=two["id"],
    )
    assert data == {
        "a": {"expiresAt": "2026-03-10T10:15:00Z", "windows": [{"used": 0, "held": 6}]},
        "b": {"state": "VOIDED", "windows": [{"used": 0, "held": 3}]},
        "c": {"state": "CAPTURED", "windows": [{"used": 1, "held": 0}]},
    }


async def test_a_denial_is_an_error_like_that_of_consume(api: Api) -> None:
    hold = await placed(api, units=6)
    answer = await api.post(PLACE, input={"customer": "acme", "feature": "claim", "units": 3})
    assert answer["data"] == {"placeHold": None}
    [error] = answer["errors"]
    facts = error["extensions"]
    assert (facts["code"], facts["status"], facts["cost"]) == ("INSUFFICIENT_CREDITS", 402, 15)
    assert (facts["balance"], facts["maxUnitsNow"]) == (10, 2)
    assert facts["unlockedByPacks"] == ["small", "large"]
    more = {"customer": "acme", "holdId": hold["id"], "units": 9}
    answer = await api.post(CAPTURE, input=more)
    assert answer["data"] == {"captureHold": None}
    facts = answer["errors"][0]["extensions"]
    assert (facts["code"], facts["units"], facts["balance"]) == ("INSUFFICIENT_CREDITS", 3, 10)
    # Refused, the hold stays as it was.
    whole = {"customer": "acme", "holdId": hold["id"], "units": 8}
    captured = (await api.data(CAPTURE, input=whole))["captureHold"]
    assert (captured["captured"], captured["state"]) == (6, "CAPTURED")
    assert captured["extraConsumptionId"]
    assert await accounts(api.core) == {"spent": 40}


async def test_the_same_key_gives_the_original_answer_also_after_the_hold_has_changed(
    api: Api,
) -> None:
    first = await placed(api, units=2, idempotencyKey="k1")
    captured = {"customer": "acme", "holdId": first["id"], "units": 1, "idempotencyKey": "k2"}
    once = (await api.data(CAPTURE, input=captured))["captureHold"]
    assert await placed(api, units=2, idempotencyKey="k1") == {**first, "replayed": True}
    again = (await api.data(CAPTURE, input=captured))["captureHold"]
    assert again == {**once, "replayed": True}
    error = await api.error(VOID, input={"customer": "acme", "holdId": first["id"]})
    assert (error["code"], error["status"]) == ("HOLD_CLOSED", 409)
    assert error["message"] == "The hold is captured already; place another."
    assert error["docs"] == "errors/HOLD_CLOSED.md"
    error = await api.error(CAPTURE, input={**captured, "units": 2})
    assert (error["code"], error["status"]) == ("IDEMPOTENCY_CONFLICT", 409)


@pytest.mark.parametrize(
    ("query", "given", "told"),
    [
        (PLACE, {"feature": "claim", "units": 0}, "units must be 1 to 2^53 - 1, not 0"),
        (PLACE, {"feature": "claim", "seconds": 0}, "seconds must be 1 to 2678400, not 0"),
        (PLACE, {"feature": "claim", "seconds": 2678401}, "1 to 2678400, not 2678401"),
        (PLACE, {"feature": "export"}, "export is a boolean feature"),
        (CAPTURE, {"holdId": "x"}, "holdId is not the id of a hold"),
        (CAPTURE, {"holdId": "x", "units": 0}, "units must be 1 to 2^53 - 1, not 0"),
        (VOID, {"holdId": ""}, "holdId is not the id of a hold"),
        (VOID, {"holdId": "\u0000"}, "holdId is not the id of a hold"),
        (EXTEND, {"holdId": "x", "seconds": -1}, "seconds must be 1 to 2678400, not -1"),
    ],
)
async def test_what_cannot_mean_anything_is_told_precisely(
    api: Api, query: str, given: dict[str, object], told: str
) -> None:
    error = await api.error(query, input={"customer": "acme", **given})
    assert (error["code"], error["status"]) == ("INVALID_INPUT", 400)
    assert told in error["message"]


async def test_another_customer_s_hold_reads_as_unknown(api: Api) -> None:
    hold = await placed(api)
    for query, more in ((CAPTURE, {}), (VOID, {}), (EXTEND, {"seconds": 900})):
        error = await api.error(query, input={"customer": "other", "holdId": hold["id"], **more})
        assert (error["code"], error["status"]) == ("NOT_FOUND", 404)
        assert error["message"] == "The customer has no hold of this id."


async def test_holds_are_listed_newest_first_page_by_page_and_by_state(api: Api) -> None:
    made = []
    for _ in range(3):
        made.append(await placed(api))
        api.clock.advance(seconds=1)
    await api.data(VOID, input={"customer": "acme", "holdId": made[1]["id"]})

    async def listed(**asked: Any) -> Any:  # noqa: ANN401 - JSON
        return (await api.data(HOLDS, **asked))["customer"]["holds"]

    every = await listed()
    assert [edge["node"]["id"] for edge in every["edges"]] == [h["id"] for h in made[::-1]]
    assert [edge["node"]["state"] for edge in every["edges"]] == ["OPEN", "VOIDED", "OPEN"]
    first = await listed(first=2)
    assert first["pageInfo"]["hasNextPage"]
    rest = await listed(first=2, after=first["pageInfo"]["endCursor"])
    assert [edge["node"]["id"] for edge in rest["edges"]] == [made[0]["id"]]
    assert (rest["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasPreviousPage"]) == (False, True)
    by_state = await listed(state="OPEN")
    assert [edge["node"]["id"] for edge in by_state["edges"]] == [made[2]["id"], made[0]["id"]]
    assert (await listed(state="EXPIRED"))["edges"] == []
    bad: list[dict[str, Any]] = [{"first": -1}, {"first": 101}, {"after": "x"}]
    for asked in bad:
        assert (await api.error(HOLDS, **asked))["code"] == "INVALID_INPUT"


async def test_a_hold_of_a_feature_that_is_gone_is_listed_and_can_be_voided(api: Api) -> None:
    hold = await placed(api, "calls", units=2)
    await placed(api)
    gone = CATALOG.replace('[features.calls]\nname = "Calls"\nkind = "metered"\n', "")
    catalog = parse(gone.replace("calls.day = 10\n", ""), "test.toml")
    await api.core.revisions.apply(catalog, "test", "test", api.clock.now())
    edges = (await api.data(HOLDS))["customer"]["holds"]["edges"]
    assert [edge["node"]["windows"] for edge in edges] == [[], []]
    data = await api.data(VOID, input={"customer": "acme", "holdId": hold["id"]})
    assert (data["voidHold"]["feature"], data["voidHold"]["state"]) == ("calls", "VOIDED")


async def test_a_customer_sees_its_own_holds_and_not_who_placed_them(api: Api) -> None:
    hold = await placed(api, "calls", units=2)
    own = await api.data(HOLDS, as_=api.token("acme"))
    [edge] = own["customer"]["holds"]["edges"]
    assert edge["node"] == {
        "id": hold["id"],
        "state": "OPEN",
        "units": 2,
        "actor": None,
        "windows": [{"window": "DAY", "held": 2}],
    }
    assert (await api.data(HOLDS, as_=api.token("other")))["customer"] is None
    support = await api.data(HOLDS, as_=await api.key("support"))
    assert support["customer"]["holds"]["edges"][0]["node"]["actor"] == "key:test"


async def test_an_operator_ends_a_hold_with_a_reason_on_record(api: Api) -> None:
    hold = await placed(api, units=3)
    ended = await api.data(END, hold=hold["id"], as_=await api.key("support"))
    assert ended["endHold"] == {"state": "VOIDED", "held": 0, "heldCredits": 0}
    assert await accounts(api.core) == {"available": 40}
    log = await api.data(
        '{ auditLog(first: 1, customer: "acme") { edges { node { actor action reason detail } } } }'
    )
    [edge] = log["auditLog"]["edges"]
    detail = edge["node"].pop("detail")
    assert edge["node"] == {
        "actor": "key:test",
        "action": "hold.void",
        "reason": "the call broke off",
    }
    assert (detail["feature"], detail["units"], detail["credits"]) == ("claim", 3, 15)
    entries = await api.data("""{ customer(key: "acme") { credits { ledger(first: 1) {
      edges { node { kind reason actor } } } } } }""")
    assert entries["customer"]["credits"]["ledger"]["edges"] == [
        {"node": {"kind": "RELEASE", "reason": "the call broke off", "actor": "key:test"}}
    ]


async def test_an_end_that_changes_nothing_leaves_no_row(api: Api) -> None:
    hold = await placed(api)
    await api.data(VOID, input={"customer": "acme", "holdId": hold["id"]})
    rows = "select count(*) from audit_log where action = 'hold.void'"
    assert (await api.error(END, hold=hold["id"]))["code"] == "HOLD_CLOSED"
    assert (await api.error(END, hold="x"))["code"] == "INVALID_INPUT"
    open_one = await placed(api)
    assert (await api.error(END, hold=open_one["id"], reason=" "))["code"] == "INVALID_INPUT"
    assert await api.core.database.fetchval(rows) == 0
    assert await accounts(api.core) == {"available": 35, "held": 5}


async def test_every_way_to_take_credits_names_who_did_it(api: Api) -> None:
    service = await api.key("consume")
    items = [{"feature": "claim"}, {"feature": "calls"}]
    for query, given in (
        ("mutation ($g: ConsumeInput!) { consume(input: $g) { id } }", {"feature": "claim"}),
        (
            "mutation ($g: ConsumeTogetherInput!) { consumeTogether(input: $g) { id } }",
            {"items": items},
        ),
        ("mutation ($g: [ConsumeInput!]!) { consumeEach(inputs: $g) { consumption { id } } }", {}),
    ):
        said: object = (
            {"customer": "acme", **given} if given else [{"customer": "acme", "feature": "claim"}]
        )
        await api.data(query, g=said, as_=service)
    own = api.token("acme", ["check", "consume"])
    await api.data('mutation { consume(input: {feature: "claim"}) { id } }', as_=own)
    hold = await placed(api)
    await api.data(CAPTURE, input={"customer": "acme", "holdId": hold["id"]})
    made = await actors(api.core)
    assert made[1:4] == [("spend", "key:test")] * 3
    assert made[4][1].startswith("token:")
    assert made[5:] == [("hold", "key:test"), ("capture", "key:test")]
