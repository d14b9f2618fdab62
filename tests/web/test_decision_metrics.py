"""Decisions are counted in plain numbers; what the metrics are told of them is exactly that."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from api.infra import telemetry
from tests.support.site import Site
from tests.support.waiting import until

SECONDS = st.floats(0, 20)


@given(st.lists(SECONDS, max_size=30))
def test_many_observations_at_once_are_the_same_as_one_by_one(took: list[float]) -> None:
    one, many = CollectorRegistry(), CollectorRegistry()
    slow = Histogram("h", "h", registry=one, buckets=telemetry.BUCKETS_SECONDS)
    fast = Histogram("h", "h", registry=many, buckets=telemetry.BUCKETS_SECONDS)
    for seconds in took:
        slow.observe(seconds)
    bounds = (*telemetry.BUCKETS_SECONDS, float("inf"))
    counts = [0] * len(bounds)
    for seconds in took:
        counts[next(n for n, bound in enumerate(bounds) if seconds <= bound)] += 1
    telemetry.observe_many(fast, counts, sum(took))
    assert _buckets(many) == _buckets(one)


async def test_the_metrics_are_told_though_nobody_asks_for_them(site: Site) -> None:
    line = 'headroom_decisions_total{door="release",outcome="UNAUTHENTICATED"} '

    def shown() -> float:
        lines = telemetry.exposition().decode().splitlines()
        return sum(float(text.removeprefix(line)) for text in lines if text.startswith(line))

    before = shown()
    for _ in range(3):
        await site.post("/v1/release", {}, as_=None)
    await until(lambda: shown() == before + 3)


def _buckets(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if line.startswith(("h_bucket", "h_count"))]
