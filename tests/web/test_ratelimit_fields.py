"""The fields as structured fields (RFC 9651), whatever the windows are."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from api.domain.catalog import MAX_UNITS, WindowKind
from api.domain.decision import WindowFigure
from api.schema.scalars import write_instant
from api.web.ratelimit_fields import fields_and_json
from api.web.window_words import MOST

ITEM = re.compile(r'"([a-z][a-z0-9_]*/[a-z_]+)"((?:;[a-z]+=[0-9]{1,15})+)')

units = st.integers(0, MAX_UNITS)
figures = st.builds(
    WindowFigure,
    window=st.sampled_from(WindowKind),
    limit=st.none() | units,
    used=units,
    starts_at_s=st.none() | st.integers(0, 10**9),
    resets_at_s=st.none() | st.integers(10**9, 2 * 10**9),
    held=units,
    shadow=st.booleans(),
    overage=st.booleans(),
)


def parsed(line: bytes) -> dict[str, dict[str, int]]:
    found = {}
    for item in line.decode("ascii").split(", "):
        match = ITEM.fullmatch(item)
        assert match is not None, item
        parameters = (pair.split("=") for pair in match[2].strip(";").split(";"))
        found[match[1]] = {name: int(value) for name, value in parameters}
    return found


@given(st.lists(figures, max_size=4, unique_by=lambda f: f.window), st.integers(1, MAX_UNITS))
def test_what_is_said_is_well_formed_and_true(windows: list[WindowFigure], units: int) -> None:
    lines = dict(fields_and_json("calls", windows, 10**9)[0])
    binding = {f"calls/{w.window.value}": w for w in windows if w.limit is not None and w.binds}
    assert bool(lines) == bool(binding)
    if not binding:
        return
    policies, limits = parsed(lines[b"ratelimit-policy"]), parsed(lines[b"ratelimit"])
    assert policies.keys() == limits.keys() == binding.keys()
    for name, window in binding.items():
        assert policies[name]["q"] == min(window.limit or 0, MOST)
        assert limits[name]["r"] == min(window.remaining or 0, MOST)
        assert ("t" in limits[name]) == (window.resets_at_s is not None)
    refused = dict(fields_and_json("calls", windows, 10**9, units)[0])
    too_full = {name for name, w in binding.items() if (w.remaining or 0) < units}
    assert set(parsed(refused[b"ratelimit"]) if b"ratelimit" in refused else ()) == too_full


@given(st.lists(figures, max_size=4, unique_by=lambda f: f.window))
def test_the_json_says_the_same(windows: list[WindowFigure]) -> None:
    told = json.loads(fields_and_json("calls", windows, 10**9)[1])
    assert told == [
        {
            "window": w.window.name,
            "limit": w.limit,
            "used": w.used,
            "held": w.held,
            "remaining": w.remaining,
            "startsAt": None if w.starts_at is None else write_instant(w.starts_at),
            "resetsAt": None if w.resets_at is None else write_instant(w.resets_at),
            "shadow": w.shadow,
            "overage": w.overage,
        }
        for w in windows
    ]


def test_nothing_is_said_where_nothing_binds() -> None:
    shadow = WindowFigure(WindowKind.DAY, 5, 9, 0, 86_400, shadow=True)
    unlimited = WindowFigure(WindowKind.MONTH, None, 9, 0, 2_678_400)
    assert fields_and_json("calls", (shadow, unlimited), 0)[0] == []
