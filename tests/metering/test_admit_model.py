"""The pure model and the machine give the same answer to every call."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.domain.admission import Action, Count, Judgement, Outcome, Slot, judge
from api.domain.catalog import Feature, FeatureKind, WindowKind
from api.domain.entitlements import EntitledLimit, Entitlement, counted
from api.domain.windows import Frame, Window, moved, window_at
from api.metering.counters import Counters, Operation, Reply, Verdict, figures
from tests.support.judging import install, open_door, snapshot_of

START = datetime(2026, 1, 29, 22, 58, 30, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia")
FEATURES = {"calls": FeatureKind.METERED, "sites": FeatureKind.ALLOCATION}


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(WindowKind))
    if kind in (WindowKind.MINUTE, WindowKind.HOUR, WindowKind.LIFETIME):
        return Frame(kind)
    if kind is WindowKind.BILLING_PERIOD or draw(st.booleans()):
        anchor = START - timedelta(seconds=draw(st.integers(0, 90 * 86_400)))
        return Frame(kind, anchor=anchor, period_months=draw(st.sampled_from((1, 12))))
    return Frame(kind, zone=draw(st.sampled_from(ZONES)))


@st.composite
def entitlements(draw: st.DrawFn) -> dict[str, Entitlement]:
    found = {}
    for key, kind in FEATURES.items():
        limits = draw(st.lists(frames(), max_size=3, unique_by=lambda f: f.kind))
        found[key] = Entitlement(
            Feature(key, key, kind),
            granted=draw(st.sampled_from((True, True, True, False))),
            limits=tuple(
                EntitledLimit(
                    frame.kind,
                    draw(st.none() | st.integers(0, 12)),
                    frame,
                    shadow=draw(st.sampled_from((False, False, True))),
                )
                for frame in sorted(limits, key=lambda f: f.kind.code)
            ),
        )
    return found


calls = st.tuples(
    st.sampled_from((Action.CONSUME,) * 4 + (Action.CHECK, Action.RELEASE, Action.STATE)),
    st.lists(
        st.tuples(st.sampled_from(tuple(FEATURES)), st.integers(1, 6)), min_size=1, max_size=3
    ),
    st.sampled_from((0, 0, 1, 20, 61, 3_600, 50_000)),
    st.sampled_from((0, 0, 0, 700)),
)


def shown(judgement: Judgement) -> list[list[tuple[object, ...]] | None]:
    return [
        row
        if row is None
        else [
            (
                f.limit.window,
                f.limit.units,
                f.granted,
                f.used,
                None if f.window.ends_at is None else int(f.window.starts_at.timestamp()),
                None if f.window.ends_at is None else int(f.window.ends_at.timestamp()),
            )
            for f in row
        ]
        for row in judgement.figures
    ]


def answered(reply: Reply) -> list[list[tuple[object, ...]] | None]:
    return [
        None
        if row == 0
        else [
            (f.window, f.limit, f.granted, f.used, f.starts_at_s, f.resets_at_s)
            for f in figures(row)
        ]
        for row in reply.rows
    ]


OUTCOMES = {
    Outcome.ALLOWED: Verdict.ALLOWED,
    Outcome.DENIED: Verdict.DENIED,
    Outcome.BELOW_ZERO: Verdict.BELOW_ZERO,
    Outcome.TOO_MANY: Verdict.TOO_MANY,
}


@pytest.mark.parametrize("moves", [False, True], ids=["same frames", "frames that move"])
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_the_model_and_the_machine_agree(
    redis_url: str, *, moves: bool, data: st.DataObject
) -> None:
    door = await open_door(redis_url)
    try:
        await door.command("FLUSHALL")
        counters = Counters(door, journal_max=10_000, max_skew_ms=0)
        entitled = data.draw(entitlements())
        counts: dict[Slot, Count] = {
            (key, limit.window): Count(window_at(limit.frame, START), 0)
            for key, entitlement in entitled.items()
            for limit in counted(entitlement) or ()
        }
        pins: dict[Slot, Window] = {}
        at, version = START, 1
        await install(door, "acme", snapshot_of(entitled, at, pins=pins))
        steps = data.draw(st.lists(calls, min_size=1, max_size=12))
        for number, (action, items, later, earlier) in enumerate(steps):
            at += timedelta(seconds=later)
            if moves and number % 4 == 3:
                entitled, pins = move_frames(data, entitled, pins, at)
                version += 1
                snapshot = snapshot_of(entitled, at, pins=pins, version=version)
                await install(door, "acme", snapshot, fill=False)
            now = at - timedelta(milliseconds=earlier)
            now = max(now, START)
            expected = judge(action, items, entitled, pins, counts, now)
            counts = dict(expected.counts)
            places = {key: place for place, key in enumerate(entitled, 1)}
            reply = await counters.admit(
                Operation(action, "acme", f"op{number}", [(places[f], u) for f, u in items]),
                int(now.timestamp() * 1000),
            )
            assert reply.verdict is OUTCOMES[expected.outcome]
            if expected.outcome in (Outcome.ALLOWED, Outcome.DENIED):
                assert answered(reply) == shown(expected)
    finally:
        await door.close()


def move_frames(
    data: st.DataObject,
    entitled: dict[str, Entitlement],
    pins: dict[Slot, Window],
    at: datetime,
) -> tuple[dict[str, Entitlement], dict[Slot, Window]]:
    """Lay every calendar window in another zone, as a change of the customer's zone does."""
    zone = data.draw(st.sampled_from(ZONES))
    changed, pinned = {}, {}
    for key, entitlement in entitled.items():
        limits = []
        for limit in entitlement.limits:
            old = window_at(limit.frame, at, pins.get((key, limit.window)))
            frame = limit.frame
            if frame.anchor is None and frame.kind.code >= WindowKind.DAY.code:
                frame = Frame(frame.kind, zone=zone)
            if frame.kind is not WindowKind.LIFETIME:
                new = moved(old, frame, at)
                if new != window_at(frame, at):
                    pinned[key, limit.window] = new
            limits.append(
                EntitledLimit(limit.window, limit.units, frame, limit.code, shadow=limit.shadow)
            )
        changed[key] = Entitlement(entitlement.feature, entitlement.granted, limits=tuple(limits))
    return changed, pinned
