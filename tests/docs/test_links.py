"""What the documents point at exists: files, headings, error pages, commands, settings."""

import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
import typer

import api
from api.catalog.file import load
from api.cli.program import app
from api.domain import codes
from api.domain.errors import HeadroomError
from api.infra.settings import Settings

ROOT = Path(__file__).parents[2]
ERRORS = ROOT / "docs" / "errors"
PAGES = sorted(
    {
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(page for page in (ROOT / "api").glob("*/README.md")),
    }
)
ROOMS = sorted(page.parent for page in (ROOT / "api").glob("*/README.md"))
COMMANDS = typer.main.get_command(app)

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^```[a-z]*\n(.*?)^```|`([^`]+)`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[\s/(])headroom ((?:[a-z][a-z-]* ?){1,2})([^\n|;)]*)", re.MULTILINE)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_SETTING = re.compile(
    r"\b(?:(?:HEADROOM|STRIPE|DATABASE|REDIS|DUNNING)_|BILLING_RETURN)[A-Z_]*[A-Z]\b(?![*…])"
)
_SETTING_ROW = re.compile(r"^\| `([A-Z_]+)` \| (\S+) \|", re.MULTILINE)
# What `headroom catalog push` will print for an account, in settings of the product's own.
_SAID_OF_OTHERS = frozenset({"STRIPE_PRICE", "STRIPE_PRODUCT"})
_OF_AN_ACCOUNT = ("STRIPE_PRICE_", "STRIPE_PRODUCT_")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in kept}


def _code(text: str) -> Iterator[str]:
    for fenced, inline in _CODE.findall(text):
        yield fenced or re.sub(r"\s+", " ", inline)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_file_of_the_repository_that_is_named_exists(page: Path) -> None:
    for code in _code(page.read_text(encoding="utf-8")):
        for path in re.findall(r"\b(?:tests|sql|docs|examples|scripts)/[\w./-]*\w", code):
            assert (ROOT / path).exists() or not Path(path).suffix, path


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_file_of_a_room_stands_in_its_readme(room: Path) -> None:
    named = set(re.findall(r"`([\w.]+)`", (room / "README.md").read_text(encoding="utf-8")))
    files = {path.name for ending in ("*.py", "*.lua") for path in room.glob(ending)}
    assert files - {"__init__.py", "__main__.py"} <= named
    assert {name for name in named if name.endswith(".py")} <= files


def test_every_page_of_the_documentation_can_be_found_from_its_index() -> None:
    index = ROOT / "docs" / "README.md"
    found, waiting = {index}, [index]
    while waiting:
        page = waiting.pop()
        for link in _LINK.findall(page.read_text(encoding="utf-8")):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target not in found and target.exists():
                found.add(target)
                waiting.append(target)
    lost = {p for p in PAGES if ERRORS not in p.parents} - found
    assert not lost


def test_every_code_that_can_be_answered_has_a_page() -> None:
    paged = {page.stem for page in ERRORS.glob("*.md")}
    assert _answered() <= paged
    assert paged <= _answered() | {"README"}


def _answered() -> set[str]:
    for module in walk_packages(api.__path__, "api."):
        if not module.name.endswith("__main__") and ".engines.launch" not in module.name:
            import_module(module.name)
    kinds, found = [HeadroomError], set[str]()
    while kinds:
        kind = kinds.pop()
        found.add(kind.code)
        kinds += kind.__subclasses__()
    found |= {value for name, value in vars(codes).items() if name == value}
    found |= set(codes.CAP_CODES.values())
    for path in (ROOT / "examples").glob("*.toml"):
        for plan in load(path).plans.values():
            limits = (limit for offer in plan.features.values() for limit in offer.limits)
            found |= {limit.code for limit in limits if limit.code is not None}
    return found


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_that_is_shown_exists_with_its_options(page: Path) -> None:
    for code in _code(page.read_text(encoding="utf-8")):
        for words, rest in _COMMAND.findall(code):
            _expect_command(words.split(), _OPTION.findall(rest))


def _expect_command(words: list[str], options: list[str]) -> None:
    command = COMMANDS
    for word in words:
        known = getattr(command, "commands", None)
        if known is None:
            break
        assert word in known, " ".join(words)
        command = known[word]
    taken = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    assert set(options) <= taken | {"--help"}, (words, options)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_setting_that_is_named_exists(page: Path) -> None:
    known = {one.metadata["name"] for one in fields(Settings)} | _SAID_OF_OTHERS
    named = {
        name
        for name in _SETTING.findall(page.read_text(encoding="utf-8"))
        if not name.startswith(_OF_AN_ACCOUNT)
    }
    assert named <= known


def test_the_page_of_settings_has_every_one_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert dict(_SETTING_ROW.findall(page)) == {
        one.metadata["name"]: _default(one.default) for one in fields(Settings)
    }


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_a_command_that_does_not_exist_would_be_found() -> None:
    shown = [
        *_COMMAND.findall("headroom usage explain acme --json"),
        *_COMMAND.findall("headroom no"),
    ]
    _expect_command(shown[0][0].split(), _OPTION.findall(shown[0][1]))
    for words, options in ((["usage", "no"], []), (["no"], []), (["demo"], ["--no-such"])):
        with pytest.raises(AssertionError):
            _expect_command(words, options)
