"""Quotas as HTTP fields: ``RateLimit-Policy`` and ``RateLimit``, for clients that pace themselves.

As in draft-ietf-httpapi-ratelimit-headers-11: lists of strings with parameters (RFC 9651), where
``q`` is the quota, ``w`` its window in seconds, ``r`` what remains and ``t`` the seconds for which
that has to last. A policy is called by its feature and window, as ``"tx_post/month"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from api.domain.catalog import WindowKind
from api.domain.decision import WindowFigure

MOST = 999_999_999_999_999
"""The largest integer of structured fields; more is said as this."""


def fields_of(
    feature: str, windows: Sequence[WindowFigure], at_s: int, denied_units: int | None = None
) -> list[tuple[bytes, bytes]]:
    """Return both fields, without limits that let everything pass; none, where nothing binds.

    ``denied_units``: of a refused call, only the windows that were too full for it are reported as
    limits, as ``Retry-After`` waits for those and no client may be told to wait for others.
    """
    policies: list[str] = []
    limits: list[str] = []
    for window in windows:
        quota = window.limit
        if quota is None or window.shadow or window.overage:
            continue
        ends = window.resets_at_s
        policy, limit = _constant(feature, window.window, quota, window.starts_at_s, ends)
        policies.append(policy)
        left = quota - window.used - window.held
        if denied_units is None or left < denied_units:
            limit += str(0 if left < 0 else min(left, MOST))
            limits.append(limit if ends is None else f"{limit};t={max(0, ends - at_s)}")
    if not policies:
        return []
    lines = [(b"ratelimit-policy", ", ".join(policies).encode())]
    if limits:
        lines.append((b"ratelimit", ", ".join(limits).encode()))
    return lines


@lru_cache(maxsize=4096)
def _constant(
    feature: str, kind: WindowKind, quota: int, starts_at_s: int | None, ends_at_s: int | None
) -> tuple[str, str]:
    """Return a window's policy, and what its limit begins with: the same until the window turns."""
    name = f'"{feature}/{kind.value}"'
    policy = f"{name};q={min(quota, MOST)}"
    if starts_at_s is not None and ends_at_s is not None:
        policy += f";w={max(1, ends_at_s - starts_at_s)}"
    return policy, f"{name};r="
