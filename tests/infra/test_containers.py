"""Dockerfile and docker-compose.yml, read and checked without an engine that runs them."""

import fnmatch
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_OURS = ["migrate", "api", "worker"]
_DOCKERFILE = (_ROOT / "Dockerfile").read_text()
_STAGES = re.split(r"(?m)^FROM ", _DOCKERFILE)[1:]


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==([^ ]+)", (_ROOT / lock).read_text()))


def test_the_services_are_ours_beside_stock_engines() -> None:
    assert sorted(_SERVICES) == sorted([*_OURS, "postgres", "redis"])
    assert _SERVICES["postgres"]["image"].split(":") == ["postgres", "18"]
    assert _SERVICES["redis"]["image"].split(":") == ["valkey/valkey", "9"]
    assert {_SERVICES[name]["image"] for name in _OURS} == {"headroom"}


def test_each_waits_for_what_it_needs() -> None:
    assert _SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("api", "worker"):
        assert _SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }
    for name in ("postgres", "redis"):
        assert _SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_redis_never_evicts_and_keeps_an_append_only_file() -> None:
    command = " ".join(_SERVICES["redis"]["command"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command


def test_nothing_is_reachable_from_outside_this_machine() -> None:
    ports = [port for service in _SERVICES.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8000:8000"]


def test_each_engine_keeps_its_data_in_a_volume_that_is_declared() -> None:
    assert set(_COMPOSE["volumes"]) == {"postgres", "redis"}
    for name in ("postgres", "redis"):
        (volume,) = _SERVICES[name]["volumes"]
        assert volume.startswith(f"{name}:/")


@pytest.mark.parametrize("name", _OURS)
def test_ours_run_without_privileges(name: str) -> None:
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", _OURS)
def test_every_setting_is_one_that_headroom_reads(name: str) -> None:
    settings = (_ROOT / "api/infra/settings.py").read_text()
    for variable in _SERVICES[name]["environment"]:
        assert f'"{variable}"' in settings


@pytest.mark.parametrize("name", _OURS)
def test_every_command_is_one_that_headroom_knows(name: str) -> None:
    words = _SERVICES[name]["command"]
    command = [word for word in words if re.fullmatch(r"[a-z]+", word)]
    options = [word for word in words if word.startswith("--")]
    told = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", "from api.cli import main; main()", *command, "--help"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert [option for option in options if option not in told.stdout] == []


def test_the_image_runs_as_nobody_in_particular() -> None:
    last = _STAGES[-1]
    assert re.search(r"(?m)^USER 10001:10001$", last)
    assert last.index("USER") < last.index("ENTRYPOINT")


def test_the_image_is_made_of_checked_wheels_in_a_stage_of_its_own() -> None:
    assert len(_STAGES) == 2
    assert "--require-hashes --only-binary :all: -r requirements-run.txt" in _STAGES[0]
    assert "--no-deps --no-build-isolation ." in _STAGES[0]
    assert "pip install" not in _STAGES[1]


def test_the_image_runs_the_very_versions_that_are_tested() -> None:
    tested, run = _pins("requirements.txt"), _pins("requirements-run.txt")
    assert run.items() <= tested.items()
    assert {"asyncpg", "uvicorn", "strawberry-graphql"} <= run.keys()
    assert not {"pytest", "mypy", "ruff"} & run.keys()


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-run.txt"])
def test_locks_name_no_host_and_no_place(lock: str) -> None:
    text = (_ROOT / lock).read_text()
    assert not re.search(r"://|^-|--(index|extra|find)|@ ", text, re.MULTILINE)
    for requirement in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in requirement


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    allowed = [line[1:] for line in (_ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", _DOCKERFILE):
        for source in line.split()[:-1]:
            assert (_ROOT / source).exists()
            assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed)


def test_what_the_image_starts_is_json_that_docker_reads() -> None:
    for form in re.findall(r"(?m)(?:^|\s)(?:CMD|ENTRYPOINT) (\[.*)$", _DOCKERFILE):
        assert all(isinstance(word, str) for word in json.loads(form))


def test_the_wheel_carries_every_statement_migration_and_script(tmp_path: Path) -> None:
    subprocess.run(  # noqa: S603 - the build backend, as pinned
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    sources = {p.relative_to(_ROOT).as_posix() for p in (_ROOT / "api").rglob("*.py")}
    sources |= {p.relative_to(_ROOT).as_posix() for p in (_ROOT / "api").rglob("*.lua")}
    statements = {
        "api/_sql/" + p.relative_to(_ROOT / "sql").as_posix()
        for p in (_ROOT / "sql").rglob("*.sql")
    }
    assert sources | statements <= carried
