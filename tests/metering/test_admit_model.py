"""The pure models and the machine give the same answer to every call.

Also to those that wait for a decision: pending ones and holds, taken back, captured and given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.domain import keys
from api.domain.admission import Action, Count, Judgement, Outcome, Slot, judge, turned
from api.domain.catalog import Feature, FeatureKind, WindowKind
from api.domain.entitlements import EntitledLimit, Entitlement, counted
from api.domain.pending import CountedHold, HoldFigures, placed, told, undone
from api.domain.snapshot import OVERAGE, Snapshot, slot_name
from api.domain.windows import Frame, Window, moved, window_at
from api.infra.packing import pack, unpack
from api.infra.redis import RedisDoor
from api.metering.counters import Counters, Operation, Reply, Verdict, figures
from api.metering.resolve import RESOLVE
from api.metering.undo import Undo
from tests.support.judging import EPOCH, install, open_door, snapshot_of

START = datetime(2026, 1, 29, 22, 58, 30, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia")
FEATURES = {
    "calls": FeatureKind.METERED,
    "leads": FeatureKind.METERED,
    "sites": FeatureKind.ALLOCATION,
}
COSTING = ("leads",)


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
                    overage=key in COSTING and draw(st.booleans()),
                )
                for frame in sorted(limits, key=lambda f: f.kind.code)
            ),
        )
    return found


calls = st.tuples(
    st.sampled_from(
        (Action.CONSUME,) * 4
        + (Action.CHECK, Action.RELEASE, Action.STATE)
        + (Action.PEND,) * 3
        + (Action.AWAIT,)
        + (Action.HOLD,) * 3
    ),
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
                f.held,
                f.limit.overage,
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
            (f.window, f.limit, f.granted, f.used, f.held, f.overage, f.starts_at_s, f.resets_at_s)
            for f in figures(row)
        ]
        for row in reply.rows
    ]


DECIDED = (Action.PEND, Action.AWAIT, Action.HOLD)
OUTCOMES = {
    Outcome.ALLOWED: Verdict.ALLOWED,
    Outcome.PENDING: Verdict.PENDING,
    Outcome.DENIED: Verdict.DENIED,
    Outcome.BELOW_ZERO: Verdict.BELOW_ZERO,
    Outcome.TOO_MANY: Verdict.TOO_MANY,
}


@dataclass
class Open:
    """What was counted and waits for a decision: an attempt, and how both judged it."""

    operation: Operation
    items: list[tuple[str, int]]
    judged: Judgement
    reply: Reply
    hold: CountedHold | None


@pytest.mark.parametrize("moves", [False, True], ids=["same frames", "frames that move"])
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_the_models_and_the_machine_agree(
    redis_url: str, *, moves: bool, data: st.DataObject
) -> None:
    door = await open_door(redis_url)
    try:
        await door.command("FLUSHALL")
        both = Both(door, data.draw(entitlements()))
        at = START
        await install(door, "acme", both.snapshot(at))
        steps = data.draw(st.lists(calls, min_size=1, max_size=14))
        for number, (action, items, later, earlier) in enumerate(steps):
            at += timedelta(seconds=later)
            if moves and number % 4 == 3:
                both.entitled, both.pins = move_frames(data, both.entitled, both.pins, at)
                both.version += 1
                await install(door, "acme", both.snapshot(at), fill=False)
            if data.draw(st.booleans()) and both.waiting:
                await both.decide(data)
            asked = items[:1] if action is Action.HOLD else items
            now = max(at - timedelta(milliseconds=earlier), START)
            await both.ask(action, asked, now, f"{'~' * (number % 2)}{number}")
        while both.waiting:
            await both.decide(data)
        await both.ask(Action.CHECK, [(key, 0) for key in both.entitled], at, "last")
    finally:
        await door.close()


class Both:
    """The machine, and what the models say of it; every answer is compared."""

    def __init__(self, door: RedisDoor, entitled: dict[str, Entitlement]) -> None:
        self.door = door
        self.counters = Counters(door, journal_max=10_000, max_skew_ms=0)
        self.entitled = entitled
        self.places = {key: place for place, key in enumerate(entitled, 1)}
        self.pins: dict[Slot, Window] = {}
        self.version = 1
        self.waiting: list[Open] = []
        self.counts: dict[Slot, Count] = {
            (key, limit.window): Count(window_at(limit.frame, START), 0)
            for key, entitlement in entitled.items()
            for limit in counted(entitlement) or ()
        }

    def snapshot(self, at: datetime) -> Snapshot:
        return snapshot_of(self.entitled, at, pins=self.pins, version=self.version)

    async def ask(
        self, action: Action, items: list[tuple[str, int]], at: datetime, name: str
    ) -> None:
        """Have both judge one call; a ``name`` that begins with ~ is not the caller's."""
        named = not name.startswith("~")
        funded = action in (Action.CHECK, Action.PEND, Action.AWAIT, Action.HOLD)
        operation = Operation(
            action,
            "acme",
            name,
            [(self.places[f], u) for f, u in items],
            fingerprint="same" if named else "",
            replay_ms=600_000,
            record_ms=600_000,
            attempt=(f"~{name}" if named else name) if action in DECIDED else "",
            costs=[f in COSTING for f, _ in items] if funded else (),
        )
        costing = COSTING if funded else ()
        judged = judge(action, items, self.entitled, self.pins, self.counts, at, costing)
        self.counts = dict(judged.counts)
        reply = await self.counters.admit(operation, int(at.timestamp() * 1000))
        assert reply.verdict is OUTCOMES[judged.outcome]
        if judged.outcome in (Outcome.ALLOWED, Outcome.DENIED, Outcome.PENDING):
            assert answered(reply) == shown(judged)
        if judged.outcome is Outcome.PENDING or action is Action.CHECK:
            assert (tuple(reply.charged) or (0,) * len(items)) == judged.charged
        if judged.outcome is Outcome.PENDING:
            assert (reply.attempt, reply.version) == (operation.attempt, self.version)
            assert bool(reply.entry) == any(judged.figures)
            hold = placed(*items[0], judged) if action is Action.HOLD else None
            if reply.entry:
                self.waiting.append(Open(operation, items, judged, reply, hold))

    async def decide(self, data: st.DataObject) -> None:
        """Take one of what waits back, let it be, or tell how a hold stands."""
        chosen = data.draw(st.sampled_from(self.waiting))
        fresh = chosen.hold is None or chosen.hold.figures.version == 0
        if fresh and data.draw(st.booleans()):
            self.waiting.remove(chosen)
            await self.undo(chosen)
        elif chosen.hold is None:
            self.waiting.remove(chosen)
        else:
            now = data.draw(standings(chosen.hold.figures, chosen.judged.charged[0]))
            self.counts, chosen.hold = told(self.counts, chosen.hold, now)
            if chosen.hold.figures.held == 0:
                self.waiting.remove(chosen)
            await tell(self.door, chosen.operation.attempt, now)
        await self.fill()

    async def undo(self, chosen: Open) -> None:
        held, operation = chosen.hold is not None, chosen.operation
        self.counts = undone(self.counts, chosen.items, chosen.judged, held=held)
        await Undo(self.door).undo(
            "acme", operation.operation_id, chosen.reply, operation.items, held=held
        )

    async def fill(self) -> None:
        """Fill counters that were forgotten, as the record would."""
        name = keys.counters(keys.shard_of("acme"), "acme")
        if await self.door.command("HGET", name, "_") is not None:
            return
        marks = {
            (key, limit.window): OVERAGE * limit.overage
            for key, entitlement in self.entitled.items()
            for limit in counted(entitlement) or ()
        }
        fields: list[str | bytes | int] = ["_", EPOCH]
        for slot, mark in marks.items():
            count = self.counts[slot]
            stored = (_end_of(count), count.used, count.held)
            fields += [self.name_of(slot, mark), b"".join(map(pack, stored))]
        for one in self.waiting:
            if one.hold is None:
                continue
            value: list[str | int] = [*one.hold.figures]
            for slot, (window, covers) in one.hold.slots.items():
                if not turned(window, self.counts[slot].window):
                    end = _end_of(self.counts[slot])
                    value += [self.name_of(slot, OVERAGE * covers), end, int(covers)]
            fields += [f"h{one.operation.attempt}", b"".join(map(pack, value))]
        await self.door.command("HSET", name, *fields)

    def name_of(self, slot: Slot, mark: int) -> str:
        return slot_name(self.places[slot[0]], slot[1].code, mark)


def _end_of(count: Count) -> int:
    return 0 if count.window.ends_at is None else int(count.window.ends_at.timestamp())


@st.composite
def standings(draw: st.DrawFn, before: HoldFigures, charged: int) -> HoldFigures:
    """Draw how an open hold stands: partly captured or at its end, and perhaps told late."""
    units = before.units
    covered = units - charged
    captured = draw(st.integers(units - before.held, units))
    version = before.version + draw(st.sampled_from((0, 1, 1, 1, 2)))
    if captured == units or draw(st.booleans()):
        return HoldFigures(version, captured, min(captured, covered), 0, 0)
    return HoldFigures(version, units, covered, units - captured, max(0, covered - captured))


async def tell(door: RedisDoor, hold: str, figures_now: Sequence[int]) -> int:
    shard = keys.shard_of("acme")
    names = (keys.counters(shard, "acme"),)
    return int(unpack(await door.call(RESOLVE, shard, names, (hold, *figures_now)))[0])


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
            limits.append(replace(limit, frame=frame))
        changed[key] = Entitlement(entitlement.feature, entitlement.granted, limits=tuple(limits))
    return changed, pinned
