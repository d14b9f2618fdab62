"""The catalog as one JSON document: ``from_document(to_document(catalog)) == catalog``.

A revision stores it. What has an order is a list, because ``jsonb`` keeps no order of keys. Every
field is written out, so that a default changed later does not change what an old revision meant; a
field that an old document has not heard of takes its present default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from api.domain.catalog import AddOn, Catalog, Plan

Document = dict[str, Any]

Holder = TypeVar("Holder", Plan, AddOn)


def to_document(catalog: Catalog) -> Document:
    """Return ``catalog`` as objects, lists, texts and numbers; equal catalogs give equal ones."""
    bare = replace(
        catalog, features={}, customer_types={}, plans={}, add_ons={}, costs={}, packs={}
    )
    return _built(bare) | {
        "features": [_built(feature) for feature in catalog.features.values()],
        "customer_types": [_built(kind) for kind in catalog.customer_types.values()],
        "plans": [_holder(plan) for plan in catalog.plans.values()],
        "add_ons": [_holder(add_on) for add_on in catalog.add_ons.values()],
        "costs": [_built(cost) for cost in catalog.costs.values()],
        "packs": [_built(pack) for pack in catalog.packs.values()],
    }


def from_document(document: Mapping[str, Any]) -> Catalog:
    """Return the catalog that ``document`` was made from.

    Raises:
        msgspec.ValidationError: When it was made from none.
    """
    keyed = {
        "features": _by("key", document["features"]),
        "customer_types": _by("key", document["customer_types"]),
        "plans": _by("key", map(_keyed_holder, document["plans"])),
        "add_ons": _by("key", map(_keyed_holder, document["add_ons"])),
        "costs": _by("feature", document.get("costs", ())),
        "packs": _by("key", document.get("packs", ())),
    }
    catalog = msgspec.convert({**document, **keyed}, Catalog)
    return replace(
        catalog,
        features=MappingProxyType(catalog.features),
        customer_types=MappingProxyType(catalog.customer_types),
        plans=MappingProxyType({key: _frozen(plan) for key, plan in catalog.plans.items()}),
        add_ons=MappingProxyType({key: _frozen(part) for key, part in catalog.add_ons.items()}),
        costs=MappingProxyType(catalog.costs),
        packs=MappingProxyType(catalog.packs),
    )


def _built(part: object) -> Document:
    # "deterministic" sorts sets, whose own order differs between processes.
    built: Document = msgspec.to_builtins(part, order="deterministic")
    return built


def _holder(holder: Plan | AddOn) -> Document:
    offers = [_built(offer) for offer in holder.features.values()]
    return _built(replace(holder, features={})) | {"features": offers}


def _keyed_holder(row: Mapping[str, Any]) -> Document:
    return {**row, "features": _by("feature", row["features"])}


def _by(key: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {row[key]: row for row in rows}


def _frozen(holder: Holder) -> Holder:
    return replace(holder, features=MappingProxyType(holder.features))
