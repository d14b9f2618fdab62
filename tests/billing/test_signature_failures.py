"""Refused signatures: a few rows for each address and minute, then only a count."""

import asyncio
from datetime import timedelta

from api.billing.inbox import Refused
from api.billing.signature_failures import (
    MOST_ADDRESSES,
    ROWS_PER_MINUTE,
    SignatureFailures,
)
from api.infra.postgres import Database
from tests.support.billing import ENDPOINT, Desk
from tests.support.clock import FakeClock
from tests.support.stripe_events import Life


async def failures_of(database: Database, address: str) -> list[int]:
    rows = await database.fetch(
        "select count from webhook_signature_failures where remote_address = $1 order by slot",
        address,
    )
    return [row["count"] for row in rows]


async def test_a_failure_says_who_sent_what_and_why(hearsay: Desk) -> None:
    told = Life("acme", hearsay.clock.now(), named=True).created("active")
    outcome = await hearsay.deliver(told, secret="whsec_wrong", remote="192.0.2.9")
    assert isinstance(outcome, Refused)
    (kept,) = await hearsay.inbox.failures.list_()
    assert kept.endpoint == ENDPOINT
    assert kept.remote_address == "192.0.2.9"
    assert kept.user_agent == "Stripe/1.0"
    assert kept.payload_id == told["id"]
    assert kept.customer == "acme"
    assert kept.reason == "mismatch"
    assert kept.at == hearsay.clock.now()


async def test_what_is_claimed_may_be_anything(hearsay: Desk) -> None:
    for body in (b"", b"{", b"\xff", b"[]", b'{"id": 7, "data": {"object": {"customer": []}}}'):
        assert isinstance(await hearsay.deliver(body, secret="whsec_wrong"), Refused)
    assert [(f.payload_id, f.customer) for f in await hearsay.inbox.failures.list_()] == [
        (None, None)
    ] * 5


async def test_a_flood_leaves_a_few_rows_and_an_exact_count(
    database: Database, clock: FakeClock
) -> None:
    failures = SignatureFailures(database, ENDPOINT)
    for _ in range(500):
        await failures.record(reason="mismatch", at=clock.now(), remote_address="192.0.2.9")
    await failures.record(reason="mismatch", at=clock.now(), remote_address="192.0.2.10")
    written = await failures_of(database, "192.0.2.9")
    assert len(written) == ROWS_PER_MINUTE
    assert sum(written) < 500, "most were not even counted in the record yet"
    await failures.flush(clock.now())
    assert sum(await failures_of(database, "192.0.2.9")) == 500
    assert await failures_of(database, "192.0.2.10") == [1]


async def test_the_cap_holds_for_several_processes_at_one_instant(
    database: Database, clock: FakeClock
) -> None:
    processes = [SignatureFailures(database, ENDPOINT) for _ in range(8)]
    await asyncio.gather(
        *(
            process.record(reason="mismatch", at=clock.now(), remote_address="192.0.2.9")
            for process in processes
            for _ in range(5)
        )
    )
    for process in processes:
        await process.flush(clock.now())
    written = await failures_of(database, "192.0.2.9")
    assert len(written) <= ROWS_PER_MINUTE
    assert sum(written) == 40


async def test_the_count_of_a_flood_is_kept_up_once_a_second(
    database: Database, clock: FakeClock
) -> None:
    failures = SignatureFailures(database, ENDPOINT)
    for _ in range(3):
        for _ in range(100):
            await failures.record(reason="mismatch", at=clock.now(), remote_address="192.0.2.9")
        clock.advance(seconds=1)
    assert sum(await failures_of(database, "192.0.2.9")) == 201


async def test_the_next_minute_begins_anew_and_loses_no_count(
    database: Database, clock: FakeClock
) -> None:
    failures = SignatureFailures(database, ENDPOINT)
    for _ in range(50):
        await failures.record(reason="mismatch", at=clock.now(), remote_address="192.0.2.9")
    clock.advance(minutes=1)
    await failures.record(reason="mismatch", at=clock.now(), remote_address="192.0.2.9")
    by_minute = await database.fetch(
        "select minute, sum(count)::int as count from webhook_signature_failures"
        " group by minute order by minute"
    )
    assert [row["count"] for row in by_minute] == [50, 1]


async def test_addresses_beyond_what_is_told_apart_share_one_name(
    database: Database, clock: FakeClock
) -> None:
    failures = SignatureFailures(database, ENDPOINT)
    for number in range(MOST_ADDRESSES + 300):
        await failures.record(
            reason="mismatch", at=clock.now(), remote_address=f"2001:db8::{number:x}"
        )
    await failures.flush(clock.now())
    assert len(await failures_of(database, "others")) == ROWS_PER_MINUTE
    assert sum(await failures_of(database, "others")) == 300


async def test_failures_are_grouped_by_address_and_by_claimed_customer(
    database: Database, clock: FakeClock
) -> None:
    failures = SignatureFailures(database, ENDPOINT)
    told = [("192.0.2.9", "acme")] * 3 + [("192.0.2.10", "other")] + [("192.0.2.11", None)]
    for address, customer in told:
        await failures.record(
            reason="mismatch", at=clock.now(), remote_address=address, customer=customer
        )
    since = clock.now() - timedelta(hours=1)
    assert [(g.name, g.count) for g in await failures.by_address(since)] == [
        ("192.0.2.9", 3),
        ("192.0.2.10", 1),
        ("192.0.2.11", 1),
    ]
    assert [(g.name, g.count) for g in await failures.by_customer(since)] == [
        ("acme", 3),
        ("other", 1),
    ]
    assert len(await failures.list_(customer="acme")) == 3
    assert len(await failures.list_(remote_address="192.0.2.11")) == 1
