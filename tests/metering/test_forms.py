"""What lies in the counter store in an earlier form is read rightly or unknown, never misread."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from api.domain import keys
from api.domain.admission import Action
from api.domain.catalog import Feature, FeatureKind, WindowKind
from api.domain.entitlements import EntitledLimit, Entitlement
from api.domain.windows import Frame
from api.infra.packing import pack
from api.infra.redis import RedisDoor
from api.metering.counters import Counters, Operation, Verdict, figures
from api.metering.journal import Entry, instant, read
from tests.support.judging import install, open_door, snapshot_of

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
SHARD = keys.shard_of("acme")
WINDOWS = (WindowKind.DAY, WindowKind.MONTH)
CALLS = {
    "calls": Entitlement(
        Feature("calls", "Calls", FeatureKind.METERED),
        granted=True,
        limits=tuple(EntitledLimit(window, 10, Frame(window)) for window in WINDOWS),
    )
}
ONE = Operation(Action.CONSUME, "acme", "~1", [(1, 2)])


async def entries(door: RedisDoor) -> list[Entry]:
    return read(await door.command("XRANGE", keys.journal(SHARD), "-", "+"))[0]


async def test_a_feature_of_lists_within_lists_is_unknown(redis_url: str) -> None:
    door = await open_door(redis_url)
    try:
        snapshot = snapshot_of(CALLS, AT)
        await install(door, "acme", snapshot)
        earlier = pack(snapshot.features[1])
        await door.command("HSET", keys.snapshot(SHARD, "acme"), "1", earlier)
        counters = Counters(door, journal_max=10, max_skew_ms=0)
        for operation in (ONE, ONE._replace(fingerprint="c", replay_ms=1_000, record_ms=1_000)):
            assert (await counters.admit(operation, AT_MS)).verdict is Verdict.NO_SNAPSHOT
        assert await entries(door) == []
    finally:
        await door.close()


def test_an_entry_of_the_earlier_form_is_read_beside_the_present_one() -> None:
    earlier = [7, "c", "k", AT_MS, 1, "c1:2", AT_MS + 5, [1, "", 0, AT_MS, 0, []], 1, 2]
    undone = [7, "u", "~k", AT_MS, 1, "", 0, [2], 1, 2]
    present = ["r", AT_MS, "~2", 1, "1", 3, 1]
    rows = [
        [b"5-0", [b"d", pack(earlier)]],
        [b"5-1", [b"d", pack(undone)]],
        [b"6-0", [b"b", b"nonce"]],
        [b"6-1", [b"e", pack(present)]],
    ]
    answer = pack([1, "", 0, AT_MS, 0, []])
    assert read(rows) == (
        [
            Entry((5, 0), "consume", "k", AT, 1, ((1, 2),), "c1:2", instant(AT_MS + 5), answer),
            Entry((5, 1), "undo", "~k", AT, 1, ((1, 2),), charged=(2,)),
            Entry((6, 1), "release", "~2", AT, 1, ((1, -3),)),
        ],
        (6, 1),
    )


async def test_a_call_that_comes_earlier_is_recorded_in_the_window_already_turned_to(
    redis_url: str,
) -> None:
    door = await open_door(redis_url)
    try:
        midnight_ms = AT_MS + 43_200_000
        await install(door, "acme", snapshot_of(CALLS, AT))
        counters = Counters(door, journal_max=10, max_skew_ms=0)
        await counters.admit(ONE, midnight_ms)
        late = await counters.admit(ONE, midnight_ms - 1)
        assert late.at_ms == midnight_ms
        assert [figure.used for figure in figures(late.rows[0])] == [4, 4]
        assert [entry.at for entry in await entries(door)] == [instant(midnight_ms)] * 2
    finally:
        await door.close()


async def test_with_clocks_apart_nothing_is_counted_and_the_journal_keeps_no_entry(
    redis_url: str,
) -> None:
    door = await open_door(redis_url)
    try:
        await install(door, "acme", snapshot_of(CALLS, AT))
        strict = Counters(door, journal_max=10, max_skew_ms=1_000)
        for action in (Action.CONSUME, Action.CHECK, Action.RELEASE, Action.STATE):
            reply = await strict.admit(ONE._replace(action=action), AT_MS)
            assert reply.verdict is Verdict.CLOCKS_DIFFER
            assert reply.server_ms > AT_MS
        assert await entries(door) == []
        free = Counters(door, journal_max=10, max_skew_ms=0)
        shown = await free.admit(ONE._replace(action=Action.CHECK), AT_MS)
        assert [figure.used for figure in figures(shown.rows[0])] == [0, 0]
    finally:
        await door.close()


@pytest.mark.parametrize("room", [(1, 10), (10, 1), (10, 10)])
async def test_the_short_way_of_one_item_answers_as_the_long_one(
    redis_url: str, room: tuple[int, int]
) -> None:
    door = await open_door(redis_url)
    try:
        limits = tuple(
            replace(limit, units=units)
            for limit, units in zip(CALLS["calls"].limits, room, strict=True)
        )
        await install(
            door, "acme", snapshot_of({"calls": replace(CALLS["calls"], limits=limits)}, AT)
        )
        counters = Counters(door, journal_max=10, max_skew_ms=0)
        short = await counters.admit(ONE._replace(action=Action.CHECK), AT_MS)
        long = await counters.admit(ONE._replace(action=Action.CHECK, attempt="~"), AT_MS)
        assert (short.verdict, short.rows) == (long.verdict, long.rows)
        consumed = await counters.admit(ONE, AT_MS)
        assert consumed.verdict is (Verdict.DENIED if 1 in room else Verdict.ALLOWED)
        assert consumed.verdict is short.verdict
    finally:
        await door.close()


def test_a_journal_is_not_read_past_what_is_not_known() -> None:
    with pytest.raises(LookupError, match="does not know"):
        read([(b"1-0", (b"z", b"what a later version wrote"))])
