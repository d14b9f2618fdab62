"""Taking deliveries in: once, before the answer, and nothing else; and what an operator may do."""

import asyncio

import pytest

from api.billing.inbox import CHANNEL, Accepted, Refused
from api.domain.errors import InvalidInput, NotFound
from api.infra.telemetry import correlated
from tests.support.billing import Desk
from tests.support.stripe_events import Life, body_of, event, signed
from tests.support.waiting import until


@pytest.fixture
def named(hearsay: Desk) -> Life:
    return Life("acme", hearsay.clock.now(), named=True)


async def test_an_event_is_stored_before_it_is_acknowledged(hearsay: Desk, named: Life) -> None:
    told = named.created("active")
    assert await hearsay.deliver(told) == Accepted(told["id"], new=True)
    seen = await hearsay.event(told)
    assert (seen.state, seen.attempts) == ("pending", 0)
    assert seen.payload == told
    assert seen.version == told["api_version"]
    assert await hearsay.held("acme") == ()


async def test_a_repeat_is_acknowledged_and_stored_once(hearsay: Desk, named: Life) -> None:
    told = named.created("active")
    await hearsay.deliver(told)
    assert await hearsay.deliver(told) == Accepted(told["id"], new=False)
    assert await hearsay.count("webhook_events") == 1


async def test_the_same_event_at_the_same_instant_is_stored_once(
    hearsay: Desk, named: Life
) -> None:
    told = named.created("active")
    outcomes = await asyncio.gather(*(hearsay.deliver(told) for _ in range(20)))
    assert sorted(o.new for o in outcomes if isinstance(o, Accepted)) == [False] * 19 + [True]
    assert await hearsay.count("webhook_events") == 1


async def test_a_type_that_nobody_handles_is_acknowledged_and_marked(
    hearsay: Desk, named: Life
) -> None:
    told = event("customer.tax_id.updated", {"id": "txi_1"}, named.at, event_id="evt_tax")
    assert await hearsay.deliver(told) == Accepted("evt_tax", new=True)
    assert (await hearsay.event(told)).state == "ignored"
    assert await hearsay.work() == 0


async def test_a_body_changed_on_the_way_is_refused_and_nothing_is_stored(
    hearsay: Desk, named: Life
) -> None:
    body = body_of(named.created("active"))
    header = signed(body, hearsay.clock.now())
    altered = body.replace(b"active", b"unpaid")
    outcome = await hearsay.inbox.accept(altered, header, "192.0.2.7", None, hearsay.clock.now())
    assert isinstance(outcome, Refused)
    assert outcome.status == 400
    assert await hearsay.count("webhook_events") == 0
    assert await hearsay.count("webhook_signature_failures") == 1


async def test_a_delivery_that_is_too_large_is_refused_unread(hearsay: Desk) -> None:
    outcome = await hearsay.deliver(b" " * (hearsay.inbox.most_bytes + 1))
    assert isinstance(outcome, Refused)
    assert outcome.status == 413
    assert await hearsay.count("webhook_signature_failures") == 0


async def test_a_signed_body_that_is_no_event_is_refused(hearsay: Desk) -> None:
    outcome = await hearsay.deliver(b'{"hello": "world"}')
    assert isinstance(outcome, Refused)
    assert outcome.status == 400
    assert await hearsay.count("webhook_events") == 0


async def test_characters_that_the_record_cannot_hold_are_replaced(
    hearsay: Desk, named: Life
) -> None:
    named.state["description"] = "a\x00b"
    named.state["metadata"]["a\x00"] = ["\\u0000", "\x00"]
    told = event("customer.tax_id.updated", named.state, named.at, event_id="evt_nul")
    assert isinstance(await hearsay.deliver(told), Accepted)
    kept = (await hearsay.event(told)).payload["data"]["object"]
    assert kept["description"] == "a\ufffdb"
    assert kept["metadata"]["a\ufffd"] == ["\\u0000", "\ufffd"]


async def test_the_request_s_correlation_id_is_kept_with_the_event(
    hearsay: Desk, named: Life
) -> None:
    told = named.created("active")
    with correlated("a-request"):
        await hearsay.deliver(told)
    assert (await hearsay.event(told)).correlation_id == "a-request"


async def test_workers_are_told_of_a_new_event_and_not_of_a_repeat(
    hearsay: Desk, named: Life
) -> None:
    told: list[str | None] = []
    async with hearsay.core.database.listen(CHANNEL, told.append):
        assert told == [None]
        first = named.created("active")
        await hearsay.deliver(first)
        await until(lambda: len(told) == 2)
        await hearsay.deliver(first)
        await hearsay.deliver(named.became("active"))
        await until(lambda: len(told) == 3)
    assert told == [None, "", ""]


async def test_parked_events_are_replayed_by_name_or_all_together(hearsay: Desk) -> None:
    lives = [Life(key, hearsay.clock.now(), named=True) for key in ("acme", "b", "c")]
    for life in lives:
        life.took(enterprise=1)
    told = [life.created("active") | {"api_version": "2020-08-27"} for life in lives]
    for one in told:
        await hearsay.deliver(one)
    await hearsay.work()
    assert await hearsay.states() == ["parked"] * 3
    at = hearsay.clock.now()

    async def replay(ids: list[str] | None, *, dry_run: bool = False) -> list[str]:
        found = await hearsay.inbox.replay(ids, actor="ann", reason="fixed", at=at, dry_run=dry_run)
        return [one.event_id for one in found]

    assert await replay(None, dry_run=True) == [one["id"] for one in told]
    assert await hearsay.states() == ["parked"] * 3
    assert await replay([told[1]["id"]]) == [told[1]["id"]]
    assert await hearsay.states() == ["parked", "pending", "parked"]
    assert len(await replay(None)) == 2
    acts = await hearsay.core.database.fetch(
        "select actor, reason, detail from audit_log where action = 'webhooks.replay' order by id"
    )
    assert [(a["actor"], a["reason"], len(a["detail"]["events"])) for a in acts] == [
        ("ann", "fixed", 1),
        ("ann", "fixed", 2),
    ]
    assert await hearsay.work() == 3
    assert await hearsay.states() == ["parked"] * 3


async def test_a_replay_needs_a_reason_and_known_events(hearsay: Desk, named: Life) -> None:
    told = named.created("active")
    await hearsay.tell(told)
    at = hearsay.clock.now()
    with pytest.raises(NotFound, match="evt_none"):
        await hearsay.inbox.replay([told["id"], "evt_none"], actor="ann", reason="x", at=at)
    with pytest.raises(InvalidInput):
        await hearsay.inbox.replay([told["id"]], actor="ann", reason=" ", at=at)
    assert (await hearsay.event(told)).state == "applied"


async def test_replaying_what_was_applied_changes_nothing(hearsay: Desk, named: Life) -> None:
    told = named.created("active")
    await hearsay.tell(told, named.later(days=1).took(pro_monthly=1))
    version = (await hearsay.core.customers.get("acme")).version
    await hearsay.inbox.replay([told["id"]], actor="ann", reason="x", at=hearsay.clock.now())
    assert await hearsay.work() == 1
    assert (await hearsay.core.customers.get("acme")).version == version
    assert await hearsay.plan("acme") == "pro"


async def test_events_are_listed_newest_first_and_narrowed(hearsay: Desk, named: Life) -> None:
    told = [named.created("active"), named.invoiced(paid=True), named.became("past_due")]
    await hearsay.tell(*told)
    ids = [one["id"] for one in told]
    listed = await hearsay.inbox.list_()
    assert [one.event_id for one in listed] == ids[::-1]
    page = await hearsay.inbox.list_(first=1, before=listed[0].id)
    assert [one.event_id for one in page] == [ids[1]]
    assert [o.event_id for o in await hearsay.inbox.list_(event_type="invoice.paid")] == [ids[1]]
    assert await hearsay.inbox.list_(state="parked") == []
    acme = (await hearsay.core.customers.get("acme")).id
    assert len(await hearsay.inbox.list_(customer_id=acme)) == 3
    assert await hearsay.inbox.list_(customer_id=acme + 1) == []


async def test_an_event_that_is_not_there_is_not_shown(hearsay: Desk) -> None:
    with pytest.raises(NotFound):
        await hearsay.event("evt_none")
