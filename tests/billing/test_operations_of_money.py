"""Refunds: once each, though nobody gave a key, the answer was lost, or the record failed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.domain.errors import Unavailable
from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing

REFUNDS = "/v1/refunds"


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        await opened.subscribe("pro")
        yield opened


def payment(deal: Dealing) -> str:
    (paid,) = deal.stripe.all("payment_intent")
    return str(paid["id"])


async def refund(deal: Dealing, **given: Any) -> dict[str, Any]:
    return await deal.done(
        "refundPayment", as_="support", payment=payment(deal), amountMinor=500, **given
    )


def given_back(deal: Dealing) -> list[int]:
    return [one["amount"] for one in deal.stripe.all("refund")]


async def test_a_part_that_is_asked_again_without_a_key_is_given_back_once(deal: Dealing) -> None:
    deal.stripe.faults.cut_next(path=REFUNDS, method="POST", after_effect=True)
    begun = await refund(deal)
    again = await refund(deal)
    assert (begun["state"], again["state"]) == ("PENDING", "ANSWERED")
    assert again["id"] == begun["id"]
    assert given_back(deal) == [500]
    await refund(deal)  # decided meanwhile: this is another
    assert given_back(deal) == [500, 500]


async def test_another_part_waits_until_the_first_is_decided(deal: Dealing) -> None:
    deal.stripe.faults.cut_next(path=REFUNDS, method="POST", after_effect=False)
    await refund(deal)
    deal.stripe.faults.cut_next(path=REFUNDS, method="POST", after_effect=False)
    said = await deal.refused(
        "refundPayment", as_="support", payment=payment(deal), amountMinor=700
    )
    assert said["code"] == "OPERATION_WAITS"
    assert given_back(deal) == []


async def test_a_key_is_the_payment_s_whoever_is_named_beside_it(deal: Dealing) -> None:
    one = await refund(deal, idempotencyKey="r1")
    other = await refund(deal, idempotencyKey="r1", customer="acme")
    assert one["id"] == other["id"]
    assert given_back(deal) == [500]


async def test_a_payment_of_another_customer_is_not_given_back(deal: Dealing) -> None:
    said = await deal.refused(
        "refundPayment", as_="support", payment=payment(deal), customer="globex"
    )
    assert (said["code"], given_back(deal)) == ("PROVIDER_REFUSED", [])
    done = await refund(deal, customer="acme")
    assert (done["customer"], given_back(deal)) == ("acme", [500])


async def test_what_never_had_an_answer_is_unknown_and_not_asked_again(deal: Dealing) -> None:
    deal.stripe.faults.fail_next(status=500, path=REFUNDS, method="POST", after_effect=True)
    begun = await refund(deal, idempotencyKey="r1")
    deal.clock.advance(hours=23, minutes=1)
    await deal.operations.run_once(deal.clock.now())
    ended = await deal.operations.find(begun["id"])
    assert ended is not None
    assert ended.state == "unknown"
    said = await deal.say(
        "refundPayment", as_="support", payment=payment(deal), amountMinor=500, idempotencyKey="r1"
    )
    (error,) = said["errors"]
    assert error["extensions"]["code"] == "OUTCOME_UNKNOWN"
    assert begun["id"] in error["message"]
    assert given_back(deal) == [500]


async def test_where_the_record_fails_after_the_answer_the_caller_learns_what_was_begun(
    deal: Dealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts = type(deal.operations.acts)
    perform = acts.perform

    async def lost(*given: Any) -> Any:  # noqa: ANN401 - whatever is asked
        await perform(*given)
        # As where the connection to the record is lost while the answer is kept.
        monkeypatch.setattr(type(deal.core.database), "transaction", unreachable)
        return {}

    def unreachable(*_: object) -> None:
        raise Unavailable("The connection to the record (PostgreSQL) was lost.")

    with monkeypatch.context() as patched:
        patched.setattr(acts, "perform", lost)
        real = type(deal.core.database).transaction
        said = await deal.say(
            "refundPayment", as_="support", payment=payment(deal), amountMinor=500
        )
        monkeypatch.setattr(type(deal.core.database), "transaction", real)
    (error,) = said["errors"]
    [row] = await deal.core.database.fetch("select operation_id, state from provider_operations")
    assert (error["extensions"]["code"], row["state"]) == ("UNAVAILABLE", "pending")
    assert row["operation_id"] in error["message"]

    deal.clock.advance(seconds=61)
    await deal.operations.run_once(deal.clock.now())
    await deal.work()
    found = await deal.operations.find(row["operation_id"])
    assert found is not None
    assert (found.state, given_back(deal)) == ("confirmed", [500])
