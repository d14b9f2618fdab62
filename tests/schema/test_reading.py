"""Plans, customers, entitlements and usage, as they are read."""

from datetime import UTC, datetime, timedelta

import pytest

from api.catalog import subscriptions
from api.catalog.customers import CustomerInput
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.entitlements import SubscriptionStatus
from api.infra.postgres import Connection
from api.schema import ids
from tests.support.graphql import Api


async def subscribe(api: Api, key: str, plan: str, **facts: object) -> int:
    """Write a subscription as the provider's events would, and return its number."""
    customer = await api.core.customers.get(key)
    at = api.clock.now()
    record = SubscriptionRecord(
        customer_id=customer.id,
        provider="stripe",
        provider_id=f"sub_{key}",
        status=SubscriptionStatus.ACTIVE,
        plan=plan,
        current_period_start=at,
        current_period_end=at + timedelta(days=31),
        **facts,  # type: ignore[arg-type] # one fact changed by the test
    )
    written: list[int] = []

    async def write(conn: Connection) -> None:
        written.append(await subscriptions.upsert(conn, record, at))

    await api.core.changes.change(customer.id, at, write)
    return written[0]


async def test_a_plan_shows_what_it_costs_and_what_its_limits_answer(api: Api) -> None:
    query = """{ plan(key: "pro") {
      id key name public
      prices { key amountMinor currency interval trialDays }
      features { feature { key name kind unit } enabled value limits { window units code status } }
    } }"""
    plan = (await api.data(query))["plan"]
    assert plan["prices"] == [
        {
            "key": "pro",
            "amountMinor": 4900,
            "currency": "usd",
            "interval": "month",
            "trialDays": 14,
        }
    ]
    features = {one["feature"]["key"]: one for one in plan["features"]}
    assert list(features) == ["calls", "posts", "seats", "export", "support"]
    assert features["calls"]["feature"] == {
        "key": "calls",
        "name": "Calls",
        "kind": "METERED",
        "unit": "call",
    }
    assert features["calls"]["limits"] == [
        {"window": "DAY", "units": 100, "code": "DAILY_CAP_EXCEEDED", "status": 429}
    ]
    assert features["seats"]["limits"] == [
        {"window": "LIFETIME", "units": 10, "code": "ALLOCATION_EXCEEDED", "status": 402}
    ]
    assert features["support"]["value"] == "mail"
    assert (features["export"]["enabled"], features["export"]["limits"]) == (True, [])


async def test_a_month_that_a_better_plan_would_lift_is_402_and_one_that_none_would_429(
    api: Api,
) -> None:
    query = """query ($key: String!) {
      plan(key: $key) { features { feature { key } limits { status } } }
    }"""

    async def of_posts(plan: str) -> int:
        found = (await api.data(query, key=plan))["plan"]["features"]
        [posts] = [one for one in found if one["feature"]["key"] == "posts"]
        return int(posts["limits"][0]["status"])

    assert (await of_posts("free"), await of_posts("pro")) == (402, 429)


async def test_plans_come_in_pages_from_the_least_to_the_most(api: Api) -> None:
    query = """query ($first: Int, $after: String) {
      plans(first: $first, after: $after) {
        edges { cursor node { key } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }"""
    seen, after = [], None
    while True:
        page = (await api.data(query, first=3, after=after))["plans"]
        seen += [edge["node"]["key"] for edge in page["edges"]]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == ["free", "class", "pro", "acme_special"]
    empty = (await api.data(query, first=0))["plans"]
    assert empty["edges"] == []
    assert empty["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


@pytest.mark.parametrize("first", [-1, 101])
async def test_a_page_has_a_bounded_size(api: Api, first: int) -> None:
    error = await api.error(
        "query ($n: Int) { plans(first: $n) { pageInfo { endCursor } } }", n=first
    )
    assert (error["code"], error["status"]) == ("INVALID_INPUT", 400)
    assert error["message"] == f"first must be 0 to 100, not {first}."


@pytest.mark.parametrize("after", ["", "x", "UGxhbjpwcm8", ids.cursor("Customer", 1)])
async def test_a_cursor_of_another_list_is_refused(api: Api, after: str) -> None:
    query = "query ($after: String) { plans(after: $after) { pageInfo { endCursor } } }"
    assert (await api.error(query, after=after))["code"] == "INVALID_INPUT"


async def test_a_customer_shows_its_plan_and_everything_that_it_may(api: Api) -> None:
    consume = 'mutation { consume(input: {customer: "acme", feature: "calls", units: 2}) { id } }'
    await api.data(consume)
    query = """{ customer(key: "acme") {
      key type timezone createdAt plan { key } subscriptions { id }
      entitlements { feature { key } granted value windows { window used limit } }
      posts: entitlement(feature: "posts") { granted windows { resetsAt } }
      nothing: entitlement(feature: "nothing") { granted }
    } }"""
    customer = (await api.data(query))["customer"]
    assert customer["plan"] == {"key": "free"}
    assert customer["createdAt"] == "2026-03-10T10:00:00Z"
    assert customer["entitlements"] == [
        {
            "feature": {"key": "calls"},
            "granted": True,
            "value": None,
            "windows": [
                {"window": "HOUR", "used": 2, "limit": 5},
                {"window": "DAY", "used": 2, "limit": 8},
            ],
        },
        {
            "feature": {"key": "posts"},
            "granted": True,
            "value": None,
            "windows": [{"window": "MONTH", "used": 0, "limit": 10}],
        },
        {
            "feature": {"key": "seats"},
            "granted": True,
            "value": None,
            "windows": [{"window": "LIFETIME", "used": 0, "limit": 3}],
        },
        {"feature": {"key": "export"}, "granted": False, "value": None, "windows": []},
        {"feature": {"key": "support"}, "granted": True, "value": "forum", "windows": []},
    ]
    assert customer["posts"] == {
        "granted": True,
        "windows": [{"resetsAt": "2026-04-01T00:00:00Z"}],
    }
    assert customer["nothing"] is None


async def test_a_subscription_is_shown_and_found_by_its_id(api: Api) -> None:
    trial = api.clock.now() + timedelta(days=14)
    await subscribe(api, "acme", "pro", trial_ends_at=trial, pending_plan="acme_special")
    query = """{ customer(key: "acme") { plan { key } subscriptions {
      id status plan { key } currentPeriodStart currentPeriodEnd cancelAtPeriodEnd trialEndsAt
      pendingPlan { key } providerId
    } } }"""
    customer = (await api.data(query))["customer"]
    [shown] = customer["subscriptions"]
    assert customer["plan"] == {"key": "pro"}
    assert shown == {
        "id": shown["id"],
        "status": "ACTIVE",
        "plan": {"key": "pro"},
        "currentPeriodStart": "2026-03-10T10:00:00Z",
        "currentPeriodEnd": "2026-04-10T10:00:00Z",
        "cancelAtPeriodEnd": False,
        "trialEndsAt": "2026-03-24T10:00:00Z",
        "pendingPlan": {"key": "acme_special"},
        "providerId": "sub_acme",
    }
    node = "query ($id: ID!) { node(id: $id) { id ... on Subscription { plan { key } } } }"
    found = {"id": shown["id"], "plan": {"key": "pro"}}
    assert (await api.data(node, id=shown["id"]))["node"] == found
    assert (await api.data(node, as_=api.token("acme"), id=shown["id"]))["node"] == found
    assert (await api.data(node, as_=api.token("other"), id=shown["id"]))["node"] is None


@pytest.mark.parametrize(
    "opaque",
    [
        "",
        "nothing",
        "🙂",
        "x" * 600,
        ids.encode("Customer", 999_999),
        ids.encode("Customer", -1),
        ids.encode("Customer", "1; select"),
        ids.encode("Customer", "9" * 30),
        ids.encode("Subscription", 1),
        ids.encode("Plan", "nothing"),
        ids.encode("Query", 1),
        ids.encode("Customer", 1) + "=",
    ],
)
async def test_node_of_what_there_is_not_is_null(api: Api, opaque: str) -> None:
    data = await api.data("query ($id: ID!) { node(id: $id) { id } }", id=opaque)
    assert data["node"] is None


async def test_usage_comes_from_the_record_in_pieces_that_add_up(api: Api) -> None:
    consume = """mutation ($n: Units!) {
      consume(input: {customer: "acme", feature: "posts", units: $n}) { id }
    }"""
    for units, days in ((2, 1), (3, 1), (1, 0)):
        await api.data(consume, n=units)
        api.clock.advance(days=days)
    query = """query ($by: WindowKind! = DAY, $from: DateTime, $to: DateTime) {
      customer(key: "acme") {
        usage(feature: "posts", by: $by, from: $from, to: $to) { startsAt endsAt units }
      }
    }"""

    async def usage(**asked: object) -> list[tuple[str, str, int]]:
        answer = await api.send({"query": query, "variables": asked})
        points = answer["data"]["customer"]["usage"]
        return [(p["startsAt"], p["endsAt"], p["units"]) for p in points]

    api.clock.advance(seconds=1)
    assert (await usage())[-3:] == [
        ("2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z", 2),
        ("2026-03-11T00:00:00Z", "2026-03-12T00:00:00Z", 3),
        ("2026-03-12T00:00:00Z", "2026-03-12T10:00:01Z", 1),
    ]
    assert await usage(by="LIFETIME") == [("2026-03-10T10:00:00Z", "2026-03-12T10:00:01Z", 6)]
    spring = {"from": "2026-03-11T11:00:00+01:00", "to": "2026-04-02T00:00:00Z"}
    assert await usage(by="MONTH", **spring) == [
        ("2026-03-11T10:00:00Z", "2026-04-01T00:00:00Z", 4),
        ("2026-04-01T00:00:00Z", "2026-04-02T00:00:00Z", 0),
    ]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"feature": "nothing"}, "UNKNOWN_FEATURE"),
        ({"feature": "export"}, "INVALID_INPUT"),
        ({"feature": "calls", "by": "BILLING_PERIOD"}, "INVALID_INPUT"),
        ({"feature": "calls", "from": "2026-03-11T00:00:00Z"}, "INVALID_INPUT"),
        ({"feature": "calls", "by": "MINUTE", "from": "2026-03-09T00:00:00Z"}, "INVALID_INPUT"),
        ({"feature": "calls", "by": "HOUR", "from": "0001-01-01T00:00:00Z"}, "INVALID_INPUT"),
    ],
)
async def test_a_history_that_cannot_be_meant_is_refused(
    api: Api, asked: dict[str, str], code: str
) -> None:
    query = """query ($feature: String!, $by: WindowKind! = DAY, $from: DateTime) {
      customer(key: "acme") { usage(feature: $feature, by: $by, from: $from) { units } }
    }"""
    assert (await api.error(query, **asked))["code"] == code


async def test_telling_of_a_customer_creates_it_and_later_changes_what_is_told(api: Api) -> None:
    query = """mutation ($input: CustomerInput!) {
      upsertCustomer(input: $input) { key type name email timezone plan { key } }
    }"""
    made = await api.data(query, input={"key": "new", "email": "a@b.example", "type": "school"})
    assert made["upsertCustomer"] == {
        "key": "new",
        "type": "school",
        "name": None,
        "email": "a@b.example",
        "timezone": "UTC",
        "plan": {"key": "class"},
    }
    changed = await api.data(query, input={"key": "new", "timezone": "Asia/Tokyo", "name": "New"})
    assert changed["upsertCustomer"]["timezone"] == "Asia/Tokyo"
    assert changed["upsertCustomer"]["email"] == "a@b.example"
    error = await api.error(query, input={"key": "new", "timezone": "Mars/Olympus"})
    assert (error["code"], error["status"]) == ("INVALID_INPUT", 400)


async def test_instants_are_written_in_utc_with_z(api: Api) -> None:
    api.clock.set(datetime(2026, 3, 10, 10, 0, 0, 120000, tzinfo=UTC))
    await api.core.changes.upsert_customer(CustomerInput("fine"), api.clock.now(), "test")
    data = await api.data('{ customer(key: "fine") { createdAt } }')
    assert data["customer"]["createdAt"] == "2026-03-10T10:00:00.120000Z"
