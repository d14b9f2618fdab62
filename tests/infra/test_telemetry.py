import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.infra import telemetry


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    telemetry.configure_logging("INFO", stream)
    yield stream
    root.handlers[:], root.level = before


def test_a_record_is_one_line_of_json_with_its_extras(said: io.StringIO) -> None:
    logging.getLogger("api.test").warning("took %d\nunits", 3, extra={"customer": "acme"})
    line = json.loads(said.getvalue().removesuffix("\n"))
    assert said.getvalue().count("\n") == 1
    assert line["message"] == "took 3\nunits"
    assert (line["level"], line["logger"], line["customer"]) == ("warning", "api.test", "acme")
    assert line["at"].endswith("+00:00")
    assert "correlation_id" not in line


def test_an_exception_is_told_in_the_same_line(said: io.StringIO) -> None:
    error = ZeroDivisionError("of what")
    logging.getLogger("api.test").error("failed", exc_info=error)
    assert json.loads(said.getvalue())["error"] == "ZeroDivisionError: of what"


@pytest.mark.parametrize("odd", [2**70, object(), {(1, 2): 3}, {4: b"\xff"}, "\ud800", {1, 2}])
def test_whatever_it_is_given_a_line_comes_out(said: io.StringIO, odd: object) -> None:
    logging.getLogger("api.test").info("odd", extra={"given": odd})
    assert "given" in json.loads(said.getvalue())


def test_what_is_below_the_level_is_not_said(said: io.StringIO) -> None:
    logging.getLogger("api.test").debug("quiet")
    assert said.getvalue() == ""


async def test_tasks_inherit_the_id_and_neighbours_do_not(said: io.StringIO) -> None:
    async def work(given: str) -> str | None:
        with telemetry.correlated(given):
            await asyncio.sleep(0)
            return await asyncio.create_task(inner())

    async def inner() -> str | None:
        logging.getLogger("api.test").info("inner")
        return telemetry.correlation_id()

    assert tuple(await asyncio.gather(work("a"), work("b"))) == ("a", "b")
    ids = [json.loads(line)["correlation_id"] for line in said.getvalue().splitlines()]
    assert sorted(ids) == ["a", "b"]
    assert telemetry.correlation_id() is None


@pytest.mark.parametrize("given", [None, "", "a b", "a\n", "é", "x" * 65, '"}'])
def test_an_id_that_is_not_short_and_plain_is_replaced(given: str | None) -> None:
    with telemetry.correlated(given) as chosen:
        assert chosen != given
        assert len(chosen) == 32


def test_metrics_of_several_processes_are_told_together(tmp_path: Path) -> None:
    count = (
        "from api.infra.telemetry import counter, exposition\n"
        "counter('told', 'Told.', ['by']).labels('test').inc(2)\n"
        "print(exposition().decode())"
    )
    env = os.environ | {telemetry.SHARED_METRICS: str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", count]
    first, second = (
        subprocess.run(command, env=env, check=True, capture_output=True)  # noqa: S603 - ourselves
        for _ in range(2)
    )
    assert b'headroom_told_total{by="test"} 2.0' in first.stdout
    assert b'headroom_told_total{by="test"} 4.0' in second.stdout


def test_a_metric_is_told_with_its_name_and_help() -> None:
    telemetry.histogram("test_seconds", "Waited.").observe(0.003)
    telemetry.gauge("test_entries", "Waiting.").set(7)
    told = telemetry.exposition().decode()
    assert "# HELP headroom_test_seconds Waited." in told
    assert 'headroom_test_seconds_bucket{le="0.005"} 1.0' in told
    assert "headroom_test_entries 7.0" in told
