"""No script reaches for a key that it was not given, so each stays within one slot."""

import re
from pathlib import Path

import pytest

import api

SCRIPTS = sorted(Path(api.__file__).parent.rglob("*.lua"))
CALL = re.compile(r"redis\.p?call\(\s*'(\w+)'(?:,\s*([^,)]+))?")
WITHOUT_KEY = {"TIME"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_key_that_a_script_touches_is_one_of_its_keys(script: Path) -> None:
    text = script.read_text()
    assert text.count("redis.call(") + text.count("redis.pcall(") == len(CALL.findall(text))
    for command, first in CALL.findall(text):
        assert command in WITHOUT_KEY or first.startswith("KEYS["), f"{command} {first}"
