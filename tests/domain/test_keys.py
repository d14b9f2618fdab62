"""Where state lies: no two customers, and no two of their operations, share a place."""

from hypothesis import given
from hypothesis import strategies as st

from api.domain import keys

names = st.text("ab:1", max_size=6)


@given(names, names, names, names)
def test_no_two_operations_share_an_answer(
    customer: str, operation: str, other: str, others: str
) -> None:
    same = keys.answer(7, customer, operation) == keys.answer(7, other, others)
    assert same is ((customer, operation) == (other, others))


@given(st.text(max_size=200))
def test_all_keys_of_a_customer_carry_its_shards_tag(customer: str) -> None:
    shard = keys.shard_of(customer)
    places = (
        keys.marker(shard),
        keys.journal(shard),
        keys.snapshot(shard, customer),
        keys.counters(shard, customer),
        keys.answer(shard, customer, "op"),
    )
    assert 0 <= shard < keys.SHARDS
    assert len(set(places)) == len(places)
    assert all(place.startswith(f"{{{shard}}}") for place in places)
