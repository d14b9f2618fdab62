"""Deciding and counting, in GraphQL."""

from tests.support.graphql import Api

CONSUME = """
mutation ($input: ConsumeInput!) {
  consume(input: $input) {
    id customer feature units replayed degraded
    windows { window limit used held remaining startsAt resetsAt shadow }
  }
}
"""


async def test_what_is_consumed_is_told_with_its_windows(api: Api) -> None:
    data = await api.data(CONSUME, input={"customer": "acme", "feature": "calls", "units": 3})
    consumed = data["consume"]
    assert consumed["id"]
    assert (consumed["customer"], consumed["feature"], consumed["units"]) == ("acme", "calls", 3)
    assert (consumed["replayed"], consumed["degraded"]) == (False, False)
    assert consumed["windows"] == [
        {
            "window": "HOUR",
            "limit": 5,
            "used": 3,
            "held": 0,
            "remaining": 2,
            "startsAt": "2026-03-10T10:00:00Z",
            "resetsAt": "2026-03-10T11:00:00Z",
            "shadow": False,
        },
        {
            "window": "DAY",
            "limit": 8,
            "used": 3,
            "held": 0,
            "remaining": 5,
            "startsAt": "2026-03-10T00:00:00Z",
            "resetsAt": "2026-03-11T00:00:00Z",
            "shadow": False,
        },
    ]


async def test_a_denial_is_an_error_with_every_fact_and_the_field_is_null(api: Api) -> None:
    await api.data(CONSUME, input={"customer": "acme", "feature": "calls", "units": 5})
    api.clock.advance(hours=1)
    await api.data(CONSUME, input={"customer": "acme", "feature": "calls", "units": 3})
    answer = await api.post(CONSUME, input={"customer": "acme", "feature": "calls", "units": 2})
    assert answer["data"] == {"consume": None}
    [error] = answer["errors"]
    assert error["path"] == ["consume"]
    assert "Calls" in error["message"]
    assert error["extensions"] == {
        "code": "FREE_CAP_EXCEEDED",
        "status": 429,
        "customer": "acme",
        "feature": "calls",
        "units": 2,
        "window": "DAY",
        "limit": 8,
        "used": 8,
        "held": 0,
        "remaining": 0,
        "resetsAt": "2026-03-11T00:00:00Z",
        "retryAfterSeconds": 13 * 3600,
        "maxUnitsNow": 0,
        "unlockedBy": ["pro"],
        "unlockedByPacks": [],
        "degraded": False,
        "docs": "errors/FREE_CAP_EXCEEDED.md",
    }


async def test_a_feature_that_no_plan_of_the_customer_has_names_the_plan_that_does(
    api: Api,
) -> None:
    query = """{ check(customer: "acme", feature: "export") {
      allowed code status unlockedBy { key } } }"""
    decision = (await api.data(query))["check"]
    assert decision == {
        "allowed": False,
        "code": "FEATURE_NOT_IN_PLAN",
        "status": 402,
        "unlockedBy": [{"key": "pro"}],
    }


async def test_check_answers_what_consume_would_and_counts_nothing(api: Api) -> None:
    query = """
    query ($units: Units!) {
      check(customer: "acme", feature: "calls", units: $units) {
        allowed status code message customer feature window docs units retryAfterSeconds
        maxUnitsNow degraded unlockedByPacks windows { window used limit }
      }
    }
    """
    for _ in range(2):
        allowed = (await api.data(query, units=5))["check"]
        assert (allowed["allowed"], allowed["status"], allowed["code"]) == (True, 200, None)
        assert allowed["windows"][0] == {"window": "HOUR", "used": 0, "limit": 5}
        assert allowed["maxUnitsNow"] == 5
    denied = (await api.data(query, units="6"))["check"]
    assert (denied["allowed"], denied["status"]) == (False, 429)
    assert (denied["code"], denied["window"]) == ("HOURLY_CAP_EXCEEDED", "HOUR")
    assert denied["docs"] == "errors/HOURLY_CAP_EXCEEDED.md"


async def test_the_same_key_gives_the_same_answer_and_counts_once(api: Api) -> None:
    given = {"customer": "acme", "feature": "calls", "units": 2, "idempotencyKey": "k1"}
    first = (await api.data(CONSUME, input=given))["consume"]
    again = (await api.data(CONSUME, input=given))["consume"]
    assert again == {**first, "replayed": True}
    error = await api.error(CONSUME, input={**given, "units": 3})
    assert (error["code"], error["status"]) == ("IDEMPOTENCY_CONFLICT", 409)


TOGETHER = """
mutation ($input: ConsumeTogetherInput!) {
  consumeTogether(input: $input) { feature units windows { window used } }
}
"""


async def test_together_counts_all_or_nothing_and_tells_every_denial(api: Api) -> None:
    items = [{"feature": "calls", "units": 2}, {"feature": "seats", "units": 3}]
    data = await api.data(TOGETHER, input={"customer": "acme", "items": items})
    assert [one["feature"] for one in data["consumeTogether"]] == ["calls", "seats"]
    answer = await api.post(
        TOGETHER,
        input={
            "customer": "acme",
            "items": [
                {"feature": "calls", "units": 4},
                {"feature": "posts"},
                {"feature": "seats", "units": 1},
            ],
        },
    )
    assert answer["data"] == {"consumeTogether": None}
    extensions = answer["errors"][0]["extensions"]
    assert [one["code"] for one in extensions["denials"]] == [
        "ALLOCATION_EXCEEDED",
        "HOURLY_CAP_EXCEEDED",
    ]
    assert all(one["message"] for one in extensions["denials"])
    assert extensions["code"] == "ALLOCATION_EXCEEDED"
    check = '{ check(customer: "acme", feature: "posts") { windows { used } } }'
    assert (await api.data(check))["check"]["windows"] == [{"used": 0}]


EACH = """
mutation ($inputs: [ConsumeInput!]!) {
  consumeEach(inputs: $inputs) {
    consumption { feature units }
    denial { code status message decision { code maxUnitsNow unlockedBy { key } } }
  }
}
"""


async def test_each_goes_on_after_what_is_wrong_with_one(api: Api) -> None:
    used = {"customer": "acme", "feature": "calls", "idempotencyKey": "used"}
    await api.data(CONSUME, input=used)
    outcomes = (
        await api.data(
            EACH,
            inputs=[
                {"customer": "acme", "feature": "calls", "units": 2},
                {"customer": "acme", "feature": "calls", "units": 4},
                {"customer": "nobody", "feature": "calls"},
                {"customer": "acme", "feature": "nothing"},
                {**used, "units": 2},
                {"feature": "calls"},
                {"customer": "acme", "feature": "export"},
                {"customer": "other", "feature": "calls"},
            ],
        )
    )["consumeEach"]
    told = [
        one["consumption"]["units"] if one["consumption"] else one["denial"]["code"]
        for one in outcomes
    ]
    assert told == [
        2,
        "HOURLY_CAP_EXCEEDED",
        "UNKNOWN_CUSTOMER",
        "UNKNOWN_FEATURE",
        "IDEMPOTENCY_CONFLICT",
        "INVALID_INPUT",
        "INVALID_INPUT",
        1,
    ]
    assert all((one["consumption"] is None) != (one["denial"] is None) for one in outcomes)
    assert outcomes[1]["denial"]["decision"] == {
        "code": "HOURLY_CAP_EXCEEDED",
        "maxUnitsNow": 2,
        "unlockedBy": [{"key": "pro"}],
    }
    assert outcomes[2]["denial"]["decision"] is None
    assert [one["denial"]["status"] for one in outcomes[2:6]] == [404, 404, 409, 400]


async def test_a_batch_has_at_most_a_hundred_items(api: Api) -> None:
    item = {"customer": "acme", "feature": "calls"}
    assert len((await api.data(EACH, inputs=[item] * 100))["consumeEach"]) == 100
    error = await api.error(EACH, inputs=[item] * 101)
    assert (error["code"], error["status"]) == ("INVALID_INPUT", 400)
    items = [{"feature": "calls"}] * 101
    error = await api.error(TOGETHER, input={"customer": "acme", "items": items})
    assert error["code"] == "INVALID_INPUT"


RELEASE = """
mutation ($input: ReleaseInput!) {
  release(input: $input) { feature units windows { window used } }
}
"""


async def test_an_allocation_is_given_back(api: Api) -> None:
    await api.data(CONSUME, input={"customer": "acme", "feature": "seats", "units": 3})
    data = await api.data(RELEASE, input={"customer": "acme", "feature": "seats", "units": 2})
    assert data["release"]["windows"] == [{"window": "LIFETIME", "used": 1}]
    error = await api.error(RELEASE, input={"customer": "acme", "feature": "seats", "units": 2})
    assert (error["code"], error["status"]) == ("INVALID_INPUT", 400)


async def test_what_one_consumption_took_is_given_back_by_its_id(api: Api) -> None:
    consumed = await api.data(CONSUME, input={"customer": "acme", "feature": "posts", "units": 4})
    given = {
        "customer": "acme",
        "feature": "posts",
        "units": 3,
        "consumptionId": consumed["consume"]["id"],
    }
    data = await api.data(RELEASE, input=given)
    assert data["release"]["windows"] == [{"window": "MONTH", "used": 1}]
    error = await api.error(RELEASE, input=given)
    assert error["code"] == "INVALID_INPUT"


async def test_the_product_states_how_many_are_held(api: Api) -> None:
    query = """
    mutation ($units: Units!) {
      stateAllocation(input: {customer: "acme", feature: "seats", units: $units}) {
        windows { used remaining }
      }
    }
    """
    stated = (await api.data(query, units=7))["stateAllocation"]
    assert stated["windows"] == [{"used": 7, "remaining": 0}]
    stated = (await api.data(query, units=0))["stateAllocation"]
    assert stated["windows"] == [{"used": 0, "remaining": 3}]
