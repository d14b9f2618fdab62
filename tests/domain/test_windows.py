from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.domain.catalog import WindowKind
from api.domain.snapshot import encode_bounds
from api.domain.windows import Frame, Window, moved, next_windows, window_at
from tests.support.builders import instant

DAY = WindowKind.DAY
WEEK = WindowKind.WEEK
MONTH = WindowKind.MONTH
YEAR = WindowKind.YEAR
PERIOD = WindowKind.BILLING_PERIOD


def window(begins: str, ends: str) -> Window:
    return Window(instant(begins), instant(ends))


def days(first: str, last: str, zone: str) -> list[Window]:
    """Return the day windows from the one that holds ``first`` to the one that holds ``last``."""
    found = [window_at(Frame(DAY, zone), instant(first))]
    while instant(last) not in found[-1]:
        end = found[-1].ends_at
        assert end is not None
        found.append(window_at(Frame(DAY, zone), end))
    return found


def lengths(windows: list[Window]) -> list[float]:
    return [((w.ends_at or w.starts_at) - w.starts_at).total_seconds() / 3600 for w in windows]


@pytest.mark.parametrize(
    ("kind", "begins", "ends"),
    [
        (WindowKind.MINUTE, "2026-03-10 10:17", "2026-03-10 10:18"),
        (WindowKind.HOUR, "2026-03-10 10:00", "2026-03-10 11:00"),
        (DAY, "2026-03-10", "2026-03-11"),
        (WEEK, "2026-03-09", "2026-03-16"),
        (MONTH, "2026-03-01", "2026-04-01"),
        (YEAR, "2026-01-01", "2027-01-01"),
    ],
)
def test_a_calendar_window_holds_its_instant(kind: WindowKind, begins: str, ends: str) -> None:
    assert window_at(Frame(kind), instant("2026-03-10 10:17:31")) == window(begins, ends)


def test_a_window_begins_at_its_boundary_and_ends_just_before_the_next() -> None:
    frame = Frame(DAY)
    midnight = instant("2026-03-11")
    assert window_at(frame, midnight) == window("2026-03-11", "2026-03-12")
    before = window_at(frame, midnight - timedelta(microseconds=1))
    assert before == window("2026-03-10", "2026-03-11")
    assert midnight not in before


def test_a_lifetime_never_ends() -> None:
    lifetime = window_at(Frame(WindowKind.LIFETIME), instant("2026-03-10"))
    assert lifetime.ends_at is None
    assert instant("2999-01-01") in lifetime
    assert next_windows(Frame(WindowKind.LIFETIME), instant("2026-03-10"), 3) == [lifetime]


def test_weeks_begin_on_monday_in_the_customers_zone() -> None:
    frame = Frame(WEEK, "Asia/Tokyo")
    found = window_at(frame, instant("2026-03-10"))
    assert found == window("2026-03-08 15:00", "2026-03-15 15:00")
    assert found.starts_at.astimezone(ZoneInfo("Asia/Tokyo")).weekday() == 0


# Months and leap years


@pytest.mark.parametrize(
    ("at", "begins", "ends"),
    [
        ("2028-02-29 23:59:59", "2028-02-01", "2028-03-01"),
        ("2027-02-28 23:59:59", "2027-02-01", "2027-03-01"),
        ("2027-12-31 23:59:59", "2027-12-01", "2028-01-01"),
        ("2028-01-01", "2028-01-01", "2028-02-01"),
    ],
)
def test_calendar_months_are_as_long_as_they_are(at: str, begins: str, ends: str) -> None:
    assert window_at(Frame(MONTH), instant(at)) == window(begins, ends)


@pytest.mark.parametrize(
    ("anchor", "boundaries"),
    [
        (
            "2026-01-31 08:00",
            ["01-31 08:00", "02-28 08:00", "03-31 08:00", "04-30 08:00", "05-31 08:00"],
        ),
        ("2026-01-30", ["01-30", "02-28", "03-30", "04-30", "05-30"]),
        ("2026-01-29", ["01-29", "02-28", "03-29", "04-29", "05-29"]),
    ],
)
def test_a_billing_month_is_clamped_from_the_anchors_own_day(
    anchor: str, boundaries: list[str]
) -> None:
    frame = Frame(MONTH, anchor=instant(anchor))
    expected = [instant(f"2026-{text}") for text in boundaries]
    assert [w.starts_at for w in next_windows(frame, instant(anchor), 5)] == expected


def test_a_billing_month_anchored_on_the_31st_keeps_a_leap_day() -> None:
    frame = Frame(PERIOD, anchor=instant("2027-10-31"))
    starts = [w.starts_at for w in next_windows(frame, instant("2028-01-31"), 3)]
    assert starts == [instant("2028-01-31"), instant("2028-02-29"), instant("2028-03-31")]


def test_a_billing_year_anchored_on_a_leap_day_is_clamped_and_comes_back() -> None:
    frame = Frame(PERIOD, anchor=instant("2028-02-29"), period_months=12)
    starts = [w.starts_at for w in next_windows(frame, instant("2028-02-29"), 5)]
    assert [s.strftime("%m-%d") for s in starts] == ["02-29", "02-28", "02-28", "02-28", "02-29"]


def test_windows_before_the_anchor_are_laid_from_it_too() -> None:
    frame = Frame(MONTH, anchor=instant("2026-05-31"))
    assert window_at(frame, instant("2026-03-10")) == window("2026-02-28", "2026-03-31")


def test_days_and_weeks_can_be_laid_from_the_anchor() -> None:
    anchor = instant("2026-03-04 17:30")
    at = instant("2026-03-10 10:00")
    assert window_at(Frame(DAY, anchor=anchor), at) == window(
        "2026-03-09 17:30", "2026-03-10 17:30"
    )
    assert window_at(Frame(WEEK, anchor=anchor), at) == window(
        "2026-03-04 17:30", "2026-03-11 17:30"
    )


# Zones


@pytest.mark.parametrize(
    ("zone", "first", "last", "hours"),
    [
        # Clocks go forward: the day has 23 hours, or starts late.
        ("Europe/Berlin", "2026-03-28 12:00", "2026-03-30 12:00", [24, 23, 24]),
        ("America/New_York", "2026-03-07 17:00", "2026-03-09 17:00", [24, 23, 24]),
        ("Australia/Lord_Howe", "2026-10-03 02:00", "2026-10-05 02:00", [24, 23.5, 24]),
        # Clocks go back: 25 hours.
        ("Europe/Berlin", "2026-10-24 12:00", "2026-10-26 12:00", [24, 25, 24]),
        ("America/New_York", "2026-10-31 16:00", "2026-11-02 17:00", [24, 25, 24]),
        ("Australia/Lord_Howe", "2026-04-04 02:00", "2026-04-06 02:00", [24, 24.5, 24]),
        # Midnight itself is skipped: the day begins at one.
        ("America/Sao_Paulo", "2018-11-03 12:00", "2018-11-05 12:00", [24, 23, 24]),
        ("Africa/Cairo", "2026-04-23 12:00", "2026-04-25 12:00", [24, 23, 24]),
        ("Asia/Beirut", "2026-03-28 12:00", "2026-03-30 12:00", [24, 23, 24]),
        ("America/Asuncion", "2024-10-05 12:00", "2024-10-07 12:00", [24, 23, 24]),
        # Midnight happens twice: the day before keeps its 24 hours, the day itself has 25.
        ("America/Havana", "2026-10-31 12:00", "2026-11-02 12:00", [24, 25, 24]),
        # From midnight back to eleven: the day before has its last hour twice.
        ("America/Sao_Paulo", "2019-02-16 12:00", "2019-02-18 12:00", [24 + 1, 24, 24]),
        # One minute past midnight back to 23:01, as Newfoundland did it.
        ("America/St_Johns", "2010-11-06 12:00", "2010-11-08 12:00", [24, 25, 24]),
        # Offsets that are no whole hours, and none that ever change.
        ("Asia/Kathmandu", "2026-03-09 12:00", "2026-03-11 12:00", [24, 24, 24]),
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(
    zone: str, first: str, last: str, hours: list[float]
) -> None:
    assert lengths(days(first, last, zone)) == hours


def test_a_day_whose_midnight_is_skipped_begins_when_the_gap_ends() -> None:
    found = window_at(Frame(DAY, "America/Sao_Paulo"), instant("2018-11-04 12:00"))
    assert found.starts_at.astimezone(ZoneInfo("America/Sao_Paulo")).isoformat() == (
        "2018-11-04T01:00:00-02:00"
    )


def test_a_month_whose_first_midnight_is_skipped_begins_when_the_gap_ends() -> None:
    # Asunción, 1 October 2017: from 00:00 to 01:00.
    found = window_at(Frame(MONTH, "America/Asuncion"), instant("2017-10-15"))
    assert found.starts_at == instant("2017-10-01 04:00")


def test_the_day_that_samoa_left_out_has_no_window() -> None:
    # From Thursday 29 December 2011 straight to Saturday the 31st.
    apia = ZoneInfo("Pacific/Apia")
    found = days("2011-12-29 12:00", "2012-01-01 12:00", "Pacific/Apia")
    assert lengths(found) == [24] * len(found)
    local = [w.starts_at.astimezone(apia).strftime("%d") for w in found]
    assert local == ["29", "31", "01", "02"]
    week = window_at(Frame(WEEK, "Pacific/Apia"), instant("2011-12-30 12:00"))
    assert lengths([week]) == [6 * 24]


# Pins


def test_a_pin_stands_before_the_frames_own_boundaries_while_it_lasts() -> None:
    frame = Frame(DAY, "Asia/Tokyo")
    pin = window("2026-03-10", "2026-03-11 15:00")
    assert window_at(frame, instant("2026-03-10 10:00"), pin) == pin
    assert window_at(frame, instant("2026-03-11 14:59:59"), pin) == pin
    after = window("2026-03-11 15:00", "2026-03-12 15:00")
    assert window_at(frame, instant("2026-03-11 15:00"), pin) == after
    assert next_windows(frame, instant("2026-03-10 10:00"), 2, pin) == [pin, after]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # Tokyo's next midnight at or after UTC's is 15:00 on the 11th.
        (
            window("2026-03-10", "2026-03-11"),
            Frame(DAY, "Asia/Tokyo"),
            window("2026-03-10", "2026-03-11 15:00"),
        ),
        # Westward: Honolulu's next midnight at or after the old end.
        (
            window("2026-03-10", "2026-03-11"),
            Frame(DAY, "Pacific/Honolulu"),
            window("2026-03-10", "2026-03-11 10:00"),
        ),
        # A boundary at the very end needs nothing more.
        (
            window("2026-03-10", "2026-03-11"),
            Frame(DAY, anchor=instant("2026-01-01")),
            window("2026-03-10", "2026-03-11"),
        ),
        # A calendar month becomes a billing month anchored on the 31st.
        (
            window("2026-03-01", "2026-04-01"),
            Frame(MONTH, anchor=instant("2026-01-31")),
            window("2026-03-01", "2026-04-30"),
        ),
        # A pin can be moved again.
        (
            window("2026-03-10", "2026-03-11 15:00"),
            Frame(DAY),
            window("2026-03-10", "2026-03-12"),
        ),
    ],
)
def test_a_moved_window_runs_to_the_first_new_boundary_at_or_after_its_old_end(
    old: Window, new: Frame, expected: Window
) -> None:
    assert moved(old, new, instant("2026-03-10 10:00")) == expected


def test_a_plan_change_just_before_midnight_gives_no_fresh_day() -> None:
    at = instant("2026-03-10 23:59:59.999999")
    old = window_at(Frame(DAY), at)
    pin = moved(old, Frame(DAY, anchor=instant("2026-03-10 23:59:59")), at)
    assert pin == window("2026-03-10", "2026-03-11 23:59:59")


def test_a_window_without_end_is_never_pinned() -> None:
    at = instant("2026-03-10 10:00")
    lifetime = window_at(Frame(WindowKind.LIFETIME), at)
    assert moved(lifetime, Frame(DAY), at) == window("2026-03-10", "2026-03-11")
    assert moved(window("2026-03-10", "2026-03-11"), Frame(WindowKind.LIFETIME), at) == lifetime


# What holds of every frame

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Havana",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Antarctica/Troll",
]

instants = st.integers(
    int(instant("2005-01-01").timestamp() * 1e6), int(instant("2037-01-01").timestamp() * 1e6)
).map(lambda micros: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros))
seconds = instants.map(lambda at: at.replace(microsecond=0))
turning = st.sampled_from([k for k in WindowKind if k is not WindowKind.LIFETIME])


@st.composite
def frames(draw: st.DrawFn, kinds: st.SearchStrategy[WindowKind] = turning) -> Frame:
    kind = draw(kinds)
    if kind is PERIOD or draw(st.booleans()):
        months = draw(st.sampled_from([1, 12]))
        return Frame(kind, anchor=draw(seconds), period_months=months)
    return Frame(kind, zone=draw(st.sampled_from(ZONES)))


@given(frames(), instants)
@example(Frame(DAY, "Pacific/Apia"), instant("2011-12-30 10:00"))
def test_every_instant_lies_in_its_window(frame: Frame, at: datetime) -> None:
    found = window_at(frame, at)
    assert at in found
    assert found.starts_at.microsecond == 0


@given(frames(), instants)
def test_windows_adjoin_and_have_a_length(frame: Frame, at: datetime) -> None:
    found = next_windows(frame, at, 4)
    for earlier, later in pairwise(found):
        assert earlier.ends_at == later.starts_at
    assert all(w.ends_at is not None and w.starts_at < w.ends_at for w in found)


@given(frames(), instants)
def test_every_instant_of_a_window_finds_the_same_window(frame: Frame, at: datetime) -> None:
    found = window_at(frame, at)
    assert found.ends_at is not None
    assert window_at(frame, found.starts_at) == found
    assert window_at(frame, found.ends_at - timedelta(microseconds=1)) == found
    assert window_at(frame, found.starts_at - timedelta(microseconds=1)).ends_at == found.starts_at


@given(st.sampled_from([DAY, WEEK, MONTH, YEAR]).flatmap(lambda k: frames(st.just(k))), instants)
def test_a_calendar_window_begins_with_a_local_day(frame: Frame, at: datetime) -> None:
    start = window_at(frame, at).starts_at
    if frame.anchor is None:
        zone = ZoneInfo(frame.zone)
        before = (start - timedelta(seconds=1)).astimezone(zone)
        assert before.date() < start.astimezone(zone).date()


@st.composite
def changes_of_frame(draw: st.DrawFn) -> tuple[Frame, list[tuple[Frame, datetime]]]:
    """Draw a frame, and others of the same kind with the growing instants they come into force."""
    kind = draw(st.sampled_from([DAY, WEEK, MONTH, PERIOD]))
    same = frames(st.just(kind))
    at = draw(instants)
    steps = []
    for _ in range(draw(st.integers(1, 4))):
        at += draw(st.timedeltas(timedelta(0), timedelta(days=20)))
        steps.append((draw(same), at))
    return draw(same), steps


@given(changes_of_frame())
def test_a_moved_window_never_begins_later_nor_ends_earlier_and_ends_at_a_boundary(
    life: tuple[Frame, list[tuple[Frame, datetime]]],
) -> None:
    frame, steps = life
    pin: Window | None = None
    for following, at in steps:
        old = window_at(frame, at, pin)
        pin = moved(old, following, at)
        assert at in pin
        assert pin.starts_at == old.starts_at
        assert pin.ends_at is not None
        assert old.ends_at is not None
        assert pin.ends_at >= old.ends_at
        assert window_at(following, pin.ends_at).starts_at == pin.ends_at
        # And no later than it must: the new frame has no boundary between the two ends.
        if pin.ends_at > old.ends_at:
            assert window_at(following, old.ends_at).ends_at == pin.ends_at
        frame = following


@given(frames(), instants, st.timedeltas(timedelta(0), timedelta(days=8)))
def test_encoded_bounds_say_what_the_frame_says_for_eight_days(
    frame: Frame, at: datetime, later: timedelta
) -> None:
    bounds = encode_bounds(frame, at)
    then = at + later
    second = int(then.timestamp())
    if bounds[0] == 0:
        start = (second - bounds[2]) // bounds[1] * bounds[1] + bounds[2]
        found = (start, start + bounds[1])
    else:
        index = next(i for i, bound in enumerate(bounds) if second < bound)
        assert index > 0
        found = (bounds[index - 1], bounds[index])
    expected = window_at(frame, then)
    assert expected.ends_at is not None
    assert found == (int(expected.starts_at.timestamp()), int(expected.ends_at.timestamp()))
