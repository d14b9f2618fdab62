"""What GraphQL decides is counted as what any other door decides."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from api.infra import telemetry
from tests.support.clock import FakeClock
from tests.support.graphql import Api, served
from tests.support.waiting import until

HEAD = 'headroom_decisions_total{door="graphql",outcome="'


def counted() -> Counter[str]:
    found: Counter[str] = Counter()
    for line in telemetry.exposition().decode().splitlines():
        if line.startswith(HEAD):
            outcome, value = line.removeprefix(HEAD).split('"} ')
            found[outcome] = int(float(value))
    return found


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock) as serving:
        yield serving


async def test_each_decision_is_counted_under_what_was_answered(api: Api) -> None:
    before = counted()
    await api.post("""
    mutation {
      a: consume(input: {customer: "acme", feature: "calls", units: 5}) { id }
      b: consume(input: {customer: "acme", feature: "calls"}) { id }
      c: consumeEach(inputs: [
        {customer: "acme", feature: "posts"}, {customer: "nobody", feature: "posts"}
      ]) { denial { code } }
      d: consumeTogether(input: {customer: "acme", items: [{feature: "seats"}]}) { id }
    }
    """)
    await api.post('{ a: check(customer: "acme", feature: "export") { status } }')
    expected = {
        "granted": 3,
        "HOURLY_CAP_EXCEEDED": 1,
        "UNKNOWN_CUSTOMER": 1,
        "FEATURE_NOT_IN_PLAN": 1,
    }
    await until(lambda: counted() - before == expected)
