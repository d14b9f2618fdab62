import asyncio

import pytest

from api.catalog import audit
from api.catalog.customers import CustomerInput
from api.domain.errors import InvalidInput, UnknownCustomer
from tests.catalog.conftest import Store
from tests.support.builders import instant

AT = instant("2026-03-10 10:00")


async def test_a_new_customer_takes_the_catalogs_defaults(store: Store) -> None:
    made = await store.customer("acme", AT)
    assert (made.type, made.timezone, made.name, made.email) == ("business", "UTC", None, None)
    assert (made.created_at, made.version, made.catalog_revision) == (AT, 1, 1)
    assert await store.customers.get("acme") == made
    assert await store.told_version("acme") == 1


async def test_what_is_not_given_stays(store: Store) -> None:
    await store.customer("acme", AT, name="Acme", email="a@acme.example", timezone="Asia/Tokyo")
    changed = await store.customer("acme", AT, name="Acme Ltd")
    assert (changed.name, changed.email) == ("Acme Ltd", "a@acme.example")
    assert (changed.timezone, changed.type) == ("Asia/Tokyo", "business")


async def test_a_name_changes_no_rights_and_so_no_version(store: Store) -> None:
    made = await store.customer("acme", AT)
    assert (await store.customer("acme", AT, name="Acme")).version == made.version


async def test_a_type_and_a_zone_change_rights_and_so_the_version(store: Store) -> None:
    await store.customer("acme", AT)
    assert (await store.customer("acme", AT, type="person")).version == 2
    assert (await store.customer("acme", AT, timezone="Asia/Tokyo")).version == 3
    assert await store.told_version("acme") == 3


async def test_the_same_twice_changes_nothing_more(store: Store) -> None:
    given = {"type": "person", "name": "Ada", "email": "ada@x.example", "timezone": "Asia/Tokyo"}
    first = await store.customer("ada", AT, **given)
    assert await store.customer("ada", instant("2026-03-11"), **given) == first
    acts = await audit.list_(store.database, customer_id=first.id)
    assert [act.action for act in acts] == ["customer.create"]


async def test_the_audit_log_says_what_changed_and_names_nobody(store: Store) -> None:
    made = await store.customer("ada", AT, name="Ada", email="ada@x.example")
    await store.customer("ada", AT, timezone="Asia/Tokyo")
    acts = await audit.list_(store.database, customer_id=made.id)
    assert [(a.action, a.detail["timezone"]) for a in acts] == [
        ("customer.change", "Asia/Tokyo"),
        ("customer.create", "UTC"),
    ]
    assert "Ada" not in str(acts)
    assert "x.example" not in str(acts)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (CustomerInput(""), "1 to 200 characters"),
        (CustomerInput("k" * 201), "1 to 200 characters"),
        (CustomerInput("a\nb"), "no control characters"),
        (CustomerInput("a\x00b"), "no control characters"),
        (CustomerInput("a\x7fb"), "no control characters"),
        (CustomerInput("é\x85"), "no control characters"),
        (CustomerInput("é\u2028"), "no control characters"),
        (CustomerInput("\ud800"), "no control characters"),
        (CustomerInput("acme", type="school"), "no customer type 'school'; there is business"),
        (CustomerInput("acme", type=""), "no customer type"),
        (CustomerInput("acme", timezone="Mars/Olympus"), "no time zone 'Mars/Olympus'"),
        (CustomerInput("acme", timezone="europe/berlin"), "did you mean 'Europe/Berlin'"),
        (CustomerInput("acme", timezone="../../etc/passwd"), "no time zone"),
        (CustomerInput("acme", timezone=""), "no time zone"),
        (CustomerInput("acme", timezone="America"), "no time zone"),
        (CustomerInput("acme", timezone="Z" * 5000), "no time zone"),
        (CustomerInput("acme", email="nobody"), "e-mail"),
        (CustomerInput("acme", email="@x.example"), "e-mail"),
        (CustomerInput("acme", email="a b@x.example"), "e-mail"),
        (CustomerInput("acme", email="a@x.example\r\nBcc: b@x.example"), "e-mail"),
        (CustomerInput("acme", name="n" * 201), "name"),
        (CustomerInput("acme", name="A\x1b[31m"), "name"),
    ],
    ids=lambda v: repr(v)[:60] if isinstance(v, CustomerInput) else None,
)
async def test_what_cannot_be_kept_is_refused_and_changes_nothing(
    store: Store, given: CustomerInput, told: str
) -> None:
    made = await store.customer("acme", AT, timezone="Asia/Tokyo")
    with pytest.raises(InvalidInput, match=told):
        await store.changes.upsert_customer(given, AT, "tester")
    assert await store.customers.list_() == [made]


@pytest.mark.parametrize("key", ["k", "k" * 200, "名前", "a b", "org:42/üser", "🏢"])
async def test_a_key_is_the_products_own_name(store: Store, key: str) -> None:
    made = await store.customer(key, AT)
    assert await store.customers.find(key) == made
    assert await store.told_version(key) == 1


@pytest.mark.parametrize("key", ["nobody", "", "a\x00b", "\ud800", "k" * 201])
async def test_who_is_not_there_is_not_found(store: Store, key: str) -> None:
    assert await store.customers.find(key) is None
    with pytest.raises(UnknownCustomer):
        await store.customers.get(key)
    assert await store.customers.by_keys([key]) == {}


async def test_twenty_who_create_one_customer_make_one(store: Store) -> None:
    made = await asyncio.gather(*(store.customer("acme", AT, name="Acme") for _ in range(20)))
    assert len({customer.id for customer in made}) == 1
    assert await store.customers.list_() == [made[0]]
    assert made[0].version == 1


async def test_changes_at_once_all_count_and_the_last_one_is_told(store: Store) -> None:
    made = await store.customer("acme", AT)
    zones = ["Asia/Tokyo", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]
    await asyncio.gather(*(store.customer("acme", AT, timezone=zone) for zone in zones))
    found = await store.customers.get("acme")
    assert found.version == made.version + len(zones)
    assert await store.told_version("acme") == found.version
    assert (await store.row(made.id))["published_version"] == found.version


async def test_customers_are_found_by_address_in_whatever_case(store: Store) -> None:
    first = await store.customer("one", AT, email="Ada@X.example")
    second = await store.customer("two", AT, email="ada@x.example")
    await store.customer("three", AT, email="bob@x.example")
    assert await store.customers.find_by_email("ADA@x.EXAMPLE") == [first, second]
    assert await store.customers.find_by_email("nobody") == []


async def test_customers_are_listed_a_page_at_a_time(store: Store) -> None:
    made = [await store.customer(f"c{i}", AT) for i in range(5)]
    assert await store.customers.list_(first=2) == made[:2]
    assert await store.customers.list_(first=10, after=made[1].id) == made[2:]
    assert await store.customers.list_(first=-1) == []


async def test_several_are_read_at_once(store: Store) -> None:
    one, two = await store.customer("one", AT), await store.customer("two", AT)
    assert await store.customers.many([one.id, two.id, 999]) == {one.id: one, two.id: two}
    assert await store.customers.by_keys(["two", "nobody"]) == {"two": two}
    held = await store.customers.many_facts([one.id, two.id, 999])
    assert {f.key for f in held.values()} == {"one", "two"}
    entitled = await store.customers.entitled([one.id], AT)
    assert entitled[one.id].entitlements.plan == "free"
