"""The door to Stripe: whose deliveries are believed, and what reading an object may come to."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import stripe as package

from api.billing import stripe_hints
from api.billing.problems import NotAtProvider, SignatureRefused, Unreadable
from api.billing.stripe_door import StripeDoor
from api.domain.entitlements import SubscriptionStatus
from api.domain.errors import Unavailable
from tests.support.stripe_events import (
    SECRET,
    VERSION,
    Life,
    body_of,
    checkout_session,
    customer,
    invoice,
    item,
    signed,
    subscription,
    unix,
)
from tests.support.stripe_server import KEY, StripeServer

AT = datetime(2026, 3, 10, 10, tzinfo=UTC)
OTHER_SECRET = "whsec_" + "c" * 32
BODY = body_of(Life("acme", AT).created("active"))


@pytest.fixture
def door() -> StripeDoor:
    return StripeDoor(secrets=(SECRET,))


@pytest.fixture
async def reader(stripe: StripeServer) -> AsyncIterator[StripeDoor]:
    async with StripeDoor(
        secrets=(SECRET,), api_key=KEY, api_base=stripe.address, timeout_seconds=5
    ) as opened:
        yield opened


def test_the_version_in_use_is_the_one_these_tests_speak(door: StripeDoor) -> None:
    assert door.version == VERSION


def test_a_signature_made_from_the_description_is_that_of_the_package() -> None:
    made = package.WebhookSignature.generate_signature_header(BODY.decode(), SECRET, unix(AT))
    assert signed(BODY, AT) == made


def test_a_signed_event_is_opened(door: StripeDoor) -> None:
    opened = door.open(BODY, signed(BODY, AT), AT)
    assert (opened.type, opened.version) == ("customer.subscription.created", VERSION)
    assert opened.created_at == AT


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_signature_of_the_last_or_next_five_minutes_is_believed(
    door: StripeDoor, seconds: int
) -> None:
    assert door.open(BODY, signed(BODY, AT - timedelta(seconds=seconds)), AT).id


@pytest.mark.parametrize(("seconds", "reason"), [(301, "too_old"), (-301, "in_the_future")])
def test_a_signature_from_beyond_the_tolerance_is_refused_on_both_sides(
    door: StripeDoor, seconds: int, reason: str
) -> None:
    with pytest.raises(SignatureRefused) as refused:
        door.open(BODY, signed(BODY, AT - timedelta(seconds=seconds)), AT)
    assert refused.value.reason == reason


GOOD = signed(BODY, AT)
MAC = GOOD.split("v1=")[1]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        ("nonsense", "mismatch"),
        ("t=,v1=", "mismatch"),
        (f"t={unix(AT)}", "mismatch"),
        (f"v1={MAC}", "mismatch"),
        (f"t=soon,v1={MAC}", "mismatch"),
        (f"t={unix(AT)},v0={MAC}", "mismatch"),
        (f"t={unix(AT) + 1},v1={MAC}", "mismatch"),
        (f"t={unix(AT)},v1={MAC[:-1]}0", "mismatch"),
        (f"t={unix(AT)},v1={MAC.upper()}", "mismatch"),
        (f"t={'9' * 5000},v1={MAC}", "mismatch"),
        (f"t={unix(AT)},v1=é{MAC}", "malformed"),
        (signed(BODY, AT, OTHER_SECRET), "mismatch"),
        (signed(BODY + b" ", AT), "mismatch"),
    ],
)
def test_what_is_not_signed_with_our_secret_is_refused(
    door: StripeDoor, header: str | None, reason: str
) -> None:
    with pytest.raises(SignatureRefused) as refused:
        door.open(BODY, header, AT)
    assert refused.value.reason == reason


def test_a_far_instant_that_was_really_signed_is_refused(door: StripeDoor) -> None:
    for seconds in (10**30, -(10**30), 0):
        body = BODY
        mac = package.WebhookSignature.generate_signature_header(body.decode(), SECRET, seconds)
        with pytest.raises(SignatureRefused):
            door.open(body, mac, AT)


def test_several_signatures_of_which_one_holds_are_believed(door: StripeDoor) -> None:
    assert door.open(BODY, f"t={unix(AT)},v1={'0' * 64},v1={MAC},v0=abc", AT).id


def test_every_secret_is_believed_during_a_rotation() -> None:
    door = StripeDoor(secrets=(OTHER_SECRET, SECRET))
    for secret in (SECRET, OTHER_SECRET):
        assert door.open(BODY, signed(BODY, AT, secret), AT).id


def test_a_body_that_is_not_text_is_refused(door: StripeDoor) -> None:
    with pytest.raises(SignatureRefused):
        door.open(b"\xff\xfe", signed(b"\xff\xfe", AT), AT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"event"',
        b'{"id": "evt_1"}',
        b'{"id": "evt_1", "object": "v2.core.event", "type": "x", "created": 1, "data": {}}',
        b'{"id": "evt_1", "object": "event", "type": "x", "created": 1, "data": {}}',
        b'{"id": "evt_1", "object": "event", "type": "x", "created": 1, "data": {"object": []}}',
        b'{"id": "", "object": "event", "type": "x", "created": 1, "data": {"object": {}}}',
        b'{"id": "a\\u0000b", "object": "event", "type": "x", "created": 1,"data":{"object":{}}}',
        b'{"id": 7, "object": "event", "type": "x", "created": 1, "data": {"object": {}}}',
        b'{"id": "e", "object": "event", "type": "x", "created": "1", "data": {"object": {}}}',
        b'{"id": "e", "object": "event", "type": "x", "created": 1e300, "data": {"object": {}}}',
        b'{"id":"e", "object":"event", "type":"x", "created":9999999999999, "data":{"object":{}}}',
        b'{"id": "%b", "object": "event", "type": "x", "created": 1, "data": {"object": {}}}'
        % (b"e" * 256),
    ],
)
def test_a_signed_body_that_is_no_event_is_told_so(door: StripeDoor, body: bytes) -> None:
    with pytest.raises(Unreadable):
        door.open(body, signed(body, AT), AT)


async def test_a_subscription_is_read_in_our_words(
    reader: StripeDoor, stripe: StripeServer
) -> None:
    obj = subscription("sub_1", "cus_1", start=AT, metadata={"headroom_customer": "acme"})
    obj |= {"cancel_at": unix(AT + timedelta(days=9)), "trial_end": unix(AT)}
    stripe.put(obj)
    told = await reader.subscription("sub_1")
    assert (told.id, told.customer, told.customer_key) == ("sub_1", "cus_1", "acme")
    assert told.status is SubscriptionStatus.ACTIVE
    assert told.ends_at == AT + timedelta(days=9)
    assert (told.trial_ends_at, told.billing_anchor) == (AT, AT)
    (line,) = told.items
    assert (line.price, line.quantity) == ("starter_monthly", 1)
    assert (line.period_start, line.period_end) == (AT, AT + timedelta(days=31))
    assert stripe.requests[0].headers["stripe-version"] == VERSION


async def test_a_list_of_items_that_was_cut_is_paged_to_its_end(
    reader: StripeDoor, stripe: StripeServer
) -> None:
    many = {f"price_{n}": n for n in range(1, 251)}
    stripe.put(subscription("sub_1", "cus_1", start=AT, prices=many))
    told = await reader.subscription("sub_1")
    assert told.whole
    assert {line.price: line.quantity for line in told.items} == many


async def test_a_pending_change_is_seen(reader: StripeDoor, stripe: StripeServer) -> None:
    obj = subscription("sub_1", "cus_1", start=AT)
    pending = item("sub_1", "pro_monthly", AT, AT)
    obj["pending_update"] = {"expires_at": unix(AT), "subscription_items": [pending]}
    stripe.put(obj)
    assert (await reader.subscription("sub_1")).pending == ("pro_monthly",)


async def test_what_stripe_calls_expanded_is_read_alike(
    reader: StripeDoor, stripe: StripeServer
) -> None:
    obj = subscription("sub_1", "cus_1", start=AT) | {"customer": customer("cus_1")}
    stripe.put(obj)
    assert (await reader.subscription("sub_1")).customer == "cus_1"


async def test_the_objects_behind_other_events_are_read_too(
    reader: StripeDoor, stripe: StripeServer
) -> None:
    stripe.put(checkout_session("cs_1", "cus_1", "sub_1", AT, reference="acme"))
    stripe.put(invoice("in_1", "cus_1", "sub_2", AT))
    stripe.put(customer("cus_1", metadata={"headroom_customer": "acme"}))
    session = await reader.hint_again(
        "checkout.session.completed", {"data": {"object": {"id": "cs_1"}}}
    )
    assert (session.subscription, session.customer, session.customer_key, session.introduces) == (
        "sub_1",
        "cus_1",
        "acme",
        True,
    )
    paid = await reader.hint_again("invoice.paid", {"data": {"object": {"id": "in_1"}}})
    assert paid.subscription == "sub_2"
    assert await reader.customer_key("cus_1") == "acme"


async def test_an_object_that_is_not_there_is_not_an_outage(reader: StripeDoor) -> None:
    with pytest.raises(NotAtProvider):
        await reader.subscription("sub_none")


@pytest.mark.parametrize("status", [409, 429, 500, 503])
async def test_a_failing_provider_is_worth_a_retry(
    reader: StripeDoor, stripe: StripeServer, status: int
) -> None:
    stripe.failures.append(status)
    with pytest.raises(Unavailable):
        await reader.subscription("sub_1")
    assert len(stripe.requests) == 1


async def test_a_refused_key_is_worth_a_retry_and_says_what_to_set(
    stripe: StripeServer,
) -> None:
    stripe.key = "sk_test_another"
    async with StripeDoor(secrets=(), api_key=KEY, api_base=stripe.address) as door:
        with pytest.raises(Unavailable, match="STRIPE_SECRET_KEY"):
            await door.subscription("sub_1")


async def test_a_provider_that_does_not_answer_is_given_up_in_time(stripe: StripeServer) -> None:
    stripe.gate = asyncio.Event()
    async with StripeDoor(
        secrets=(), api_key=KEY, api_base=stripe.address, timeout_seconds=0.05
    ) as door:
        with pytest.raises(Unavailable):
            await door.subscription("sub_1")
    stripe.gate.set()


async def test_nobody_at_the_address_is_an_outage() -> None:
    async with StripeDoor(secrets=(), api_key=KEY, api_base="http://127.0.0.1:9") as door:
        with pytest.raises(Unavailable):
            await door.subscription("sub_1")


async def test_without_a_key_nothing_is_read(door: StripeDoor) -> None:
    assert not door.reads
    with pytest.raises(RuntimeError):
        await door.subscription("sub_1")


def test_the_page_names_every_event_that_something_follows_from() -> None:
    page = Path("docs/webhooks.md").read_text("utf-8")
    named: set[str] = set()
    for line in page.splitlines():
        cell = re.findall(r"`([a-z_.]+)`", line.split("|")[1]) if line.startswith("| `") else []
        stem = ""
        for name in cell:  # `.updated` goes on from the name before it
            whole = stem + name if name.startswith(".") else name
            stem = whole.rsplit(".", 1)[0]
            named.add(whole)
    assert named >= stripe_hints.HANDLED
