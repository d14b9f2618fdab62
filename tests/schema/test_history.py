"""A span of time, cut into the points of a history."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.domain.catalog import WindowKind
from api.domain.errors import InvalidInput
from api.domain.windows import Frame, window_at
from api.schema.history import MOST_POINTS, USUAL_POINTS, cut

SINCE = datetime(2024, 2, 29, 13, 30, 1, tzinfo=UTC)
instants = st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis wants walls
zones = st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])
frames = st.builds(
    Frame, st.sampled_from([k for k in WindowKind if k is not WindowKind.BILLING_PERIOD]), zones
) | st.builds(
    Frame,
    st.just(WindowKind.BILLING_PERIOD),
    anchor=st.just(datetime(2024, 1, 31, 9, 17, 3, tzinfo=UTC)),
    period_months=st.sampled_from([1, 12]),
)


@given(frames, instants, st.timedeltas(timedelta(seconds=1), timedelta(days=800)))
def test_the_pieces_adjoin_and_make_up_the_span(
    frame: Frame, start: datetime, length: timedelta
) -> None:
    end = start + length
    try:
        pieces = cut(frame, start, end, SINCE)
    except InvalidInput:
        assert frame.kind is not WindowKind.LIFETIME
        return
    assert (pieces[0].starts_at, pieces[-1].ends_at) == (start, end)
    for before, after in itertools.pairwise(pieces):
        assert before.ends_at == after.starts_at
        assert window_at(frame, after.starts_at).starts_at == after.starts_at
    assert len(pieces) <= MOST_POINTS + 2


@given(frames, instants)
def test_without_a_start_it_shows_the_last_windows_up_to_now(frame: Frame, end: datetime) -> None:
    pieces = cut(frame, None, end, SINCE)
    assert len(pieces) <= USUAL_POINTS + 3
    if pieces:
        assert pieces[-1].ends_at == end
        assert pieces[0].starts_at <= end


def test_a_year_by_days_is_allowed_and_a_year_by_hours_is_not() -> None:
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    assert len(cut(Frame(WindowKind.DAY), start, end, SINCE)) == 366
    with pytest.raises(InvalidInput, match="more than 400 points"):
        cut(Frame(WindowKind.HOUR), start, end, SINCE)


def test_a_customer_of_this_moment_has_no_history() -> None:
    assert cut(Frame(WindowKind.LIFETIME), None, SINCE, SINCE) == ()


@pytest.mark.parametrize("end", [SINCE, SINCE - timedelta(days=1)])
def test_a_span_that_ends_before_it_begins_is_refused(end: datetime) -> None:
    with pytest.raises(InvalidInput, match="from must lie before to"):
        cut(Frame(WindowKind.DAY), SINCE, end, SINCE)
