"""Decisions are noted in lists; what the metrics are told of them is exactly that."""

from collections import Counter
from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from api.infra import telemetry
from api.web.decision_metrics import DecisionMetrics
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


OUTCOMES = st.lists(st.tuples(st.sampled_from(["granted", "FULL"]), st.booleans()), min_size=1)


@given(st.lists(OUTCOMES, max_size=5))
async def test_of_all_answers_of_a_request_each_is_counted(
    requests: list[list[tuple[str, bool]]],
) -> None:
    telling = DecisionMetrics("test")
    before = _decided()
    for decided in requests:
        telling.count_all(decided, perf_counter() - 3)
    telling.tell()
    all_ = [one for decided in requests for one in decided]
    counted = Counter(outcome for outcome, _ in all_)
    counted |= Counter({"degraded": sum(degraded for _, degraded in all_)})
    counted |= Counter({"under 5 s": len(all_), "under 1 s": 0})
    assert _decided() - before == +counted


def _decided() -> Counter[str]:
    found: Counter[str] = Counter()
    names = {
        'headroom_decisions_total{door="test",outcome="granted"}': "granted",
        'headroom_decisions_total{door="test",outcome="FULL"}': "FULL",
        'headroom_decisions_degraded_total{door="test"}': "degraded",
        'headroom_decision_seconds_bucket{door="test",le="1.0"}': "under 1 s",
        'headroom_decision_seconds_bucket{door="test",le="5.0"}': "under 5 s",
    }
    for line in telemetry.exposition().decode().splitlines():
        name, _, number = line.rpartition(" ")
        if name in names:
            found[names[name]] += int(float(number))
    return found


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
