"""Quota and credits as one decision: who pays, who is refused, and what each is told."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from api.domain.catalog import Limit, WindowKind
from api.domain.entitlements import OverrideFacts
from api.domain.errors import IdempotencyConflict
from api.domain.funding import Funding
from api.gates.outcome import Consumption, Denied
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.scene import subscribe
from tests.support.spending import CATALOG, Books, agree, books, drain, grant, standing

MORE = """
[plans.open]
[plans.open.prices.open]
amount_minor = 300
currency = "usd"
interval = "month"
[plans.open.features]
chat = "unlimited"

[packs.ten]
name = "Ten"
credits = 10
[packs.ten.prices.ten]
amount_minor = 100
currency = "usd"
interval = "once"
"""


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG + MORE) as core:
        yield core


async def consumed(
    core: Core, clock: FakeClock, feature: str, units: int, key: str | None = None
) -> Consumption:
    outcome = await core.gate.consume("acme", feature, units, key, ms(clock.now()))
    assert isinstance(outcome, Consumption), outcome
    return outcome


async def denied(core: Core, clock: FakeClock, feature: str, units: int) -> Denied:
    at = ms(clock.now())
    outcome = await core.gate.consume("acme", feature, units, None, at)
    assert isinstance(outcome, Denied), outcome
    decision = await core.gate.check("acme", feature, units, at)
    assert decision == outcome.decisions[0]
    return outcome


async def test_included_units_are_used_first_and_credits_pay_for_the_others(
    built: Core, clock: FakeClock
) -> None:
    await grant(built, "acme", 20, clock.now())
    told = [(await consumed(built, clock, "chat", 2)).funding for _ in range(3)]
    assert told == [
        Funding(2, 0, 0),
        Funding(1, 1, 2, (("permanent", 2),)),
        Funding(0, 2, 4, (("permanent", 4),)),
    ]
    assert await standing(built, "acme", clock.now()) == [(3, 0), (6, 0)]
    await drain(built)
    assert await books(built, "acme") == Books(6, 3, 14, 0, 6, 2)
    await agree(built, "acme", clock.now())


async def test_a_refusal_says_what_lacks_and_how_many_would_pass_and_counts_nothing(
    built: Core, clock: FakeClock
) -> None:
    await grant(built, "acme", 5, clock.now())
    (decision,) = (await denied(built, clock, "chat", 6)).decisions
    assert (decision.code, decision.status) == ("INSUFFICIENT_CREDITS", 402)
    assert (decision.cost, decision.balance, decision.max_units_now) == (6, 5, 5)
    assert decision.unlocked_by_packs == ("ten",)
    assert await standing(built, "acme", clock.now()) == [(0, 0), (0, 0)]
    assert (await consumed(built, clock, "chat", 5)).balance == 1
    await agree(built, "acme", clock.now())


async def test_a_full_cap_is_told_where_no_credits_would_help(
    built: Core, clock: FakeClock
) -> None:
    await grant(built, "acme", 1_000, clock.now())
    await consumed(built, clock, "chat", 40)
    (decision,) = (await denied(built, clock, "chat", 1)).decisions
    assert (decision.code, decision.max_units_now) == ("YEARLY_CAP_EXCEEDED", 0)
    assert (await books(built, "acme")).available == 1_000 - 74


async def test_where_credits_lack_as_well_they_are_told_before_the_cap(
    built: Core, clock: FakeClock
) -> None:
    decisions = (await denied(built, clock, "chat", 41)).decisions
    assert [d.code for d in decisions] == ["INSUFFICIENT_CREDITS"]


async def test_several_features_pass_together_or_not_at_all(built: Core, clock: FakeClock) -> None:
    await grant(built, "acme", 13, clock.now())
    at = ms(clock.now())
    items = [("chat", 5), ("claim", 2)]
    refused = await built.gate.consume_together("acme", items, "k", at)
    assert isinstance(refused, Denied)
    assert await standing(built, "acme", clock.now()) == [(0, 0), (0, 0)]
    await grant(built, "acme", 1, clock.now())
    first = await built.gate.consume_together("acme", items, "k", at)
    assert not isinstance(first, Denied)
    assert [c.funding and c.funding.credits for c in first] == [4, 10]
    again = await built.gate.consume_together("acme", items, "k", at)
    assert not isinstance(again, Denied)
    assert [(c.id, c.funding, c.replayed) for c in again] == [
        (c.id, c.funding, True) for c in first
    ]
    assert (await books(built, "acme")).available == 0
    await agree(built, "acme", clock.now())


@pytest.mark.parametrize("feature", ["chat", "claim"])
async def test_a_key_counts_once_refuses_other_contents_and_forgets_refusals(
    built: Core, clock: FakeClock, feature: str
) -> None:
    at = ms(clock.now())
    assert isinstance(await built.gate.consume("acme", feature, 4, "k", at), Denied)
    await grant(built, "acme", 20, clock.now())
    first = await consumed(built, clock, feature, 4, "k")
    assert not first.replayed
    with pytest.raises(IdempotencyConflict):
        await built.gate.consume("acme", feature, 5, "k", at)
    for lost in (False, True):
        if lost:
            await drain(built)
            await built.door.command("FLUSHALL")
        again = await consumed(built, clock, feature, 4, "k")
        assert (again.id, again.replayed) == (first.id, True)
        assert again.funding == first.funding
    assert (await books(built, "acme")).spent == (2 if feature == "chat" else 20)


async def test_the_first_answer_is_given_also_where_everything_is_used_up_since(
    built: Core, clock: FakeClock
) -> None:
    await grant(built, "acme", 74, clock.now())
    first = await consumed(built, clock, "chat", 30, "k")
    await consumed(built, clock, "chat", 10)
    await drain(built)
    await built.door.command("FLUSHALL")
    again = await consumed(built, clock, "chat", 30, "k")
    assert (again.id, again.funding, again.replayed) == (first.id, first.funding, True)


async def test_expired_credits_pay_for_nothing_and_those_that_end_first_burn_first(
    built: Core, clock: FakeClock
) -> None:
    soon = clock.now() + timedelta(hours=1)
    await grant(built, "acme", 50, clock.now())
    await grant(built, "acme", 7, clock.now(), expires_at=soon)
    await consumed(built, clock, "claim", 1)
    assert (await consumed(built, clock, "claim", 1)).balance == 47
    clock.advance(hours=2)
    assert (await consumed(built, clock, "claim", 9)).balance == 2
    await denied(built, clock, "claim", 1)


async def test_rights_that_change_between_two_calls_are_seen_where_no_counter_counts(
    built: Core, clock: FakeClock
) -> None:
    await grant(built, "acme", 50, clock.now())
    await consumed(built, clock, "claim", 1)
    capped = OverrideFacts("claim", limits=(Limit(WindowKind.DAY, 2),))
    await built.changes.set_override("acme", capped, at=clock.now(), actor="test", reason="a test")
    await consumed(built, clock, "claim", 1)
    decision = (await denied(built, clock, "claim", 1)).decisions[0]
    assert decision.code == "DAILY_CAP_EXCEEDED"


async def test_what_a_plan_included_is_not_charged_when_asked_again_without_any_limit(
    built: Core, clock: FakeClock
) -> None:
    await grant(built, "acme", 50, clock.now())
    first = await consumed(built, clock, "chat", 3, "k")
    await subscribe(built, "acme", "open", clock.now())
    assert (await consumed(built, clock, "chat", 1)).windows == ()
    again = await consumed(built, clock, "chat", 3, "k")
    assert (again.id, again.replayed) == (first.id, True)
    assert (await books(built, "acme")).spent == 2
