"""Reads the worked timelines of a page, and lives through each of them by the rules of ``domain``.

A table is announced by a comment in front of it. ``<!-- windows: window=month zone=UTC -->``: each
row names an instant, and the window that contains it. ``<!-- life: feature=renders zone=UTC -->``:
each row is something that happens to one customer, and what is so afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from api.domain.admission import Action, Count, Figure, Judgement, Outcome, Slot, judge
from api.domain.catalog import Catalog, Limit, WindowKind
from api.domain.decision import Decision, WindowFigure, allow, deny
from api.domain.entitlements import (
    CustomerFacts,
    Entitlements,
    OverrideFacts,
    SubscriptionFacts,
    SubscriptionStatus,
    counted,
    entitle,
)
from api.domain.snapshot import holding_of
from api.domain.transitions import carried, settle, with_pins
from api.domain.windows import Frame, Window, window_at
from tests.support.builders import instant

Row = Mapping[str, str]

_TABLE = re.compile(r"<!-- (windows|life): (.*?) -->\n\n?((?:\|.*\n)+)")
_ANSWERS = ("answer", "resetsAt", "retryAfterSeconds", "maxUnitsNow", "unlockedBy")
_ACTIONS = {action.value: action for action in Action}


@dataclass(frozen=True, slots=True)
class Timeline:
    """One announced table; ``line`` is where it stands in the page."""

    kind: str
    given: Mapping[str, str]
    rows: tuple[Row, ...]
    line: int


def timelines(page: str) -> list[Timeline]:
    """Return every announced table of ``page``."""
    found = []
    for match in _TABLE.finditer(page):
        head, _, *body = (_cells(line) for line in match[3].splitlines())
        given = dict(word.split("=", 1) for word in match[2].split())
        rows = tuple(dict(zip(head, cells, strict=True)) for cells in body)
        line = page.count("\n", 0, match.start(3)) + 1
        found.append(Timeline(match[1], given, rows, line))
    return found


def recomputed(timeline: Timeline, catalog: Catalog) -> list[Row]:
    """Return the table's rows as the rules say, with the same columns."""
    tell = _windows if timeline.kind == "windows" else _life
    found: list[Row] = []
    for row, asked in zip(tell(timeline, catalog), timeline.rows, strict=True):
        found.append({column: row.get(column, asked[column]) for column in asked})
    return found


def _windows(timeline: Timeline, _catalog: Catalog) -> list[Row]:
    given = timeline.given
    anchor = instant(given["anchor"]) if "anchor" in given else None
    months = int(given.get("months", "1"))
    frame = Frame(WindowKind(given["window"]), given.get("zone", "UTC"), anchor, months)
    told: list[Row] = []
    for row in timeline.rows:
        window = window_at(frame, instant(row["a call at (UTC)"]))
        told.append({"is counted in the window (UTC)": _span(window), "length": _length(window)})
    return told


def _life(timeline: Timeline, catalog: Catalog) -> list[Row]:
    given = timeline.given
    facts = CustomerFacts(
        id=1,
        key="ada",
        type=catalog.default_customer_type,
        created_at=instant(given.get("created", "2026-01-05T09:30")),
        timezone=given.get("zone", "UTC"),
    )
    life = Life(catalog, facts)
    return [
        life.live(instant(row["when (UTC)"]), row["what happens"], given["feature"])
        for row in timeline.rows
    ]


class Life:
    """One customer: its facts, what was counted, and every unit it ever used."""

    def __init__(self, catalog: Catalog, facts: CustomerFacts) -> None:
        self._catalog = catalog
        self._facts = facts
        self._valid_until: datetime | None = None
        self._counts: dict[Slot, Count] = {}
        self._events: list[tuple[datetime, str, int]] = []

    def live(self, at: datetime, happening: str, shown: str) -> Row:
        """Let one thing happen and tell the answer, and the windows of ``shown``, afterwards."""
        verb, *words = happening.split()
        answer = dict.fromkeys(_ANSWERS, "")
        if verb in _ACTIONS:
            answer = self._ask(_ACTIONS[verb], int(words[0]), words[1], at)
        else:
            self._change(at, verb, words)
        figures = self._figures(shown, at)
        return {
            "used of limit": _joined(figures, _of),
            "window (UTC)": _joined(figures, _span_of),
            **answer,
        }

    def _ask(self, action: Action, units: int, feature: str, at: datetime) -> dict[str, str]:
        entitlements = self._settled(at)
        judged = self._judge(action, units, feature, at)
        if judged.outcome in (Outcome.BELOW_ZERO, Outcome.TOO_MANY):
            return dict.fromkeys(_ANSWERS, "") | {"answer": "400 INVALID_INPUT"}
        decision = self._decide(entitlements, judged, feature, units, at)
        if decision.allowed and action is not Action.CHECK:
            before = self._held(feature) if action is Action.STATE else 0
            sign = -1 if action is Action.RELEASE else 1
            self._events.append((at, feature, sign * units - before))
            self._counts.update(judged.counts)
        resets = None if decision.window is None else decision.window.resets_at_s
        return {
            "answer": "yes" if decision.allowed else f"{decision.status} {decision.code}",
            "resetsAt": _told(None if resets is None else _written(_instant(resets))),
            "retryAfterSeconds": _told(decision.retry_after_seconds),
            "maxUnitsNow": _told(decision.max_units_now),
            "unlockedBy": ", ".join(decision.unlocked_by) or "none",
        }

    def _judge(self, action: Action, units: int, feature: str, at: datetime) -> Judgement:
        entitlements = self._settled(at).features
        pins = self._facts.pins or {}
        return judge(action, [(feature, units)], entitlements, pins, self._counts, at)

    def _decide(
        self, held: Entitlements, judged: Judgement, feature: str, units: int, at: datetime
    ) -> Decision:
        (row,) = judged.figures
        windows = None if row is None else tuple(map(_figure, row))
        if judged.outcome is Outcome.ALLOWED:
            return allow("ada", feature, units, windows or ())
        holding = holding_of(self._facts, held, at)
        found = self._catalog.features[feature]
        at_s = int(at.timestamp())
        return deny(self._catalog, holding, "ada", found, units, windows, at_s=at_s)

    def _change(self, at: datetime, verb: str, words: list[str]) -> None:
        before = self._settled(at)
        pins = self._facts.pins or {}
        facts = self._facts
        match verb:
            case "moves":  # moves to ZONE
                facts = replace(facts, timezone=words[1])
            case "subscribes" | "changes":  # subscribes to PLAN by PRICE
                bought = self._subscription(at, words[1], words[3])
                facts = replace(facts, subscriptions=(bought,))
            case "cancels":
                facts = replace(facts, subscriptions=())
            case "is":  # is promised UNITS FEATURE a WINDOW until INSTANT
                limit = Limit(WindowKind(words[4]), int(words[1]))
                ends = instant(" ".join(words[6:]))
                promise = OverrideFacts(words[2], limits=(limit,), expires_at=ends)
                facts = replace(facts, overrides=(promise,))
            case _:
                raise ValueError(f"nobody knows what {verb!r} does")
        after = entitle(self._catalog, facts, at)
        self._facts = with_pins(facts, carried(before, after, pins, at))
        self._valid_until = after.valid_until
        self._settled(at)

    def _subscription(self, at: datetime, plan: str, price: str) -> SubscriptionFacts:
        """Buy; a change to another interval begins the provider's billing anew."""
        anchor = at
        for known in self._facts.subscriptions:
            if self._interval(known.price) == self._interval(price):
                anchor = known.billing_anchor or at
        return SubscriptionFacts(
            1, SubscriptionStatus.ACTIVE, plan, price=price, billing_anchor=anchor
        )

    def _interval(self, price: str | None) -> str | None:
        prices = {p.key: p for plan in self._catalog.plans.values() for p in plan.prices}
        return prices[price or ""].interval

    def _settled(self, at: datetime) -> Entitlements:
        """Live up to ``at``; forget counters that nothing limits, fill those that are unknown."""
        settled = settle(self._catalog, self._facts, self._valid_until, at)
        self._facts = with_pins(self._facts, settled.pins)
        self._valid_until = settled.entitlements.valid_until
        counts: dict[Slot, Count] = {}
        for feature, entitlement in settled.entitlements.features.items():
            for limit in counted(entitlement) or ():
                slot = (feature, limit.window)
                window = window_at(limit.frame, at, settled.pins.get(slot))
                used = sum(u for t, f, u in self._events if f == feature and t in window)
                counts[slot] = self._counts.get(slot, Count(window, max(0, used)))
        self._counts = counts
        return settled.entitlements

    def _figures(self, feature: str, at: datetime) -> list[WindowFigure]:
        judged = self._judge(Action.CHECK, 0, feature, at)
        return [_figure(figure) for figure in judged.figures[0] or ()]

    def _held(self, feature: str) -> int:
        return sum(units for _, name, units in self._events if name == feature)


def _figure(figure: Figure) -> WindowFigure:
    limit, window = figure.limit, figure.window
    return WindowFigure(
        limit.window,
        limit.units,
        figure.used,
        int(window.starts_at.timestamp()),
        None if window.ends_at is None else int(window.ends_at.timestamp()),
        code=limit.code,
        status=limit.status,
        shadow=limit.shadow,
        granted=figure.granted,
    )


def _of(figure: WindowFigure) -> str:
    limit = "unlimited" if figure.limit is None else str(figure.limit)
    return f"{figure.used} of {limit}"


def _span_of(figure: WindowFigure) -> str:
    if figure.starts_at_s is None or figure.resets_at_s is None:
        return "never ends"
    return _span(Window(_instant(figure.starts_at_s), _instant(figure.resets_at_s)))


def _joined(figures: Sequence[WindowFigure], tell: Callable[[WindowFigure], str]) -> str:
    """Tell each window's figure, by its name where there are several."""
    if not figures:
        return "not granted"
    if len(figures) == 1:
        return tell(figures[0])
    return "; ".join(f"{f.window.value} {tell(f)}" for f in figures)


def _span(window: Window) -> str:
    ends = "never" if window.ends_at is None else _written(window.ends_at)
    return f"{_written(window.starts_at)} → {ends}"


def _length(window: Window) -> str:
    if window.ends_at is None:
        return "for ever"
    length = window.ends_at - window.starts_at
    days, rest = divmod(length, timedelta(days=1))
    hours = rest // timedelta(hours=1)
    if timedelta(days=2) > length >= timedelta(hours=1):
        return f"{length // timedelta(hours=1)} h"
    if length < timedelta(hours=1):
        return f"{length // timedelta(minutes=1)} min"
    return f"{days} days" + (f" and {hours} h" if hours else "")


def _written(at: datetime) -> str:
    text = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return text.removesuffix(":00")


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _told(value: object) -> str:
    return "null" if value is None else str(value)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
