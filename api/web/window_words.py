"""What is said of a window on the wire, and stays the same until it turns or its limit changes.

Every answer tells its windows twice, in the body and in header fields, and of all that is told
only two or three numbers are new: the rest is put into words once and kept.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from api.domain.catalog import WindowKind

MOST = 999_999_999_999_999
"""The largest integer of structured fields; more is said as this."""


class Words(NamedTuple):
    """``head``, used, held, remaining and ``tail`` are the JSON of GraphQL's ``WindowUsage``.

    ``policy`` is its entry in ``RateLimit-Policy``, None where it refuses nothing; ``limit`` is
    what its entry in ``RateLimit`` begins with.
    """

    head: str
    tail: str
    policy: str | None
    limit: str


@lru_cache(maxsize=4096)
def words_of(
    feature: str,
    kind: WindowKind,
    limit: int | None,
    starts_at_s: int | None,
    ends_at_s: int | None,
    shadow: bool,  # noqa: FBT001 - positional, as a cache is asked faster so
    overage: bool,  # noqa: FBT001 - likewise
) -> Words:
    """Return what is constant of a window."""
    head = f'{{"window":"{kind.name}","limit":{_json(limit)},"used":'
    tail = (
        f',"startsAt":{_quoted(starts_at_s)},"resetsAt":{_quoted(ends_at_s)}'
        f',"shadow":{_json(shadow)},"overage":{_json(overage)}}}'
    )
    name = f'"{feature}/{kind.value}"'
    if limit is None or shadow or overage:
        return Words(head, tail, None, "")
    policy = f"{name};q={min(limit, MOST)}"
    if starts_at_s is not None and ends_at_s is not None:
        policy += f";w={max(1, ends_at_s - starts_at_s)}"
    return Words(head, tail, policy, f"{name};r=")


@lru_cache(maxsize=4096)
def instant(seconds: int | None) -> str | None:
    """Return whole seconds since 1970 as RFC 3339; the bounds of windows come again and again."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00") + "Z"


def _quoted(seconds: int | None) -> str:
    return "null" if seconds is None else f'"{instant(seconds)}"'


def _json(value: bool | int | None) -> str:  # noqa: FBT001 - a value to be written
    if value is None:
        return "null"
    return str(value).lower()
