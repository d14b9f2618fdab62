"""WH-1: the signature is invalid, the secret wrong, the body altered, or the clock skewed.

400, and nothing is stored but a record of the failure, capped per address and minute, then counted.
"""

from datetime import timedelta

import pytest

from api.billing.signature_failures import ROWS_PER_MINUTE
from tests.support.clock import FakeClock
from tests.support.paying import PATH, Paying, paying
from tests.support.stripe_events import SECRET, Life, body_of, signed

SKEWS = {"a clock that is late": timedelta(minutes=-6), "a clock that is ahead": timedelta(hours=1)}

SEEN = """
query ($since: DateTime!) {
  signatureFailures(customer: "acme") { eventId reason remoteAddress }
  signatureFailureGroups(since: $since, by: CUSTOMER) { name count }
}
"""


def forgeries(books: Paying, body: bytes) -> dict[str, str]:
    now = books.clock.now()
    return {
        "a wrong secret": signed(body, now, SECRET + "x"),
        "a body altered by a proxy": signed(body + b"\n", now),
        "no signature": "nonsense",
        **{name: signed(body, now + skew) for name, skew in SKEWS.items()},
    }


async def test_what_is_not_truly_signed_is_refused_and_changes_nothing(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        told = life.created("active")
        books.stripe.holds(life)
        for name, signature in forgeries(books, body_of(told)).items():
            answered = await books.deliver(told, signature=signature)
            assert answered.status_code == 400, name
        assert await books.work() == 0
        assert await books.plan() == "free"
        assert await books.core.database.fetchval("select count(*) from webhook_events") == 0

        kept = await books.inbox.failures.list_(customer="acme")
        assert len(kept) == 5
        assert {one.payload_id for one in kept} == {told["id"]}
        assert {one.endpoint for one in kept} == {PATH}
        assert {one.reason for one in kept} == {"mismatch", "too_old", "in_the_future"}
        assert all(one.remote_address and one.user_agent for one in kept)

        seen = await books.ask(SEEN, since=f"{clock.now() - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}")
        assert len(seen["signatureFailures"]) == 5
        assert {one["eventId"] for one in seen["signatureFailures"]} == {told["id"]}
        assert [(g["name"], g["count"]) for g in seen["signatureFailureGroups"]] == [("acme", 5)]

        # The true delivery, afterwards, is taken as if nothing had been.
        await books.tell(told)
        assert await books.plan() == "starter"


@pytest.mark.parametrize("deliveries", [200])
async def test_a_flood_leaves_a_few_rows_and_its_number(
    database_url: str, redis_url: str, clock: FakeClock, deliveries: int
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        told = Life("acme", clock.now()).created("active")
        for _ in range(deliveries):
            assert (await books.deliver(told, signature="t=1,v1=0")).status_code == 400
        await books.inbox.failures.flush(clock.now())
        assert len(await books.inbox.failures.list_()) == ROWS_PER_MINUTE
        [group] = await books.inbox.failures.by_address(clock.now() - timedelta(hours=1))
        assert group.count == deliveries
