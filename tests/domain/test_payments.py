"""What a payment comes to does not depend on the order in which it was told."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.domain.payments import FactKind, PaymentFact, Standing, Told, standing_of, taken_back

AT = datetime(2026, 3, 10, 10, tzinfo=UTC)


def told(fact: PaymentFact, *, seconds: int = 0) -> Told:
    return Told(fact, AT + timedelta(seconds=seconds), "evt_1")


def charge(refunded: int, **when: int) -> Told:
    return told(PaymentFact(FactKind.CHARGE, "ch", 1000, refunded), **when)


def refund(name: str, amount: int, *, failed: bool = False, **when: int) -> Told:
    fact = PaymentFact(FactKind.REFUND, name, amount, stands=not failed, final=failed)
    return told(fact, **when)


def dispute(*, stands: bool, final: bool = False, **when: int) -> Told:
    return told(PaymentFact(FactKind.DISPUTE, "dp", 1000, stands=stands, final=final), **when)


STORIES: list[tuple[str, list[Told], Standing]] = [
    ("nothing", [], Standing()),
    ("a part is refunded", [refund("a", 300), charge(300)], Standing(1000, 300)),
    (
        "a refund that failed is none",
        [charge(300), refund("a", 300), refund("a", 300, failed=True, seconds=9)],
        Standing(1000, 0),
    ),
    (
        "only the charge and the failure were heard",
        [charge(300), refund("a", 300, failed=True, seconds=9)],
        Standing(1000, 0),
    ),
    (
        "another refund after one that failed",
        [
            refund("a", 300),
            charge(300),
            refund("a", 300, failed=True, seconds=5),
            refund("b", 500, seconds=9),
            charge(500, seconds=9),
        ],
        Standing(1000, 500),
    ),
    (
        "a failure that the charge had counted already is not counted again",
        [charge(300), refund("a", 300, failed=True, seconds=5), charge(500, seconds=9)],
        Standing(1000, 500),
    ),
    ("it is disputed", [charge(0), dispute(stands=True)], Standing(1000, 0, disputed=True)),
    (
        "the dispute was won in the second in which it came",
        [charge(0), dispute(stands=True), dispute(stands=False, final=True)],
        Standing(1000, 0),
    ),
    (
        "the dispute was lost",
        [dispute(stands=True), dispute(stands=True, final=True, seconds=99)],
        Standing(0, 0, disputed=True),
    ),
]


@pytest.mark.parametrize(
    ("facts", "expected"), [story[1:] for story in STORIES], ids=[story[0] for story in STORIES]
)
def test_a_payment_comes_to_the_same_in_every_order(
    facts: Sequence[Told], expected: Standing
) -> None:
    for order in itertools.permutations(facts):
        assert standing_of(order) == expected
        assert standing_of([*order, *order[:2]]) == expected


def test_what_was_read_of_the_payment_is_its_amount_before_what_its_purchase_says() -> None:
    price = told(PaymentFact(FactKind.PURCHASE, "cs", 900))
    paid = told(PaymentFact(FactKind.PAYMENT, "pi", 1100))
    assert standing_of([price]).amount_minor == 900
    assert standing_of([price, charge(0)]).amount_minor == 1000
    assert standing_of([price, charge(0), paid]).amount_minor == 1100


@pytest.mark.parametrize(
    ("standing", "taken"),
    [
        (Standing(1000, 0), 0),
        (Standing(1000, 333), 33),
        (Standing(1000, 339), 33),
        (Standing(1000, 1000), 100),
        (Standing(1000, 2000), 100),
        (Standing(1000, 0, disputed=True), 100),
        (Standing(0, 500), 0),
        (Standing(0, 0, disputed=True), 100),
    ],
)
def test_the_share_of_a_refund_is_taken_back_and_of_a_dispute_all(
    standing: Standing, taken: int
) -> None:
    assert taken_back(100, standing) == taken


@given(st.integers(1, 2**53), st.integers(1, 10**9), st.data())
def test_never_more_than_was_bought_and_never_less_for_a_greater_refund(
    units: int, amount: int, data: st.DataObject
) -> None:
    less = data.draw(st.integers(0, amount))
    more = data.draw(st.integers(less, amount))
    first, second = (taken_back(units, Standing(amount, r)) for r in (less, more))
    assert 0 <= first <= second <= units
    assert taken_back(units, Standing(amount, amount)) == units
