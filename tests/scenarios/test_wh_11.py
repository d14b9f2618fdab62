"""WH-11: one customer's problem, traced end to end by one correlation id.

A checkout and its paid invoice come together and are handled at once, under the id of the last.
"""

import json
import logging

import pytest

from api.infra.telemetry import JsonLines
from tests.support.billing import CATALOG, with_credits
from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Life

TRACE = """
query ($id: String!) { trace(correlationId: $id) {
  correlationId entries { source customer what reference }
} }
"""
ID = "checkout-of-acme"


class Lines(logging.Handler):
    """Keeps log lines as they would be written, at the moment they are."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.seen: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Lines:
    return Lines()


async def test_log_line_event_ledger_and_change_carry_the_id_of_the_request(
    database_url: str, redis_url: str, clock: FakeClock, lines: Lines
) -> None:
    catalog = with_credits("starter", "units = 100")
    assert catalog != CATALOG
    worker_log = logging.getLogger("api.billing.worker")
    worker_log.addHandler(lines)
    level = worker_log.level
    worker_log.setLevel(logging.INFO)
    try:
        async with paying(database_url, redis_url, clock, catalog=catalog) as books:
            life = Life("acme", clock.now())
            life.created("active")
            paid, checkout = life.invoiced(paid=True), life.checked_out()
            books.stripe.holds(life).put(paid["data"]["object"])
            await books.deliver(paid)
            answered = await books.deliver(checkout, **{"X-Correlation-Id": ID})
            assert answered.headers["x-correlation-id"] == ID
            await books.work()

            found = (await books.ask(TRACE, id=ID))["trace"]
            assert found["correlationId"] == ID
            by_source = {one["source"]: one for one in found["entries"]}
            assert by_source["webhook_event"]["reference"] == checkout["id"]
            assert by_source["subscription_change"]["reference"] == life.subscription_id
            assert by_source["subscription_change"]["what"] == "started: - -> starter, active"
            assert by_source["credit_entry"]["what"].startswith("grant 100: ")
            assert {one["customer"] for one in found["entries"]} == {"acme"}
            ours = [line for line in lines.seen if line.get("correlation_id") == ID]
            assert [line["event"] for line in ours] == [checkout["id"]]
            assert (await books.ask(TRACE, id="another"))["trace"]["entries"] == []
    finally:
        worker_log.removeHandler(lines)
        worker_log.setLevel(level)
