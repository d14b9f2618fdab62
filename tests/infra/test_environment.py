"""scripts/environment, run with made-up Pythons that only note how they are called."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]

# Makes an "environment" whose Python is this very script; writes down what it was asked.
_PYTHON = """#!/bin/sh
case "$*" in
  "-c import sys; print"*) echo 3.12 ;;
  *version_info*) exit {too_old} ;;
  "-c import ensurepip, venv") exit {no_venv} ;;
  --version) echo "Python 3.12.0" ;;
  "-m venv --clear .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python; echo venv >> calls ;;
  *"--require-hashes"*) echo requirements >> calls; exit $(cat fails 2>/dev/null || echo 0) ;;
  *"--editable ."*) echo project >> calls ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/environment", "requirements.txt", "pyproject.toml"):
        shutil.copy(_REPOSITORY / name, tmp_path / name)
    return tmp_path


def _make(checkout: Path, *, too_old: bool = False, no_venv: bool = False) -> tuple[int, str]:
    python = checkout / "python"
    python.write_text(_PYTHON.format(too_old=int(too_old), no_venv=int(no_venv)))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        ["/bin/sh", "scripts/environment"],
        cwd=checkout,
        env=os.environ | {"PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def _calls(checkout: Path) -> list[str]:
    calls = checkout / "calls"
    made = calls.read_text().split() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return made


def test_it_is_made_once_and_again_only_when_a_lock_changes(checkout: Path) -> None:
    assert _make(checkout)[0] == 0
    assert _calls(checkout) == ["venv", "requirements", "project"]
    assert _make(checkout) == (0, "")
    assert _calls(checkout) == []
    with (checkout / "requirements.txt").open("a") as lock:
        lock.write("# changed\n")
    assert _make(checkout)[0] == 0
    assert _calls(checkout) == ["requirements", "project"]


def test_one_that_was_cut_short_is_finished_by_the_next_run(checkout: Path) -> None:
    (checkout / "fails").write_text("1")
    assert _make(checkout)[0] == 1
    assert _calls(checkout) == ["venv", "requirements"]
    (checkout / "fails").unlink()
    assert _make(checkout)[0] == 0
    assert _calls(checkout) == ["requirements", "project"]
    assert _make(checkout) == (0, "")


def test_one_whose_folder_was_moved_is_made_again(checkout: Path) -> None:
    assert _make(checkout)[0] == 0
    _calls(checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    assert _make(moved)[0] == 0
    assert _calls(moved)[-2:] == ["requirements", "project"]


def test_where_python_is_too_old_it_says_which_is_needed(checkout: Path) -> None:
    status, told = _make(checkout, too_old=True)
    assert status == 1
    assert "Python 3.11 or newer" in told
    assert _calls(checkout) == []


def test_where_venv_is_missing_it_prints_the_line_that_installs_it(checkout: Path) -> None:
    status, told = _make(checkout, no_venv=True)
    assert status == 1
    line = told.splitlines()[-1].strip()
    assert re.search(r"3\.?12", line) or "apk add" in line
    assert line.startswith("sudo ") == (os.geteuid() != 0)
    assert _calls(checkout) == []
