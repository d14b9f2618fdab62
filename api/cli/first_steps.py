"""What to try first on a server for development, in what its catalog really sells."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from api.cli.development import CUSTOMER, Development
from api.domain.admission import COUNTED_KINDS
from api.domain.catalog import Catalog, Feature, FeatureKind, Limit, Plan, WindowKind
from api.domain.codes import ALLOCATION_EXCEEDED, CAP_CODES
from api.domain.credits import cost_of

PLAYED = (frozenset({"tx_analyze", "tx_post"}), frozenset({"free", "starter", "pro"}))
"""Features and plans in which ``headroom demo`` plays."""
FEWEST_CREDITS = 100


def first_steps(made: Development, catalog: Catalog, data_dir: Path | None) -> str:
    """Return what to try next; every line works when pasted into a shell."""
    folder = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    steps = "\n\n".join(f"  {step}" for step in _steps(made, catalog, folder))
    return f"\nTry, in another terminal:\n\n{steps}\n\nCtrl-C stops everything.\n"


def _steps(made: Development, catalog: Catalog, folder: str) -> Iterator[str]:
    base = made.address
    plan = catalog.default_plan(catalog.default_customer_type)
    counted = _limited(catalog, plan)
    asked = "plan { key }"
    if counted is not None:
        consume = _curl(made, "/v1/consume", _asking(counted.key))
        check = _curl(made, "/v1/check", _asking(counted.key))
        reach = _reach(counted, plan)
        yield f"# May this customer do this now? Count it.{reach}\n  {consume}"
        yield f"# The same question, without counting.\n  {check}"
        asked += (
            f' entitlement(feature: \\"{counted.key}\\")'
            " { windows { window used remaining resetsAt } }"
        )
    costing = _costing(catalog, plan)
    if costing is not None:
        price = cost_of(catalog.costs[costing.key], 1)
        given = max(FEWEST_CREDITS, 10 * price)
        consume = _curl(made, "/v1/consume", _asking(costing.key))
        yield (
            f"# Some actions cost credits: {costing.key} is {price} for one. Give some, and spend"
            " them.\n"
            f"  {_command()} credits grant {CUSTOMER} {given} --reason 'to try it'{folder}\n"
            f"  {consume}"
        )
    query = f'{{"query":"{{ customer(key: \\"{CUSTOMER}\\") {{ {asked} }} }}"}}'
    yield f"# What is left, in GraphQL.\n  {_curl(made, '/graphql', query, admin=True)}"
    yield (
        f"# GraphiQL in a browser, with an admin key filled in: {base}/graphql#key={made.admin_key}"
    )
    features, plans = PLAYED
    if features <= catalog.features.keys() and plans <= catalog.plans.keys():
        yield (
            "# One customer's life, from the first refusal to a cancelled subscription.\n"
            f"  {_command()} demo{folder}"
        )


def _limited(catalog: Catalog, plan: Plan) -> Feature | None:
    """Return what shows most when it is counted: what the plan limits, best where it resets."""

    def plainness(feature: Feature) -> tuple[bool, bool, bool]:
        return (
            _limit(feature, plan) is None,
            feature.kind is not FeatureKind.METERED,
            feature.key in catalog.costs,
        )

    counted = (f for f in catalog.features.values() if f.kind in COUNTED_KINDS)
    return min(counted, key=plainness, default=None)


def _costing(catalog: Catalog, plan: Plan) -> Feature | None:
    """Return what the plan gives for credits, best what it includes nothing of."""
    given = [plan.features[key] for key in catalog.costs if key in plan.features]
    sold = [g for g in given if g.enabled and all(limit.units != 0 for limit in g.limits)]
    first = min(sold, key=lambda g: any(limit.overage for limit in g.limits), default=None)
    return None if first is None else catalog.features[first.feature]


def _limit(feature: Feature, plan: Plan) -> Limit | None:
    given = plan.features.get(feature.key)
    return None if given is None else next((x for x in given.limits if x.units), None)


def _reach(feature: Feature, plan: Plan) -> str:
    limit = _limit(feature, plan)
    if limit is None:
        return ""
    whole = limit.window is WindowKind.LIFETIME
    until = "in all" if whole else f"per {limit.window.value.replace('_', ' ')}"
    if limit.overage:
        return f" The plan {plan.key} includes {limit.units} {until}."
    held = feature.kind is FeatureKind.ALLOCATION
    code = limit.code or (ALLOCATION_EXCEEDED if held else CAP_CODES[limit.window])
    return f" The plan {plan.key} gives {limit.units} {until}, then {code}."


def _asking(feature: str) -> str:
    return f'{{"customer":"{CUSTOMER}","feature":"{feature}"}}'


def _curl(made: Development, path: str, body: str, *, admin: bool = False) -> str:
    key = made.admin_key if admin else made.consume_key
    return (
        f"curl {'' if admin else '-i '}{made.address}{path} -H 'Authorization: Bearer {key}'"
        f" -H 'Content-Type: application/json' -d '{body}'"
    )


def _command() -> str:
    """Return how this program was started, as it can be typed again."""
    program = Path(sys.argv[0])
    try:
        return str(program.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(program)
