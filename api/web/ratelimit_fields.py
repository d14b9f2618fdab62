"""Quotas as HTTP fields: ``RateLimit-Policy`` and ``RateLimit``, for clients that pace themselves.

As in draft-ietf-httpapi-ratelimit-headers-11: lists of strings with parameters (RFC 9651), where
``q`` is the quota, ``w`` its window in seconds, ``r`` what remains and ``t`` the seconds for which
that has to last. A policy is called by its feature and window, as ``"tx_post/month"``.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.domain.decision import WindowFigure
from api.web.window_words import MOST, words_of


def fields_and_json(
    feature: str, windows: Sequence[WindowFigure], at_s: int, denied_units: int | None = None
) -> tuple[list[tuple[bytes, bytes]], str]:
    """Return both fields, and the JSON of the windows, which says the same: in one pass.

    There are no fields where nothing binds; limits that let everything pass are not in them.
    ``denied_units``: of a refused call, only the windows that were too full for it are reported as
    limits, as ``Retry-After`` waits for those and no client may be told to wait for others.
    """
    policies: list[str] = []
    limits: list[str] = []
    said: list[str] = []
    for kind, quota, used, starts, ends, held, _, _, shadow, _, overage in windows:
        head, tail, policy, limit = words_of(feature, kind, quota, starts, ends, shadow, overage)
        if quota is None:
            said.append(f'{head}{used},"held":{held},"remaining":null{tail}')
            continue
        left = max(0, quota - used - held)
        said.append(f'{head}{used},"held":{held},"remaining":{left}{tail}')
        if policy is None:
            continue
        policies.append(policy)
        if denied_units is None or left < denied_units:
            limit = f"{limit}{min(left, MOST)}"
            limits.append(limit if ends is None else f"{limit};t={max(0, ends - at_s)}")
    lines = [(b"ratelimit-policy", ", ".join(policies).encode())] if policies else []
    if limits:
        lines.append((b"ratelimit", ", ".join(limits).encode()))
    return lines, f"[{','.join(said)}]"
