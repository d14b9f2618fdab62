"""Windows, for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from api.cli.output import instant
from api.domain.decision import WindowFigure


def windows_text(windows: Sequence[WindowFigure]) -> list[str]:
    """Return a line for each, such as ``day 3 of 50, resets 2026-03-11 00:00:00Z``."""
    lines = []
    for figure in windows:
        limit = "unlimited" if figure.limit is None else str(figure.limit)
        resets = _instant(figure.resets_at_s)
        until = "never resets" if resets is None else f"resets {instant(resets)}"
        shadow = ", shadow" if figure.shadow else ""
        lines.append(f"{figure.window.value} {figure.used} of {limit}, {until}{shadow}")
    return lines


def windows_json(windows: Sequence[WindowFigure]) -> list[dict[str, object]]:
    """Return the same for a script, under the names that the HTTP doors use."""
    return [
        {
            "window": figure.window.name,
            "limit": figure.limit,
            "used": figure.used,
            "held": figure.held,
            "remaining": figure.remaining,
            "startsAt": _instant(figure.starts_at_s),
            "resetsAt": _instant(figure.resets_at_s),
            "shadow": figure.shadow,
        }
        for figure in windows
    ]


def _instant(second: int | None) -> datetime | None:
    return None if second is None else datetime.fromtimestamp(second, UTC)
