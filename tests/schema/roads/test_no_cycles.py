"""A compiled operation leaves nothing behind that only the collector of cycles could free."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.schema.roads.cases import Case, cases
from tests.schema.roads.journey import journey

CASES = 300


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Leave the collector to whoever asks it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


@contextmanager
def cycles() -> Iterator[list[object]]:
    """Find what is left behind in here that only the collector can free.

    What was there before is frozen: it is not looked at again, however often this is asked.
    """
    left: list[object] = []
    gc.collect()
    gc.freeze()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield left
        gc.collect()
        left += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def test_a_cycle_would_be_seen() -> None:
    with nothing_collected(), cycles() as left:
        ring: list[object] = []
        ring.append(ring)
        del ring
    assert left


@pytest.mark.parametrize("sync_share", [0.0, 0.3])
def test_nothing_is_left_for_the_collector(sync_share: float) -> None:
    seen: Counter[str] = Counter()
    with journey(sync_share=sync_share) as both, nothing_collected():
        for case in cases(both.writer, 7, CASES):
            usual = _without_loaders(case)
            # What is compiled is kept, and its making may leave something: both are of the first.
            both.compiled.take(usual)
            before = both.roads.roads.compiled
            with cycles() as left:
                outcome = both.compiled.take(usual)
            if both.roads.roads.compiled > before:
                kinds = Counter(type(one).__qualname__ for one in left)
                assert not left, f"{kinds}\n{case}\n{outcome.body.decode()}"
                seen["compiled"] += 1
                seen["denied"] += b'"unlockedBy":' in outcome.body
                seen["masked"] += bool(outcome.logged)
                seen["null"] += b'"data":null' in outcome.body
                seen["whole"] += b'"errors":' not in outcome.body
            # What the general road left must not be taken for what the next case leaves.
            left.clear()
    assert seen["compiled"] > CASES * 0.8
    assert min(seen.values()) > 0, seen


def _without_loaders(case: Case) -> Case:
    """Return ``case`` without loaders: where one fails, its own frames hold its error."""
    return replace(case, temper=replace(case.temper, loaded=0.0))
