"""What ``docs/credits.md`` says of calls is what a server answers: its tables and its commands."""

import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.catalog.customers import CustomerInput
from tests.support.clock import FakeClock
from tests.support.credits import accounts, gift
from tests.support.scene import Scene, figures, scene, subscribe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "credits.md").read_text(encoding="utf-8")
AGENTS = (ROOT / "examples" / "agents.toml").read_text(encoding="utf-8")
ANSWERS = re.compile(
    r"<!-- answers(?:: used=(\d+))? -->\n((?:```sh\n.*?```\n```json\n.*?```\n)+)", re.DOTALL
)
ONE = re.compile(r"```sh\n(.*?)```\n```json\n(.*?)```\n", re.DOTALL)
NUMBER = re.compile(r"\d+")


@pytest.fixture
async def ada(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Scene]:
    async with scene(database_url, redis_url, clock, AGENTS) as built:
        await built.core.changes.upsert_customer(CustomerInput("ada"), clock.now(), "test")
        await subscribe(built.core, "ada", "builder", clock.now())
        yield built


def rows(name: str) -> list[list[str]]:
    found = re.search(rf"<!-- {name}.*? -->\n((?:\|.*\n)+)", PAGE)
    assert found is not None
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].splitlines()[2:]]


def part_of(said: Any, whole: Any) -> bool:  # noqa: ANN401 - JSON
    """Tell whether ``whole`` says all that ``said`` does."""
    if isinstance(said, dict):
        return all(name in whole and part_of(one, whole[name]) for name, one in said.items())
    return bool(said == whole)


async def run(ada: Scene, command: str, hold: str) -> Any:  # noqa: ANN401 - JSON
    """Do what a curl command of the page would."""
    shown = command.replace("\\\n", " ").replace("'$HOLD'", "'" + hold + "'")
    program, url, *options = shlex.split(shown)
    given = list(zip(options[::2], options[1::2], strict=True))
    assert (program, {name for name, _ in given}) == ("curl", {"-H", "-d"})
    headers = dict(text.split(": ", 1) for name, text in given if name == "-H")
    assert headers["Authorization"] == "Bearer $KEY"
    headers["Authorization"] = f"Bearer {ada.site.keys['consume']}"
    [body] = [text for name, text in given if name == "-d"]
    path = url.removeprefix("$HEADROOM")
    answered = await ada.site.client.post(path, content=body, headers=headers)
    return answered.json()


@pytest.mark.parametrize("block", list(ANSWERS.finditer(PAGE)), ids=lambda block: block[0][:40])
async def test_every_command_is_answered_as_the_page_says(ada: Scene, block: re.Match[str]) -> None:
    await gift(ada.core, ada.clock, 100, customer="ada")
    for _ in range(int(block[1] or 0) // 40_000):
        assert (await ada.consume("chat_tokens", 40_000, customer="ada")).status_code == 200
        ada.clock.advance(minutes=1)
    hold = ""
    commands = ONE.findall(block[2])
    assert commands
    for command, said in commands:
        answer = await run(ada, command, hold)
        assert part_of(json.loads(said), answer), answer
        hold = answer.get("id", hold)


async def test_a_month_is_covered_and_charged_as_the_table_shows(ada: Scene) -> None:
    await gift(ada.core, ada.clock, 100, customer="ada")
    for units, covered, charged, credits_, used in rows("included"):
        answered = await ada.consume("chat_tokens", int(units), customer="ada")
        funding = answered.json()["funding"]
        assert [funding["included"], funding["charged"], funding["credits"]] == [
            int(covered),
            int(charged),
            int(credits_),
        ]
        standing = await figures(ada.core, "chat_tokens", ada.clock.now(), "ada")
        assert [one.used for one in standing if one.overage] == [int(used)]
        ada.clock.advance(minutes=1)


async def test_what_credits_cannot_pay_is_refused_as_the_table_shows(ada: Scene) -> None:
    await gift(ada.core, ada.clock, 30, customer="ada")
    features = {"research": "research_run", "image": "image"}
    for asks, cost, told, most, packs in rows("short"):
        word = next(word for word in features if word in asks)
        said = {"customer": "ada", "feature": features[word], "units": int(asks.split()[0])}
        check = (await ada.site.post("/v1/check", said)).json()
        assert check["cost"] == int(cost)
        answer = await ada.site.post("/v1/consume", said)
        body = answer.json()
        if told.startswith("allowed"):
            assert answer.status_code == 200
            assert told == f"allowed, {body['balance']} left"
            continue
        assert told == f"{answer.status_code} `{body['code']}`"
        assert (body["cost"], body["maxUnitsNow"]) == (int(cost), int(most))
        assert packs == ", ".join(f"`{pack}`" for pack in body["unlockedByPacks"])
        assert {name: check[name] for name in ("code", "cost", "maxUnitsNow")} == {
            name: body[name] for name in ("code", "cost", "maxUnitsNow")
        }


async def test_a_voice_call_is_held_and_captured_as_the_table_shows(ada: Scene) -> None:
    await gift(ada.core, ada.clock, 100, customer="ada")
    hold = ""
    for _, what, *expected in rows("call"):
        figure = int(NUMBER.findall(what)[0])
        said: dict[str, Any] = {"customer": "ada"}
        if what.startswith("a hold"):
            said |= {"feature": "voice_seconds", "units": figure}
            answer = await ada.site.post("/v1/hold", said)
            hold = answer.json()["id"]
        elif what.startswith("another"):
            said |= {"feature": "voice_seconds", "units": figure * 30}
            answer = await ada.site.post("/v1/hold", said)
            assert (answer.status_code, answer.json()["cost"]) == (402, figure)
        else:
            answer = await ada.site.post("/v1/capture", {**said, "holdId": hold, "units": figure})
            assert answer.json()["spentCredits"] == int(NUMBER.findall(what)[1])
        moved = await accounts(ada.core, "ada")
        assert [moved.get(name, 0) for name in ("available", "held", "spent")] == [
            int(cell) for cell in expected
        ]
        ada.clock.advance(minutes=3)
