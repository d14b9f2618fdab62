"""A process that is late: the call left long after the request came."""

import asyncio
from typing import Any, cast

import pytest

from api.domain.catalog import Feature, FeatureKind
from api.gates.straight import Asking, Straight
from api.metering.counters import Operation


@pytest.mark.parametrize(("late_ms", "then"), [(20, 1_000), (2_000, 3_000)])
async def test_what_takes_the_general_road_after_a_while_is_asked_as_of_now(
    late_ms: int, then: int
) -> None:
    nowhere: Any = None
    straight = Straight(nowhere, nowhere, nowhere)
    loop = asyncio.get_running_loop()
    asking = Asking(
        Feature("calls", "Calls", FeatureKind.METERED),
        1,
        cast("Operation", None),
        loop.create_future(),
        loop.time() - late_ms / 1000,
    )
    assert straight.later(asking, 1_000) in range(then, then + 90)
