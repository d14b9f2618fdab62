"""A script's call goes over the wire as the client library itself would write it."""

from typing import Any, cast

import pytest
from hiredis import pack_command
from hypothesis import given
from hypothesis import strategies as st

from api.domain import keys
from api.infra.forms import Place, by_digest, by_text
from api.infra.lua import Script

SCRIPT = Script("one", "return 1", "a" * 40)
WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4)
ARGS = st.lists(st.one_of(st.binary(max_size=600), st.integers(), st.text("aé")), max_size=4)


@given(st.integers(0, keys.SHARDS - 1), WORDS, WORDS, st.integers(0, 1 << 40), ARGS)
def test_every_word_is_there_after_its_size(
    shard: int, kept: list[str], more: list[str], epoch: int, args: list[Any]
) -> None:
    named = [keys.marker(shard), *kept, *more]
    rest: list[Any] = [len(named), *named, epoch, *args]
    place = Place.of(shard, kept)
    digest: Any = ("EVALSHA", SCRIPT.sha, *rest)
    text: Any = ("EVAL", SCRIPT.text, *rest)
    assert by_digest(SCRIPT, place, more, epoch, args) == pack_command(digest)
    assert by_text(SCRIPT, place, more, epoch, args) == pack_command(text)


@pytest.mark.parametrize("word", [None, 1.5, "\ud800"])
def test_what_is_no_word_is_refused(word: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        by_digest(SCRIPT, Place.of(0, ("a",)), (), 1, cast("list[str]", [word]))
