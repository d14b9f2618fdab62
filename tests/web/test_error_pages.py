"""Every code has a page, and every page says what it should."""

import json
import re
from pathlib import Path

import pytest

from api import web
from api.domain import codes
from api.domain.errors import HeadroomError
from tests.support.site import Site

API = Path(web.__file__).parent.parent
PAGES = API.parent / "docs" / "errors"
DENIALS = {
    codes.FEATURE_NOT_IN_PLAN,
    codes.FEATURE_UNAVAILABLE,
    codes.PAYMENT_REQUIRED,
    codes.ALLOCATION_EXCEEDED,
    codes.INSUFFICIENT_CREDITS,
    "FREE_CAP_EXCEEDED",
    *codes.CAP_CODES.values(),
}
ERRORS = {
    code
    for path in API.rglob("*.py")
    for code in re.findall(r'^    code(?:: [^=]+)? = "([A-Z_]+)"$', path.read_text(), re.MULTILINE)
}
BLOCK = re.compile(r"```json\n(.*?)```", re.DOTALL)
MEMBERS = {"type", "title", "status", "detail", "code", "docs"}


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert HeadroomError.code in ERRORS
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == DENIALS | ERRORS


@pytest.mark.parametrize("code", sorted(DENIALS | ERRORS))
def test_a_page_says_what_it_means_shows_it_and_tells_what_to_do(code: str) -> None:
    text = (PAGES / f"{code}.md").read_text()
    assert text.startswith(f"# {code}\n")
    for part in ("## What it means", "## Example", "## What to do"):
        assert part in text
    for who in ("Caller", "Customer", "Operator"):
        assert f"- **{who}**: " in text
    for block in map(json.loads, BLOCK.findall(text)):
        problem = block if "errors" not in block else block["errors"][0]["extensions"]
        assert problem["code"] == code
        assert problem["docs"] == codes.docs_of(code)
        if "errors" not in block:
            assert problem.keys() >= MEMBERS
            assert problem["type"] == f"/docs/errors/{code}.md"
    assert f"[{code}]({code}.md)" in (PAGES / "README.md").read_text()


@pytest.mark.parametrize("code", sorted(DENIALS))
def test_the_page_of_a_denial_shows_both_doors(code: str) -> None:
    shown = [json.loads(block) for block in BLOCK.findall((PAGES / f"{code}.md").read_text())]
    (entry,), problem = shown[0]["errors"], shown[1]
    facts = {k: v for k, v in problem.items() if k in entry["extensions"]}
    assert facts == entry["extensions"]
    assert problem["allowed"] is False


async def test_the_type_of_a_problem_leads_to_its_page(site: Site) -> None:
    told = await site.post("/v1/consume", {"customer": "acme", "feature": "calls", "units": 6})
    page = await site.client.get(told.json()["type"])
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/markdown; charset=utf-8"
    assert page.text.startswith("# FREE_CAP_EXCEEDED")
    assert page.headers["cache-control"] == "public, max-age=3600"


async def test_a_code_that_only_a_catalog_knows_leads_to_the_page_about_those(site: Site) -> None:
    page = await site.client.get("/docs/errors/TEAM_IS_FULL.md")
    assert page.text.startswith("# Error codes")


@pytest.mark.parametrize(
    "name", ["..%2F..%2FREADME", "README", "x", "A" * 65, "..", "A%00", "DAILY_CAP_EXCEEDED%2F.."]
)
async def test_nothing_but_pages_of_codes_is_shown(site: Site, name: str) -> None:
    told = await site.client.get(f"/docs/errors/{name}.md")
    if name == "README":
        assert told.status_code == 200
    else:
        assert (told.status_code, told.json()["code"]) == (404, "NOT_FOUND")
