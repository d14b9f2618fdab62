"""``headroom demo``: the main job, end to end, as a stranger would see it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from api.cli.demo import zone_at_noon
from tests.support.program import CATALOG, Server, folder, run, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with folder() as data_dir, serving(data_dir, "--dev", "--catalog", str(CATALOG)) as started:
        yield started


def test_a_customers_life_is_as_promised(server: Server) -> None:
    ran = run("demo", data_dir=server.data_dir)
    assert (ran.status, ran.err) == (0, "")
    told = [
        "429 FREE_CAP_EXCEEDED",
        "402 FEATURE_NOT_IN_PLAN",
        "POST /webhooks/stripe checkout.session.completed",
        "\n   plan starter, ",
        "402 MONTHLY_CAP_EXCEEDED",
        "unlocked by pro, firm",
        "\n   plan pro, ",
        "200 MONTH 301 of 3000",
        "POST /webhooks/stripe customer.subscription.deleted",
        "\n   plan free, ",
        "Everything was as promised.",
    ]
    places = [ran.out.index(text) for text in told]
    assert places == sorted(places)


def test_what_differs_ends_it_with_an_error(server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(CATALOG.read_text().replace("units = 50,", "units = 49,"))
    assert run("catalog", "apply", other, data_dir=server.data_dir).status == 0
    ran = run("demo", data_dir=server.data_dir)
    assert run("catalog", "apply", CATALOG, data_dir=server.data_dir).status == 0
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith("headroom: In step 2 the server says 429")


@pytest.mark.parametrize(
    ("secret", "told"), [("sk_live_" + "x" * 24, "live key"), ("sk_test_" + "x" * 24, "without it")]
)
def test_it_does_not_run_beside_a_key_to_stripe(tmp_path: Path, secret: str, told: str) -> None:
    ran = run("demo", data_dir=tmp_path, STRIPE_SECRET_KEY=secret)
    assert (ran.status, ran.out) == (1, "")
    assert told in ran.err


@pytest.mark.parametrize("hour", range(24))
def test_its_customer_lives_where_it_is_mid_day(hour: int) -> None:
    now = datetime(2026, 12, 31, hour, 30, tzinfo=UTC)
    local = now.astimezone(ZoneInfo(zone_at_noon(now)))
    assert local.hour == 12
    assert (local + timedelta(hours=11)).date() == local.date()
