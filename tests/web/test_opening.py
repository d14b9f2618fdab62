"""What a head comes to: found once, and by the rules of each line."""

import hashlib

import pytest

from api.gates.access import Presented
from api.web.opening import LONGEST_ACCEPT, opening_of
from api.web.wire import Head, HeaderLines

KEY = b"hr_" + b"a" * 43
JSON = (b"content-type", b"application/json")


def test_it_is_found_once_for_each_head() -> None:
    head = Head([JSON])
    assert opening_of(head) is opening_of(head)
    assert opening_of(head) is not opening_of(Head([JSON]))


@pytest.mark.parametrize(
    ("header", "credential"),
    [
        (b"Bearer " + KEY, KEY),
        (b"bearer   " + KEY + b" ", KEY),
        (b"Bearer a.b.c", b"a.b.c"),
        (b"Basic a", None),
        (b"Bearer", None),
        (b"Bearer a b", None),
    ],
)
def test_a_credential_is_known_by_its_kind_and_digest(
    header: bytes, credential: bytes | None
) -> None:
    opening = opening_of(Head([(b"authorization", header)]))
    assert opening.credential == header
    if credential is None:
        assert opening.presented is None
    else:
        is_key = credential == KEY
        assert opening.presented == Presented(is_key, hashlib.sha256(credential).digest())


@pytest.mark.parametrize(
    ("lines", "json"),
    [
        ([JSON], True),
        ([(b"content-type", b"application/JSON; charset=UTF-8")], True),
        ([(b"content-type", b"application/json; charset=latin-1")], False),
        ([(b"content-type", b"text/plain")], False),
        ([JSON, (b"content-encoding", b"Identity")], True),
        ([JSON, (b"content-encoding", b"gzip")], False),
        ([], False),
    ],
)
def test_a_body_is_json_where_the_head_says_so_and_plain(lines: HeaderLines, json: bool) -> None:  # noqa: FBT001 - a column
    assert opening_of(Head(lines)).json is json


def test_a_line_that_matters_comes_once_and_any_other_as_often_as_it_likes() -> None:
    assert opening_of(Head([JSON, (b"x-a", b"1"), (b"x-a", b"2")])).once
    assert not opening_of(Head([JSON, JSON])).once
    # Which of two is meant is anybody's guess, so neither names the request.
    twice = opening_of(Head([(b"x-correlation-id", b"a"), (b"x-correlation-id", b"b")]))
    assert (twice.once, twice.correlation) == (False, None)
    assert opening_of(Head([(b"x-correlation-id", b"a")])).correlation == "a"


def test_of_several_lines_of_what_is_accepted_the_first_counts_and_no_more_of_it_than_a_bound() -> (
    None
):
    assert opening_of(Head([JSON])).accept is None
    first, second = (b"accept", b"a/b"), (b"accept", b"c/d")
    assert opening_of(Head([first, second])).accept == b"a/b"
    long = opening_of(Head([(b"accept", b"a" * (LONGEST_ACCEPT + 1))]))
    assert long.accept == b"a" * LONGEST_ACCEPT
