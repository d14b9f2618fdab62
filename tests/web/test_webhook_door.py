"""The provider's deliveries at the door: stored as they came, or refused and told why."""

import pytest

from api.billing.inbox import Inbox
from api.billing.signature_failures import SignatureFailures
from api.billing.stripe_door import StripeDoor
from tests.support.site import Site
from tests.support.stripe_events import SECRET, Life, body_of, signed

PATH = "/webhooks/stripe"
MOST = 100_000


@pytest.fixture
def door(site: Site) -> Site:
    stripe = StripeDoor(secrets=(SECRET,), api_key=None, api_base=None)
    failures = SignatureFailures(site.core.database, PATH)
    inbox = Inbox(site.core.database, stripe, failures, most_bytes=MOST)
    return site.rebuilt(inbox=inbox)


def delivery(site: Site) -> bytes:
    return body_of(Life("acme", site.clock.now()).created())


async def stored(site: Site) -> int:
    return int(await site.core.database.fetchval("select count(*) from webhook_events"))


async def test_a_signed_delivery_is_stored_as_it_came_and_acknowledged(door: Site) -> None:
    body = delivery(door)
    headers = {"Stripe-Signature": signed(body, door.clock.now())}
    for _ in range(2):
        answered = await door.client.post(PATH, content=body, headers=headers)
        assert (answered.status_code, answered.json()) == (200, {"received": True})
    assert await stored(door) == 1
    row = await door.core.database.fetchrow("select * from webhook_events")
    assert row is not None
    assert row["correlation_id"]


async def test_a_delivery_carries_its_correlation_id_into_the_record(door: Site) -> None:
    body = delivery(door)
    headers = {"Stripe-Signature": signed(body, door.clock.now()), "X-Correlation-Id": "trace-9"}
    await door.client.post(PATH, content=body, headers=headers)
    assert (
        await door.core.database.fetchval("select correlation_id from webhook_events") == "trace-9"
    )


async def test_a_delivery_that_is_not_signed_is_refused_and_noted(door: Site) -> None:
    body = delivery(door)
    for headers in ({}, {"Stripe-Signature": signed(body + b" ", door.clock.now())}):
        answered = await door.client.post(PATH, content=body, headers=headers)
        assert (answered.status_code, answered.json()["code"]) == (400, "INVALID_INPUT")
        assert answered.headers["content-type"] == "application/problem+json"
    assert await stored(door) == 0
    noted = await door.core.database.fetchval("select sum(count) from webhook_signature_failures")
    assert noted == 2


async def test_a_delivery_too_large_is_refused_before_it_is_verified(door: Site) -> None:
    body = b" " * (MOST + 1)
    headers = {"Stripe-Signature": signed(body, door.clock.now())}
    answered = await door.client.post(PATH, content=body, headers=headers)
    assert (answered.status_code, answered.json()["code"]) == (413, "BODY_TOO_LARGE")
    assert await stored(door) == 0


async def test_the_route_takes_nothing_but_a_delivery(door: Site) -> None:
    answered = await door.client.get(PATH)
    assert (answered.status_code, answered.headers["allow"]) == (405, "POST")


async def test_without_a_secret_there_is_no_such_route(site: Site) -> None:
    assert (await site.client.post(PATH, content=delivery(site))).status_code == 404
