"""The access log: some requests get a line, every failure of ours does, and no secret is in it."""

from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Scope, Send

from api.domain.errors import Unavailable
from api.infra import few_lines
from api.infra.settings import Settings
from api.web import access_log
from api.web.access_log import failed
from tests.support.clock import FakeClock
from tests.support.site import Site, site_on

LOGGER = "api.web.access_log"
ASKED = {"customer": "acme", "feature": "calls"}


@pytest.fixture
async def site(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Site]:
    async with site_on(database_url, redis_url, clock) as made:
        yield made.rebuilt(settings=Settings(env="development", access_log_every=1))


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    known = ("method", "path", "status", "actor", "customer", "failures_without_a_line")
    return [
        {name: vars(record)[name] for name in known if name in vars(record)}
        for record in caplog.records
        if record.name == LOGGER
    ]


async def test_a_line_says_what_was_asked_how_it_ended_and_by_whom(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", LOGGER)
    await site.post("/v1/consume", ASKED)
    token = site.token("acme", "check")
    await site.post("/v1/check", ASKED, as_=token)
    await site.client.get("/nowhere?customer=secret")
    assert lines(caplog) == [
        {"method": "POST", "path": "/v1/consume", "status": 200, "actor": "key:consume"},
        {
            "method": "POST",
            "path": "/v1/check",
            "status": 200,
            "actor": "token:acme",
            "customer": "acme",
        },
        {"method": "GET", "path": "/nowhere", "status": 404},
    ]
    assert all(vars(record)["ms"] > 0 for record in caplog.records if record.name == LOGGER)
    assert token not in caplog.text
    assert site.keys["consume"] not in caplog.text


async def test_one_of_so_many_gets_a_line_and_by_default_none(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", LOGGER)
    silent = site.rebuilt(settings=Settings(env="development"))
    for _ in range(20):
        await silent.post("/v1/check", ASKED)
    assert lines(caplog) == []
    some = site.rebuilt(settings=Settings(env="development", access_log_every=5))
    for _ in range(200):
        await some.post("/v1/check", ASKED)
    # Gaps of 1 to 9 requests: 22 lines at least, and more than 100 only by a wonder.
    assert 22 <= len(lines(caplog)) <= 100


@pytest.fixture(autouse=True)
def nothing_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no failure of another test to catch up on."""
    monkeypatch.setattr(access_log, "_failures", few_lines.FewLines())


@pytest.mark.parametrize("path", ["/v1/check", "/webhooks/elsewhere"])
async def test_a_failure_of_ours_gets_a_line_whatever_was_asked_for(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    quiet = site.rebuilt(settings=Settings(env="development"), gate=_Away())
    monkeypatch.setattr("starlette.routing.Router.__call__", _away)
    assert (await quiet.post(path, ASKED)).status_code == 503
    assert lines(caplog) == [{"method": "POST", "path": path, "status": 503}]
    assert [record.levelname for record in caplog.records if record.name == LOGGER] == ["WARNING"]


def test_an_outage_writes_some_lines_a_second_and_counts_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(few_lines, "monotonic", lambda: now)
    scope = {"method": "POST", "path": "/v1/consume"}
    for _ in range(few_lines.MOST_A_SECOND + 7):
        failed(scope, 503, 0.0)
    assert len(lines(caplog)) == few_lines.MOST_A_SECOND
    now += 1
    failed(scope, 503, 0.0)
    failed({"method": "GET", "path": "/readyz"}, 503, 0.0)
    assert len(lines(caplog)) == few_lines.MOST_A_SECOND + 1
    assert lines(caplog)[-1]["failures_without_a_line"] == 7


class _Away:
    """A gate whose engines are out of reach."""

    async def check(self, *_: object) -> None:
        raise Unavailable("Try again.")


async def _away(_self: object, _scope: Scope, _receive: Receive, _send: Send) -> None:
    raise Unavailable("Try again.")
