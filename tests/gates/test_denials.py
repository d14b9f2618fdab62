"""Denials that are kept are those that would be found anew."""

import itertools

from api.catalog.file import parse
from api.domain.catalog import WindowKind
from api.domain.decision import deny
from api.domain.snapshot import UNLIMITED, encode_holding
from api.domain.unlocking import Holding, Promised
from api.gates.denials import explain
from api.metering.counters import NOT_GRANTED, Reply, Verdict, figures
from api.schema.errors import facts_of
from api.web.problems import denied

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[plans.free]
name = "Free"
[plans.free.features]
calls = { day = 2, month = 10 }

[plans.pro]
name = "Pro"
[plans.pro.features]
calls = { hour = 5, day = 20 }

[plans.team]
name = "Team"
[plans.team.features]
calls = { month = 1_000 }
"""
DAY, MONTH = 2, 4
MIDNIGHT = 1_790_035_200


def row(day_used: int, month_used: int, month_limit: int) -> list[object]:
    return [
        *(DAY, 2, day_used, MIDNIGHT, MIDNIGHT + 86_400, "", 0, 0, 0),
        *(MONTH, month_limit, month_used, MIDNIGHT, MIDNIGHT + 864_000, "", 0, 0, 0),
    ]


def promised(units: int) -> dict[str, tuple[Promised, ...]]:
    return {"calls": (Promised(WindowKind.DAY, units),)}


def test_a_denial_that_was_kept_is_the_one_that_would_be_found() -> None:
    catalog = parse(CATALOG, "test.toml")
    feature = catalog.features["calls"]
    holdings = [
        Holding("business", "free", ("free",), zone="UTC"),
        Holding("business", "free", ("free",), withheld=("pro",), zone="UTC"),
        Holding("business", "free", ("free",), blocked=("calls",), zone="UTC"),
        Holding("business", "team", ("team", "free"), zone="UTC"),
        Holding("business", "free", ("free",), overridden=promised(2), zone="UTC"),
        Holding("business", "free", ("free",), overridden=promised(50), zone="UTC"),
    ]
    rows: list[object] = [row(2, 2, 10), row(1, 10, 10), row(2, 6, UNLIMITED), NOT_GRANTED]
    instants = [MIDNIGHT + s for s in (0, 1, 59, 60, 3_599, 3_600, 86_399)]
    cases = itertools.product(holdings, rows, instants, (2, 30), ("acme", "other"))
    told = 0
    for holding, figures_, at_s, units, customer in cases:
        encoded = encode_holding(holding, version=told, revision=1)
        reply = Reply(Verdict.DENIED, rows=[figures_], holding=encoded)
        (found,) = explain(catalog, customer, [(feature, units)], reply, at_s=at_s)
        windows = None if figures_ == NOT_GRANTED else figures(figures_)  # type: ignore[arg-type]
        fresh = deny(catalog, holding, customer, feature, units, windows, at_s=at_s)
        assert found == fresh
        # What was put into words for one like it says the same, whoever it was for, and whenever.
        assert facts_of(found) == facts_of(fresh)
        ours, theirs = denied(found, at_s), denied(fresh, at_s)
        assert (ours.form, ours.lines, ours.body) == (theirs.form, theirs.lines, theirs.body)
        # One that is changed afterwards does not say what it said before.
        changed = found._replace(degraded=True)
        assert facts_of(changed) == facts_of(fresh._replace(degraded=True))
        told += 1
    assert told == 6 * 4 * 7 * 2 * 2
