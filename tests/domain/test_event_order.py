"""The order of events that only tell of an object: the same end, whatever came when."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import permutations, product

from hypothesis import given
from hypothesis import strategies as st

from api.domain.entitlements import SubscriptionStatus as Status
from api.domain.event_order import TERMINAL, EventRank, rank_of, supersedes

BEGIN = datetime(2026, 3, 10, 10, tzinfo=UTC)


@dataclass(frozen=True)
class Told:
    """A subscription's state as one event told it; what it sells is its event's id."""

    event_id: str
    second: int
    status: Status

    @cached_property
    def rank(self) -> EventRank:
        return rank_of(BEGIN + timedelta(seconds=self.second), self.status, self.event_id)


def settle(events: tuple[Told, ...]) -> Told | None:
    known: Told | None = None
    for told in events:
        if supersedes(told.rank, known.rank if known else None):
            known = told
    return known


LIFE = (
    Told("evt_3f", 0, Status.INCOMPLETE),
    Told("evt_1a", 0, Status.ACTIVE),
    Told("evt_9z", 60, Status.ACTIVE),
    Told("evt_0b", 60, Status.PAST_DUE),
    Told("evt_7c", 120, Status.ACTIVE),
    Told("evt_7b", 120, Status.ACTIVE),
    Told("evt_5d", 180, Status.CANCELED),
    Told("evt_8e", 180, Status.ACTIVE),
)


def test_every_order_of_a_life_of_eight_events_ends_in_the_same_state() -> None:
    # 40,320 orders; in two pairs the same second told two things.
    assert {settle(order) for order in permutations(LIFE)} == {LIFE[6]}


def test_every_order_with_every_event_doubled_ends_in_the_same_state() -> None:
    part = LIFE[2:6]
    assert {settle(order) for order in permutations(part + part)} == {LIFE[4]}


def test_the_newest_wins_whatever_its_status() -> None:
    for older, newer in product(Status, Status):
        told = (Told("evt_z", 0, older), Told("evt_a", 1, newer))
        assert settle(told) == settle(told[::-1]) == told[1]


def test_of_one_second_a_terminal_status_wins() -> None:
    for ended, going in product(TERMINAL, set(Status) - TERMINAL):
        told = (Told("evt_a", 0, ended), Told("evt_z", 0, going))
        assert settle(told) == settle(told[::-1]) == told[0]


def test_of_one_second_and_one_status_the_greater_event_id_wins() -> None:
    told = (Told("evt_b", 0, Status.ACTIVE), Told("evt_a", 0, Status.ACTIVE))
    assert settle(told) == settle(told[::-1]) == told[0]


def test_of_one_second_the_later_place_in_the_course_wins_before_the_event_id() -> None:
    told = (Told("evt_z", 0, Status.INCOMPLETE), Told("evt_a", 0, Status.ACTIVE))
    assert settle(told) == settle(told[::-1]) == told[1]


def test_the_same_event_again_is_no_news() -> None:
    assert not supersedes(LIFE[0].rank, LIFE[0].rank)


told_events = st.builds(
    Told,
    st.text("abc123", min_size=1, max_size=3).map("evt_{}".format),
    st.integers(0, 3),
    st.sampled_from(Status),
)


@given(st.lists(told_events, min_size=1, max_size=9, unique_by=lambda t: t.event_id), st.data())
def test_any_order_and_any_repetition_ends_alike(events: list[Told], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(events))
    again = data.draw(st.lists(st.sampled_from(events), max_size=9))
    mixed = data.draw(st.permutations(list(shuffled) + again))
    assert settle(tuple(mixed)) == settle(tuple(events))
