"""Quotas as HTTP fields: ``RateLimit-Policy`` and ``RateLimit``, for clients that pace themselves.

As in draft-ietf-httpapi-ratelimit-headers-11: lists of strings with parameters (RFC 9651), where
``q`` is the quota, ``w`` its window in seconds, ``r`` what remains and ``t`` the seconds for which
that has to last. A policy is called by its feature and window, as ``"tx_post/month"``.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        units = window.limit
        if units is None or window.shadow:
            continue
        name = f'"{feature}/{window.window.value}"'
        policy = f"{name};q={min(units, MOST)}"
        remaining = units - window.used - window.held
        limit = f"{name};r={min(max(0, remaining), MOST)}"
        ends = window.resets_at_s
        if ends is not None:
            if window.starts_at_s is not None:
                policy += f";w={max(1, ends - window.starts_at_s)}"
            limit += f";t={max(0, ends - at_s)}"
        policies.append(policy)
        if denied_units is None or remaining < denied_units:
            limits.append(limit)
    if not policies:
        return []
    lines = [(b"ratelimit-policy", ", ".join(policies).encode())]
    if limits:
        lines.append((b"ratelimit", ", ".join(limits).encode()))
    return lines
