"""However many customers are asked about, the record is asked as often."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from api.catalog.customers import CustomerInput
from tests.support.clock import FakeClock
from tests.support.graphql import Api, served

EVERYTHING = """
query ($first: Int!) {
  customers(first: $first) {
    edges {
      node {
        key
        plan { key features { feature { key } } }
        subscriptions { id plan { key } }
        overrides { feature }
        credits { available held buckets { bucket } }
        entitlements { feature { key } granted windows { used remaining } }
        calls: entitlement(feature: "calls") { windows { used } }
        usage(feature: "calls", by: DAY) { units }
        posts: usage(feature: "posts", by: MONTH) { units }
      }
    }
  }
}
"""


class Statements:
    """Every statement that was sent, in order."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def __call__(self, record: asyncpg.connection.LoggedQuery) -> None:
        # What begins and ends a transaction is not a question.
        if not record.query.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self.sent.append(record.query)

    def names(self) -> list[str]:
        return [text.split("*/")[0].removeprefix("/* ").strip() for text in self.sent]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    watching = Statements()
    create_pool: Callable[..., object] = asyncpg.create_pool

    def watched(dsn: str, *, init: Callable[..., Awaitable[None]], **options: object) -> object:
        async def begin(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
            await init(conn)
            conn.add_query_logger(watching)

        return create_pool(dsn, init=begin, **options)

    monkeypatch.setattr(asyncpg, "create_pool", watched)
    return watching


@pytest.fixture
async def api(
    statements: Statements,  # noqa: ARG001 - before any connection is made
    database_url: str,
    redis_url: str,
    clock: FakeClock,
) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock) as serving:
        yield serving


async def asked_for(api: Api, statements: Statements, first: int) -> list[str]:
    """Return the names of the statements that a page of so many customers takes."""
    await api.data(EVERYTHING, first=first)  # so that the counters are filled
    statements.sent.clear()
    data = await api.data(EVERYTHING, first=first)
    assert len(data["customers"]["edges"]) == first
    return statements.names()


async def test_a_page_of_many_takes_the_statements_of_a_page_of_one(
    api: Api, statements: Statements
) -> None:
    for number in range(30):
        await api.core.changes.upsert_customer(
            CustomerInput(f"many{number}"), api.clock.now(), "test"
        )
    one = await asked_for(api, statements, 1)
    many = await asked_for(api, statements, 30)
    assert one
    assert sorted(many) == sorted(one)


async def test_aliases_of_many_customers_are_one_question(api: Api, statements: Statements) -> None:
    async def names(*keys: str) -> list[str]:
        aliases = (
            f'a{n}: customer(key: "{key}") {{ plan {{ key }} }}' for n, key in enumerate(keys)
        )
        statements.sent.clear()
        await api.data(f"{{ {' '.join(aliases)} }}")
        return statements.names()

    await names("acme", "other")  # so that the key is known, and what they hold was read
    assert await names("acme") == await names(*["acme", "other"] * 5, "nobody", "somebody")


async def test_what_a_customer_holds_is_read_once_for_each_version_of_its_rights(
    api: Api, statements: Statements
) -> None:
    promise = """mutation ($units: Units!) {
      setOverride(reason: "goodwill", input: {
        customer: "acme", feature: "calls", limits: [{window: HOUR, units: $units}]
      }) { feature }
    }"""

    async def limit() -> tuple[int | None, list[str]]:
        statements.sent.clear()
        data = await api.data(
            '{ customer(key: "acme") { plan { key }'
            ' entitlement(feature: "calls") { windows { window limit } } } }'
        )
        windows = data["customer"]["entitlement"]["windows"]
        hours = [one["limit"] for one in windows if one["window"] == "HOUR"]
        return (hours[0] if hours else None), statements.names()

    for units in (7, 8):
        await api.data(promise, units=units)
        assert (await limit())[0] == units
        again, asked = await limit()
        assert (again, len(asked)) == (units, 1), "only the customer's row is read again"
