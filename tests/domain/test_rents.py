"""What quantities cost, and what that comes to in a month: held against counting one by one."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.domain.rents import Tier, graduated, in_a_month, packs, volume

AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=4)
QUANTITIES = st.integers(min_value=1, max_value=300)


@st.composite
def tiers(draw: st.DrawFn) -> list[Tier]:
    """Tiers as a provider has them: ever higher, the last without end."""
    edges = sorted(draw(st.sets(st.integers(min_value=1, max_value=250), max_size=4)))
    return [Tier(edge, draw(AMOUNTS), draw(AMOUNTS)) for edge in [*edges, None]]


def place(unit: int, held: list[Tier]) -> int:
    return next(n for n, t in enumerate(held) if t.up_to is None or unit <= t.up_to)


@given(QUANTITIES, tiers())
def test_graduated_is_each_unit_in_its_own_tier_and_the_flat_amounts_reached(
    quantity: int, held: list[Tier]
) -> None:
    places = [place(unit, held) for unit in range(1, quantity + 1)]
    expected = sum((Fraction(held[n].each) for n in places), Fraction(0))
    expected += sum((Fraction(held[n].flat) for n in set(places)), Fraction(0))
    found = graduated(quantity, held)
    assert found is not None
    assert Fraction(found) == expected


@given(QUANTITIES, tiers())
def test_volume_is_every_unit_in_the_tier_that_is_reached(quantity: int, held: list[Tier]) -> None:
    tier = held[place(quantity, held)]
    found = volume(quantity, held)
    assert found is not None
    assert Fraction(found) == Fraction(tier.flat) + quantity * Fraction(tier.each)


@given(QUANTITIES, AMOUNTS, AMOUNTS)
def test_one_tier_is_the_same_both_ways(quantity: int, each: Decimal, flat: Decimal) -> None:
    held = [Tier(None, each, flat)]
    assert graduated(quantity, held) == volume(quantity, held) == flat + each * quantity


@pytest.mark.parametrize("way", [graduated, volume])
@pytest.mark.parametrize(
    ("quantity", "held"),
    [
        (1, []),
        (6, [Tier(5, Decimal(7), Decimal(0))]),
        (0, [Tier(5, Decimal(7), Decimal(100)), Tier(None, Decimal(6), Decimal(0))]),
    ],
    ids=["no tiers", "beyond the last", "nothing of a flat amount"],
)
def test_what_the_tiers_do_not_say_is_unknown(way: object, quantity: int, held: list[Tier]) -> None:
    assert callable(way)
    assert way(quantity, held) is None


@pytest.mark.parametrize(
    ("quantity", "graduated_cost", "volume_cost"),
    [(1, 700, 700), (5, 3500, 3500), (6, 4150, 3900), (10, 6750, 6500), (25, 15_750, 15_000)],
)
def test_the_fonts_of_stripes_own_example(
    quantity: int, graduated_cost: int, volume_cost: int
) -> None:
    held = [Tier(5, Decimal(700), Decimal(0)), Tier(10, Decimal(650), Decimal(0))]
    held.append(Tier(None, Decimal(600), Decimal(0)))
    assert graduated(quantity, held) == graduated_cost
    assert volume(quantity, held) == volume_cost


@given(st.integers(min_value=0, max_value=10**6), st.integers(min_value=1, max_value=1000))
def test_packs_hold_all_of_it_or_only_whole_ones(quantity: int, of: int) -> None:
    up, down = packs(quantity, of, up=True), packs(quantity, of, up=False)
    assert down * of <= quantity <= up * of
    assert up - down == (0 if quantity % of == 0 else 1)


@given(AMOUNTS, st.integers(min_value=1, max_value=36))
def test_a_years_worth_of_months_is_what_the_intervals_of_a_year_cost(
    amount: Decimal, every: int
) -> None:
    for interval, in_a_year in {"day": 365, "week": 52, "month": 12, "year": 1}.items():
        month = in_a_month(amount, interval, every)
        assert month is not None
        assert month * 12 == Fraction(amount) * in_a_year / every


@pytest.mark.parametrize(("interval", "every"), [("fortnight", 1), ("month", 0)])
def test_an_interval_that_is_not_understood_has_no_month(interval: str, every: int) -> None:
    assert in_a_month(Decimal(100), interval, every) is None
