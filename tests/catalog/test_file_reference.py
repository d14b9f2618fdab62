"""``docs/catalog.md`` tells the truth: its example is accepted, and answers as its table says."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.catalog.file import parse
from api.domain.catalog import Catalog
from api.domain.decision import WindowFigure, deny
from api.domain.entitlements import (
    CustomerFacts,
    SubscriptionFacts,
    SubscriptionStatus,
    entitle,
)
from api.domain.snapshot import holding_of
from api.domain.windows import window_at

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "catalog.md").read_text(encoding="utf-8")
AT = datetime(2026, 3, 20, 10, tzinfo=UTC)
SUBSCRIBED = datetime(2026, 2, 12, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def paper() -> Catalog:
    example = re.search(r"```toml\n(.*?)```", REFERENCE, re.DOTALL)
    assert example is not None
    return parse(example[1], "paper.toml")


def reader(*, plan: str | None = None, seats: int = 0) -> CustomerFacts:
    subscription = SubscriptionFacts(
        id=1,
        status=SubscriptionStatus.ACTIVE,
        plan=plan,
        add_ons=(("seat", seats),),
        price="plus_monthly",
        billing_anchor=SUBSCRIBED,
    )
    return CustomerFacts(
        id=1,
        key="reader-1",
        type="reader",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        timezone="Europe/Berlin",
        subscriptions=() if plan is None else (subscription,),
    )


@pytest.mark.parametrize(
    ("facts", "feature", "used", "code", "status", "unlocked_by", "resets_at"),
    [
        (
            reader(),
            "comments",
            {"day": 5, "month": 5},
            "DAILY_CAP_EXCEEDED",
            429,
            ("plus",),
            datetime(2026, 3, 20, 23, tzinfo=UTC),
        ),
        (
            reader(),
            "comments",
            {"day": 0, "month": 50},
            "MONTHLY_CAP_EXCEEDED",
            402,
            ("plus",),
            datetime(2026, 3, 31, 22, tzinfo=UTC),
        ),
        (reader(), "export", {}, "FEATURE_NOT_IN_PLAN", 402, ("plus",), None),
        (
            reader(plan="plus"),
            "comments",
            {"month": 500},
            "COMMENTS_USED_UP",
            402,
            (),
            datetime(2026, 4, 12, 9, tzinfo=UTC),
        ),
        (
            reader(plan="plus", seats=2),
            "seats",
            {"lifetime": 4},
            "ALLOCATION_EXCEEDED",
            402,
            (),
            None,
        ),
    ],
    ids=["sixth of a day", "51st of a month", "not in the plan", "501st", "fifth seat"],
)
def test_the_worked_example_answers_as_its_table_says(
    paper: Catalog,
    facts: CustomerFacts,
    feature: str,
    used: dict[str, int],
    code: str,
    status: int,
    unlocked_by: tuple[str, ...],
    resets_at: datetime | None,
) -> None:
    entitlements = entitle(paper, facts, AT)
    entitlement = entitlements.features[feature]
    figures = []
    for limit in entitlement.limits:
        window = window_at(limit.frame, AT)
        figures.append(
            WindowFigure(
                limit.window,
                limit.units,
                used[limit.window],
                int(window.starts_at.timestamp()),
                None if window.ends_at is None else int(window.ends_at.timestamp()),
                code=limit.code,
                status=limit.status,
            )
        )
        assert limit.units is not None
    assert not entitlement.granted or any(f.used == f.limit for f in figures)

    decision = deny(
        paper,
        holding_of(facts, entitlements, AT),
        facts.key,
        entitlement.feature,
        1,
        tuple(figures) if entitlement.granted else None,
        at_s=int(AT.timestamp()),
    )

    told = None if decision.window is None else decision.window.resets_at_s
    assert (decision.code, decision.status) == (code, status)
    assert decision.unlocked_by == unlocked_by
    assert told == (None if resets_at is None else int(resets_at.timestamp()))
    assert f"{status} `{code}`" in REFERENCE


def test_every_key_that_a_file_may_hold_is_explained() -> None:
    asked = re.compile(r"\.(?:text|whole|flag|choice|references?|tables?|raw)\(\s*\"(\w+)\"")
    sources = [
        (ROOT / "api" / "catalog" / f"{name}.py").read_text(encoding="utf-8")
        for name in ("file", "sales", "limits", "prices", "credits")
    ]

    keys = {key for source in sources for key in asked.findall(source)}

    assert len(keys) > 35
    assert [key for key in keys if not re.search(rf"[`[{{] ?{key}\b", REFERENCE)] == []
