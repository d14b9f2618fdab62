import json

import orjson
from hypothesis import given

from api.catalog.document import from_document, to_document
from api.domain.catalog import Catalog, Durability, Plan
from tests.support.catalogs import catalogs


@given(catalogs())
def test_a_document_gives_its_catalog_back(catalog: Catalog) -> None:
    document = to_document(catalog)

    assert from_document(json.loads(json.dumps(document))) == catalog
    assert from_document(orjson.loads(orjson.dumps(document))) == catalog


@given(catalogs())
def test_order_survives_a_store_that_sorts_keys(catalog: Catalog) -> None:
    stored = json.loads(json.dumps(to_document(catalog), sort_keys=True))

    restored = from_document(stored)

    assert list(restored.features) == list(catalog.features)
    assert list(restored.plans) == list(catalog.plans)
    for key, plan in catalog.plans.items():
        assert list(restored.plans[key].features) == list(plan.features)
        assert restored.plans[key].prices == plan.prices
    assert list(restored.costs) == list(catalog.costs)
    assert list(restored.packs) == list(catalog.packs)


@given(catalogs())
def test_equal_catalogs_give_equal_documents(catalog: Catalog) -> None:
    again = from_document(json.loads(json.dumps(to_document(catalog))))

    assert json.dumps(to_document(again)) == json.dumps(to_document(catalog))


@given(catalogs())
def test_a_restored_catalog_cannot_be_changed(catalog: Catalog) -> None:
    restored = from_document(to_document(catalog))

    assert type(restored.plans).__name__ == "mappingproxy"
    kept = [restored.costs, restored.packs, *(p.features for p in restored.plans.values())]
    kept += [a.features for a in restored.add_ons.values()]
    assert {type(features).__name__ for features in kept} == {"mappingproxy"}


def test_a_field_that_an_old_document_has_not_heard_of_takes_its_default() -> None:
    restored = from_document(
        {
            "product": "paper",
            "features": [{"key": "posts", "name": "Posts", "kind": "metered"}],
            "customer_types": [{"key": "person", "name": "Person", "default_plan": "free"}],
            "plans": [{"key": "free", "name": "Free", "features": []}],
            "add_ons": [],
            "default_customer_type": "person",
        }
    )

    assert restored.features["posts"].durability is Durability.FAST
    assert restored.plans["free"] == Plan("free", "Free")
    assert restored.trial_reminder_days == 3
    assert (restored.costs, restored.packs) == ({}, {})
