"""Compiled or not, an operation gives the same answer: on generated cases, over the whole schema.

The cases are the same every time. HEADROOM_TEST_SEED=n takes others; a difference is printed with
the number that takes its own again.
"""

import os
from collections.abc import Callable

import pytest

from tests.schema.roads.journey import Met, journey
from tests.support.roads_taken import PROPERTY

CHUNKS = 20
CASES = 1_005
LEAST_COMPILED = 0.95
_SYNC_SHARES = (0.0, 0.0, 0.3)
"""As the schema is, and now and then with resolvers that answer at once."""

# graphql-core cancels fields that have not begun, and leaves what they would have awaited behind;
# of compiled operations nothing may be left: see ``Outcome.left``.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine '(GraphQLCore|Executor):RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:coroutine 'gather_with_cancel':RuntimeWarning"),
]

_LEAST = {
    "whole": 0.15,
    "partial": 0.1,
    "null": 0.02,
    "refused": 0.01,
    "not by GET": 0.001,
    "denied": 0.0005,
    "forbidden": 0.02,
    "nobody": 0.0005,
    "masked": 0.05,
    "loaded": 0.05,
    "by its digest": 0.01,
}
"""Shares of all cases below which a chunk would prove too little."""


def test_enough_cases_are_taken() -> None:
    assert CHUNKS * CASES >= 20_000


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_both_roads_give_the_same_answer(
    chunk: int, record_property: Callable[[str, object], None]
) -> None:
    base = int(os.environ.get("HEADROOM_TEST_SEED") or 0)
    seed = base * CHUNKS + chunk
    print(f"HEADROOM_TEST_SEED={base}, chunk {chunk}: seed {seed}")  # noqa: T201 - shown where the test fails
    with journey(sync_share=_SYNC_SHARES[chunk % len(_SYNC_SHARES)]) as both:
        met, found = both.go(seed, CASES)
    assert found is None, found
    record_property(PROPERTY, [seed, met.cases, met.ran, met.compiled, met.seconds])
    _expect_enough(met)


def _expect_enough(met: Met) -> None:
    assert met.share >= LEAST_COMPILED, met
    missing = {name for name, least in _LEAST.items() if met.kinds[name] < least * met.cases}
    assert not missing, met
