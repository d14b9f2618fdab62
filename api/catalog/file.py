"""The catalog as a file: TOML in, a whole and consistent catalog out, or every reason why not."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from api.catalog.consistency import check, never_resets
from api.catalog.credits import read_costs, read_packs
from api.catalog.fields import Notes, Table, name_of, shown
from api.catalog.positions import key_lines
from api.catalog.problems import CatalogError, Problem
from api.catalog.sales import read_add_ons, read_plans
from api.domain.catalog import (
    MAX_UNITS,
    Audience,
    Catalog,
    CustomerType,
    Durability,
    Feature,
    FeatureKind,
    OutageMode,
    OutagePolicy,
    PastDuePolicy,
)

DEFAULT_REPLAY_SECONDS = 600
MAX_REPLAY_SECONDS = 86_400
MAX_LETTERS = 1_000_000

_COUNTED = frozenset({FeatureKind.METERED, FeatureKind.ALLOCATION})
_SYNTAX = re.compile(r"(?P<reason>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)")


def load(path: Path) -> Catalog:
    """Read the catalog file at ``path``.

    Raises:
        CatalogError: With every problem, when anything is wrong with it.
        OSError: When it cannot be read.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CatalogError([Problem(str(path), line, "not UTF-8")]) from None
    return parse(text, str(path))


def parse(text: str, filename: str) -> Catalog:
    """Read a catalog from its text; ``filename`` only names it in problems.

    Raises:
        CatalogError: With every problem, when anything is wrong with it.
    """
    if len(text) > MAX_LETTERS:
        raise CatalogError([Problem(filename, 1, f"longer than {MAX_LETTERS} letters")])
    text = text.replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
        notes = Notes(filename, key_lines(text))
    except tomllib.TOMLDecodeError as error:
        raise CatalogError([_syntax(error, text, filename)]) from None
    except RecursionError:
        raise CatalogError([Problem(filename, 1, "not TOML: nested too deep")]) from None
    except ValueError:
        # Python refuses to read decimals past some thousands of digits, and tomllib lets it.
        raise CatalogError([Problem(filename, 1, "not TOML: a number too long")]) from None
    catalog = _catalog(Table(values, (), notes))
    if notes.problems:
        raise CatalogError(notes.problems)
    return catalog


def _syntax(error: tomllib.TOMLDecodeError, text: str, filename: str) -> Problem:
    last = text.count("\n") + 1
    found = _SYNTAX.fullmatch(str(error))
    reason = found["reason"] if found else str(error)
    line = int(found["line"]) if found and found["line"] else last
    twice = ", it stands twice" if reason == "Cannot overwrite a value" else ""
    return Problem(filename, line, f"not TOML: {reason}{twice}")


def _catalog(root: Table) -> Catalog:
    product = root.text("product")
    access, grace_days, notice = _past_due(root)
    features = _features(root)
    types = root.table("customer_types")
    plan_table = root.table("plans")
    type_keys = types.names() if types is not None else []
    plan_keys = plan_table.names() if plan_table is not None else []
    for key in ("features", "customer_types", "plans"):
        if root.raw(key) is None:
            root.missing(key)
        elif root.raw(key) == {}:
            root.note(key, f"{key} must hold at least one")
    kinds = {key: feature.kind if feature else None for key, feature in features.items()}
    costs = read_costs(root, kinds)
    catalog = Catalog(
        product=product,
        features=MappingProxyType({key: f for key, f in features.items() if f is not None}),
        plans=MappingProxyType(read_plans(root, kinds, type_keys)),
        add_ons=MappingProxyType(read_add_ons(root, kinds, plan_keys)),
        customer_types=MappingProxyType(_customer_types(root, plan_keys)),
        default_customer_type=_default_type(root, type_keys),
        past_due=access,
        grace_days=grace_days,
        past_due_notice=notice,
        trial_reminder_days=_trial_reminder_days(root),
        costs=MappingProxyType(costs),
        packs=MappingProxyType(read_packs(root, kinds, costs, type_keys)),
    )
    root.close()
    written = {key: _writes(plan_table, key, "rank") for key in catalog.plans}
    check(catalog, written, root.notes)
    return _with_durability(root, catalog)


def _writes(outer: Table | None, name: str, key: str) -> bool:
    inner = outer.raw(name) if outer is not None else None
    return isinstance(inner, dict) and key in inner


def _features(root: Table) -> dict[str, Feature | None]:
    """Read every declared feature, None where its kind could not be told."""
    features: dict[str, Feature | None] = {}
    for key, table in root.tables("features", "feature"):
        if "kind" not in table:
            table.missing("kind")
        kind = table.choice("kind", FeatureKind)
        feature = Feature(
            key=key,
            name=table.text("name", default=name_of(key)),
            kind=kind or FeatureKind.BOOLEAN,
            unit=table.text("unit", default="") or None,
            durability=table.choice("durability", Durability) or Durability.FAST,
            outage=_outage(table),
            replay_seconds=table.whole("replay_seconds", 1, MAX_REPLAY_SECONDS)
            or DEFAULT_REPLAY_SECONDS,
        )
        table.close()
        features[key] = feature if kind is not None else None
        if kind is not None and kind not in _COUNTED:
            for counted in ("durability", "replay_seconds"):
                if counted in table:
                    table.note(counted, f"a {kind} feature is not counted: it has no {counted}")
            if feature.outage.mode is OutageMode.BOUNDED:
                table.note("outage", f"a {kind} feature is not counted: it has no bound")
    return features


def _outage(table: Table) -> OutagePolicy:
    value = table.raw("outage")
    if isinstance(value, dict):
        bounded = Table(value, (*table.path, "outage"), table.notes)
        if "bounded" not in bounded:
            bounded.missing("bounded")
        units = bounded.whole("bounded", 1, MAX_UNITS)
        bounded.close()
        return OutagePolicy(OutageMode.BOUNDED, units or 0)
    if value is None:
        return OutagePolicy()
    if value not in ("closed", "open"):
        table.note(
            "outage",
            f'outage must be "closed", "open" or {{ bounded = units }}, not {shown(value)}',
        )
        return OutagePolicy()
    return OutagePolicy(OutageMode(str(value)))


def _past_due(root: Table) -> tuple[PastDuePolicy, int | None, Audience]:
    """Read what happens to paid access when a payment fails, as one word or as a table."""
    if not isinstance(root.raw("past_due"), dict):
        access = root.choice("past_due", PastDuePolicy)
        return access or PastDuePolicy.KEEP, None, Audience.CUSTOMER
    table = root.table("past_due")
    if table is None:
        return PastDuePolicy.KEEP, None, Audience.CUSTOMER
    access = table.choice("access", PastDuePolicy) or PastDuePolicy.KEEP
    grace_days = table.whole("grace_days", 1, 365)
    if grace_days is not None and access is PastDuePolicy.WITHDRAW:
        table.note("grace_days", "access is withdrawn at once: there are no days of grace")
    notice = table.choice("notice", Audience) or Audience.CUSTOMER
    table.close()
    return access, grace_days, notice


def _trial_reminder_days(root: Table) -> int:
    table = root.table("trials")
    if table is None:
        return 3
    days = table.whole("reminder_days", 0, 60)
    table.close()
    return 3 if days is None else days


def _customer_types(root: Table, plans: Collection[str]) -> dict[str, CustomerType]:
    types: dict[str, CustomerType] = {}
    for key, table in root.tables("customer_types", "customer type"):
        if "default_plan" not in table:
            table.missing("default_plan")
        types[key] = CustomerType(
            key=key,
            name=table.text("name", default=name_of(key)),
            default_plan=table.reference("default_plan", plans, "plan") or "",
            several_subscriptions=table.flag("several_subscriptions", default=False),
        )
        table.close()
    return types


def _default_type(root: Table, types: list[str]) -> str:
    if "default_customer_type" not in root and len(types) > 1:
        root.note("default_customer_type", "default_customer_type is missing: which of several?")
    default = root.reference("default_customer_type", types, "customer type")
    return default or next(iter(types), "")


def _with_durability(root: Table, catalog: Catalog) -> Catalog:
    """Journal what never resets: a forgotten unit of it would be forgotten for good."""
    features: dict[str, Feature] = {}
    table = root.table("features")
    for key, feature in catalog.features.items():
        features[key] = feature
        if not never_resets(catalog, key):
            continue
        if feature.durability is Durability.FAST and _writes(table, key, "durability"):
            what = "an allocation" if feature.kind is FeatureKind.ALLOCATION else "a lifetime limit"
            root.notes.add(
                ("features", key, "durability"),
                f"{what} never resets, so {key} is always journaled: it cannot be fast",
            )
        features[key] = replace(feature, durability=Durability.JOURNALED)
    return replace(catalog, features=MappingProxyType(features))
