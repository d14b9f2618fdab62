"""What actions cost, and which grants pay: exact, conserving, in one order."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.domain.catalog import MAX_UNITS, Bucket, CreditCost, Rounding
from api.domain.credits import Grant, burn_down, burn_order, cost_of, most_units
from api.infra.postgres import Database

NOW = datetime(2026, 3, 10, 10, tzinfo=UTC)
instants = st.sampled_from([NOW + timedelta(hours=h) for h in (-2, -1, 0, 1, 2)])
costs = st.builds(
    CreditCost,
    feature=st.just("chat"),
    credits=st.integers(1, 10**6),
    per=st.integers(1, 10**7),
    rounding=st.sampled_from(Rounding),
    minimum=st.integers(0, 50),
)
amounts = st.integers(0, 2_000) | st.integers(0, MAX_UNITS)


@st.composite
def purses(draw: st.DrawFn) -> tuple[list[Grant], dict[int, int]]:
    grants = [
        Grant(
            id=number,
            bucket=draw(st.sampled_from(Bucket)),
            priority=draw(st.integers(0, 2)),
            effective_at=draw(instants),
            created_at=draw(instants),
            expires_at=draw(st.none() | instants),
            features=draw(st.sampled_from((None, frozenset({"chat"}), frozenset({"search"})))),
        )
        for number in range(draw(st.integers(0, 7)))
    ]
    return grants, {grant.id: draw(st.integers(0, 30)) for grant in grants}


@given(purse=purses(), asked=st.integers(0, 120), shuffle=st.randoms(use_true_random=False))
def test_burning_down_conserves_and_does_not_depend_on_the_order_given(
    purse: tuple[list[Grant], dict[int, int]], asked: int, shuffle: Random
) -> None:
    grants, left = purse
    paid = burn_down(grants, left, credits=asked, feature="chat", at=NOW)
    assert sum(burned.credits for burned in paid.burned) + paid.uncovered == asked
    assert paid.uncovered >= 0
    shuffled = list(grants)
    shuffle.shuffle(shuffled)
    assert burn_down(shuffled, left, credits=asked, feature="chat", at=NOW) == paid
    of = {grant.id: grant for grant in grants}
    assert [b.grant for b in paid.burned] == [
        grant.id for grant in sorted((of[b.grant] for b in paid.burned), key=burn_order)
    ]
    for burned in paid.burned:
        assert of[burned.grant].pays("chat", NOW)
        assert 0 < burned.credits <= left[burned.grant]
    # All but the last are used up, and nobody who could have paid first was passed over.
    burned_of = dict(paid.burned)
    usable = [g for g in sorted(grants, key=burn_order) if g.pays("chat", NOW) and left[g.id]]
    touched = [g.id in burned_of for g in usable]
    assert touched == sorted(touched, reverse=True)
    assert all(burned_of[b.grant] == left[b.grant] for b in paid.burned[:-1])
    if paid.uncovered:
        assert burned_of == {g.id: left[g.id] for g in usable}


def test_grants_burn_by_priority_then_expiry_then_creation_then_id() -> None:
    def grant(number: int, priority: int, expires: int | None, created: int) -> Grant:
        ends = None if expires is None else NOW + timedelta(days=expires)
        born = NOW + timedelta(days=created)
        return Grant(number, Bucket.PERMANENT, priority, NOW, born, ends)

    ordered = [
        grant(9, 0, None, 5),
        grant(8, 1, 1, 5),
        grant(7, 1, 2, 1),
        grant(4, 1, 2, 2),
        grant(6, 1, 2, 2),
        grant(2, 1, None, 0),
        grant(3, 1, None, 1),
    ]
    assert sorted(ordered[3:] + ordered[:3], key=burn_order) == ordered


def exact(cost: CreditCost, units: int) -> int:
    """Say the rule once more, in fractions."""
    price = Fraction(units * cost.credits, cost.per)
    rounded = {
        Rounding.UP: ceil(price),
        Rounding.DOWN: floor(price),
        Rounding.NEAREST: floor(price + Fraction(1, 2)),
    }[cost.rounding]
    return max(cost.minimum, rounded) if units else 0


@given(cost=costs, units=amounts)
def test_a_cost_is_the_exact_fraction_rounded_once(cost: CreditCost, units: int) -> None:
    assert cost_of(cost, units) == exact(cost, units)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [(Rounding.UP, (1, 1, 2)), (Rounding.DOWN, (0, 1, 1)), (Rounding.NEAREST, (1, 1, 2))],
)
def test_halves_go_where_the_catalog_says(rounding: Rounding, expected: tuple[int, ...]) -> None:
    cost = CreditCost("chat", 1, per=2, rounding=rounding)
    assert tuple(cost_of(cost, units) for units in (1, 2, 3)) == expected


def test_no_digit_is_lost_at_the_largest_numbers() -> None:
    cost = CreditCost("chat", MAX_UNITS, per=MAX_UNITS - 1, rounding=Rounding.UP)
    assert cost_of(cost, MAX_UNITS) == MAX_UNITS + 2
    assert cost_of(cost, MAX_UNITS - 1) == MAX_UNITS


@given(cost=costs, purse=amounts)
def test_the_most_units_are_affordable_and_one_more_is_not(cost: CreditCost, purse: int) -> None:
    most = most_units(cost, purse)
    assert cost_of(cost, most) <= purse
    assert most == MAX_UNITS or cost_of(cost, most + 1) > purse


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.tuples(costs, amounts), min_size=5, max_size=40))
async def test_postgresql_computes_the_same_costs(
    database: Database, asked: list[tuple[CreditCost, int]]
) -> None:
    huge = CreditCost("chat", MAX_UNITS, per=MAX_UNITS - 1)
    asked = [*(pair for pair in asked if cost_of(*pair) < 2**63), (huge, MAX_UNITS), (huge, 0)]
    rows = await database.fetch(
        "select credit_cost(u, c, p, r, m) as cost from unnest($1::bigint[], $2::bigint[],"
        " $3::bigint[], $4::text[], $5::bigint[]) with ordinality as a (u, c, p, r, m, n)"
        " order by n",
        [units for _, units in asked],
        [cost.credits for cost, _ in asked],
        [cost.per for cost, _ in asked],
        [cost.rounding.value for cost, _ in asked],
        [cost.minimum for cost, _ in asked],
    )
    assert [row["cost"] for row in rows] == [cost_of(cost, units) for cost, units in asked]
