"""The API's own limit: each credential its own bucket, forgotten within seconds, never a quota."""

import pytest

from api.domain.errors import RateLimited
from api.web.protection import MOST_IN_MEMORY, Protection
from tests.support.site import Site


def passes(protection: Protection, actor: str, at_ms: int) -> bool:
    try:
        protection.expect(actor, at_ms)
    except RateLimited:
        return False
    return True


def test_a_burst_passes_and_then_as_many_as_a_second_allows() -> None:
    protection = Protection(per_second=10, burst=5)
    assert [passes(protection, "key:a", 0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [passes(protection, "key:a", 99), passes(protection, "key:a", 100)] == [False, True]
    assert sum(passes(protection, "key:a", 10_000) for _ in range(20)) == 5


def test_one_credential_never_slows_another() -> None:
    protection = Protection(per_second=1, burst=1)
    assert passes(protection, "key:a", 0)
    assert not passes(protection, "key:a", 0)
    assert passes(protection, "token:a", 0)


def test_the_wait_that_is_told_is_long_enough() -> None:
    protection = Protection(per_second=1, burst=2)
    for _ in range(2):
        protection.expect("key:a", 0)
    with pytest.raises(RateLimited) as refused:
        protection.expect("key:a", 100)
    assert refused.value.retry_after_seconds == 1
    assert passes(protection, "key:a", 1100)


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    protection = Protection(per_second=1000, burst=1)
    assert passes(protection, "key:a", 1_000_000)
    assert not passes(protection, "key:a", 0)


def test_memory_is_bounded_and_the_busiest_stay() -> None:
    protection = Protection(per_second=1, burst=1)
    for number in range(MOST_IN_MEMORY + 10):
        protection.expect(f"token:{number}", 0)
        passes(protection, "key:busy", 0)
    assert not passes(protection, "key:busy", 0)
    assert len(protection._buckets) == MOST_IN_MEMORY  # noqa: SLF001 - the bound is the point


def test_unset_it_limits_nothing() -> None:
    protection = Protection(per_second=0, burst=1)
    assert all(passes(protection, "key:a", 0) for _ in range(1000))


async def test_a_limited_request_says_so_and_counts_nothing(site: Site) -> None:
    limited = site.rebuilt(protection=Protection(per_second=1, burst=2))
    asked = {"customer": "acme", "feature": "calls"}
    answered = [await limited.post("/v1/consume", asked) for _ in range(3)]
    assert [a.status_code for a in answered] == [200, 200, 429]
    assert (answered[2].json()["code"], answered[2].headers["retry-after"]) == ("RATE_LIMITED", "1")
    assert "ratelimit" not in answered[2].headers
    assert await site.used("calls") == 2
    # Of another door as well: the credential is limited, not the door.
    assert (await limited.post("/v1/check", asked)).status_code == 429
    assert (await limited.post("/v1/check", asked, as_="check")).status_code == 200
