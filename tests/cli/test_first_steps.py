"""What ``serve --dev`` says to try is about the catalog that it serves."""

import re
import subprocess
from pathlib import Path

import pytest

from api.catalog.file import load
from api.cli.development import Development
from api.cli.first_steps import first_steps
from tests.support.program import folder, serving

EXAMPLES = sorted(Path("examples").glob("*.toml"))
MADE = Development("hr_consume", "hr_admin", "whsec_x", "http://127.0.0.1:8000")


def said_of(path: Path) -> str:
    return first_steps(MADE, load(path), None)


def named(said: str) -> set[str]:
    return set(re.findall(r'feature"?: ?\\?"(\w+)', said))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_is_to_be_tried_is_in_the_catalog(path: Path) -> None:
    catalog, said = load(path), said_of(path)
    assert named(said)
    assert named(said) <= catalog.features.keys()
    assert ("credits grant" in said) == bool(catalog.costs)
    assert ("One customer's life" in said) == (path.stem == "bookkeeper")


@pytest.mark.parametrize(
    ("example", "reach"),
    [
        ("bookkeeper", "The plan free gives 50 per day, then FREE_CAP_EXCEEDED."),
        ("publishing", "The plan free gives 1000 per month, then MONTHLY_CAP_EXCEEDED."),
        ("leads", "The plan free gives 20 per day, then DAILY_CAP_EXCEEDED."),
        ("agents", "The plan free includes 20000 per month."),
    ],
)
def test_how_far_it_reaches_is_what_the_plan_says(example: str, reach: str) -> None:
    assert f"Count it. {reach}\n" in said_of(Path(f"examples/{example}.toml"))


def test_a_catalog_that_counts_nothing_is_asked_for_its_plan_only(tmp_path: Path) -> None:
    path = tmp_path / "switches.toml"
    path.write_text(
        'product = "p"\n[customer_types.x]\ndefault_plan = "free"\n'
        '[features.f]\nkind = "boolean"\n[plans.free.features]\nf = true\n'
    )
    said = said_of(path)
    assert not named(said)
    assert said.count("curl ") == 1


def test_every_line_about_credits_works_when_pasted() -> None:
    with (
        folder() as data_dir,
        serving(data_dir, "--dev", "--catalog", "examples/leads.toml") as server,
    ):
        assert server.process.stdout is not None
        told: list[str] = []
        while "Ctrl-C" not in (line := server.process.stdout.readline()):
            told.append(line.strip())
        commands = [line for line in told if "curl " in line or " grant " in line]
        assert len(commands) == 5
        for line in commands:
            silently = f"{line} --silent --fail" if line.startswith("curl") else line
            done = subprocess.run(  # noqa: S603 - a line that we print ourselves
                ["/bin/sh", "-c", silently], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            if "lead_claim" in line:
                assert '"balance":95' in done.stdout
