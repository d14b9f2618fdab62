"""The processes of a server when the machine or their program does not let them start."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.cli.children import Child, DidNotStart, keep_all
from tests.support.processes import below, runs
from tests.support.program import gone
from tests.support.waiting import until

PROGRAM = "tests.support.starts_at_last"


@pytest.fixture
async def late(tmp_path: Path) -> Path:
    """Name the file that keeps a process from ever being ready."""
    return tmp_path / "late"


@pytest.fixture
async def children(late: Path) -> AsyncIterator[list[Child]]:
    base = os.environ | {"LATE": str(late)}
    made = [Child(name, PROGRAM, base, start_seconds=5) for name in ("one", "two")]
    for child in made:
        child.launch()
    try:
        await asyncio.gather(*(child.start() for child in made))
        yield made
    finally:
        await asyncio.gather(*(child.stop() for child in made))


@pytest.fixture
async def renewal(children: list[Child]) -> AsyncIterator[asyncio.Event]:
    """Keep the children, and say whether they are to be renewed."""
    renewal = asyncio.Event()
    keeping = asyncio.create_task(keep_all(children, renewal))
    yield renewal
    assert not keeping.done(), keeping.exception()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_renewal_without_its_program_ends_nothing_and_a_later_one_succeeds(
    children: list[Child],
    renewal: asyncio.Event,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    before = [child.pid for child in children]
    with monkeypatch.context() as replacing:
        # As while a new version is being installed in the place of the old one.
        replacing.setattr(sys, "executable", str(tmp_path / "no" / "python"))
        renewal.set()
        await until(lambda: "not every process was renewed" in caplog.text)
        assert str(tmp_path / "no" / "python") in caplog.text
        assert [child.pid for child in children] == before
    renewal.set()
    await until(lambda: not {child.pid for child in children} & set(before))


async def test_a_process_that_dies_without_its_program_is_started_once_that_is_there(
    children: list[Child],
    renewal: asyncio.Event,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    mortal, other = children
    before = [child.pid for child in children]
    with monkeypatch.context() as replacing:
        replacing.setattr(sys, "executable", str(tmp_path / "no" / "python"))
        assert mortal.pid is not None
        os.kill(mortal.pid, 9)
        await until(lambda: "The one process was not launched" in caplog.text)
    await until(lambda: mortal.pid != before[0])
    assert other.pid == before[1]
    assert not renewal.is_set()


async def test_what_cannot_be_launched_leaves_no_file_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = Child("one", PROGRAM, os.environ)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DidNotStart, match="was not launched"):
        child.launch()
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


async def test_a_new_process_that_hangs_at_its_start_is_killed_and_takes_nobody_s_place(
    children: list[Child], late: Path
) -> None:
    child, other = children
    before = child.pid
    known = set(_started())
    late.touch()
    # Long enough for the first ones, which were ready; this one never is.
    renewing = asyncio.create_task(child.renew())
    await until(lambda: bool(set(_started()) - known))
    (new,) = set(_started()) - known
    with pytest.raises(DidNotStart, match="was not ready within 5 seconds, and was killed"):
        async with asyncio.timeout(30):
            await renewing
    assert gone([new])
    assert child.pid == before
    assert known == {child.pid, other.pid}
    assert not gone([child.pid or 0])
    late.unlink()
    await child.renew()
    assert child.pid != before


def _started() -> list[int]:
    # Engines of other tests start and end below this process too.
    return [pid for pid in below(os.getpid()) if runs(pid, PROGRAM)]
