"""Pushes of a catalog: of every kind of thing for sale, and after something changed."""

from collections.abc import AsyncGenerator

import pytest

from api.billing.shelf import Act
from api.catalog.file import parse
from api.domain.errors import InvalidInput, Unavailable
from api.infra.postgres import Database
from tests.support.clock import FakeClock
from tests.support.pushing import CATALOG, DEARER, KEYS, STEPS, TEXT, Shop, catalog, pushing


@pytest.fixture
async def shop(database: Database, clock: FakeClock) -> AsyncGenerator[Shop]:
    async with pushing(database, clock) as opened:
        yield opened


async def test_plans_of_several_prices_add_ons_and_packs_are_all_sold_and_named(
    shop: Shop,
) -> None:
    pushed = await shop.push()
    assert len(pushed.done) == STEPS
    assert {one["lookup_key"] for one in shop.sim.all("price")} == KEYS
    terms = {
        key: (price["unit_amount"], price["currency"], (price["recurring"] or {}).get("interval"))
        for key in KEYS
        for price in [shop.price(key)]
    }
    assert terms == {
        "builder_monthly": (4900, "usd", "month"),
        "builder_annual": (49000, "usd", "year"),
        "builder_monthly_eur": (4500, "eur", "month"),
        "studio": (9900, "usd", "month"),
        "firm_addon": (1900, "usd", "month"),
        "boost": (1000, "usd", None),
        "boost_eur": (900, "eur", None),
    }
    builder = {shop.price(f"builder_{which}")["product"] for which in ("monthly", "annual")}
    assert builder == {"headroom_shop_plan_builder"}
    assert pushed.names == {
        "STRIPE_PRODUCT_BUILDER": "headroom_shop_plan_builder",
        "STRIPE_PRODUCT_STUDIO": "headroom_shop_plan_studio",
        "STRIPE_PRODUCT_FIRM_ADDON": "headroom_shop_add_on_firm_addon",
        "STRIPE_PRODUCT_BOOST": "headroom_shop_pack_boost",
        **{f"STRIPE_PRICE_{key.upper()}": shop.price(key)["id"] for key in KEYS},
    }


async def test_a_second_push_writes_nothing_there_and_nothing_on_record(shop: Shop) -> None:
    await shop.push()
    before, acts = shop.writes, await shop.acts()
    assert before == STEPS
    again = await shop.push()
    assert (again.plan.steps, again.plan.gone, again.done) == ((), (), ())
    assert (shop.writes, await shop.acts()) == (before, acts)


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("builder_monthly", "amount_minor = 4900,", "amount_minor = 5900,"),
        (
            "builder_annual",
            'amount_minor = 49000, currency = "usd"',
            'amount_minor = 49000, currency = "gbp"',
        ),
        (
            "studio",
            'amount_minor = 9900, currency = "usd", interval = "month"',
            'amount_minor = 9900, currency = "usd", interval = "year"',
        ),
        ("firm_addon", "amount_minor = 1900,", "amount_minor = 1500,"),
        ("boost", "amount_minor = 1000,", "amount_minor = 1200,"),
    ],
)
async def test_a_price_with_other_terms_is_replaced_and_never_edited(
    shop: Shop, key: str, old: str, new: str
) -> None:
    await shop.push()
    before = shop.price(key)
    others = {one["id"]: dict(one) for one in shop.sim.all("price") if one["id"] != before["id"]}
    pushed = await shop.push(catalog((old, new)))
    assert [step.act for step in pushed.done] == [Act.REPLACE_PRICE, Act.RETIRE_PRICE]
    now, then = shop.price(key), shop.sim.get(before["id"])
    assert now["id"] != before["id"]
    assert (now["active"], now["product"]) == (True, before["product"])
    assert pushed.names[f"STRIPE_PRICE_{key.upper()}"] == now["id"]
    assert (then["active"], then["lookup_key"]) == (False, None)
    kept = ("unit_amount", "currency", "recurring", "product", "metadata")
    assert [then[name] for name in kept] == [before[name] for name in kept]
    changed = [name for name in kept[:3] if now[name] != before[name]]
    assert len(changed) == 1
    assert all(shop.sim.get(id_) == one for id_, one in others.items())
    await shop.repeated(catalog((old, new)))


async def test_a_price_may_go_back_to_what_it_was_on_the_same_day(shop: Shop) -> None:
    await shop.push()
    first = shop.price("builder_monthly")["id"]
    for what, amount in ((DEARER, 5900), (CATALOG, 4900), (DEARER, 5900), (CATALOG, 4900)):
        await shop.push(what)
        assert shop.price("builder_monthly")["unit_amount"] == amount
        await shop.repeated(what)
    assert shop.sim.get(first)["active"] is False


async def test_a_new_name_changes_the_product_in_place(shop: Shop) -> None:
    await shop.push()
    prices = [dict(one) for one in shop.sim.all("price")]
    renamed = catalog(('name = "Builder"', 'name = "Master builder"'))
    pushed = await shop.push(renamed)
    assert [(step.act, step.item) for step in pushed.done] == [(Act.CHANGE_PRODUCT, "plan:builder")]
    assert shop.sim.get("headroom_shop_plan_builder")["name"] == "Master builder"
    assert [dict(one) for one in shop.sim.all("price")] == prices
    await shop.repeated(renamed)


async def test_what_was_put_away_or_renamed_by_hand_is_as_the_catalog_says_again(
    shop: Shop,
) -> None:
    await shop.push()
    price = shop.price("studio")["id"]
    await shop.by_hand("headroom_shop_plan_studio", active=False)
    await shop.by_hand("headroom_shop_pack_boost", name="By hand")
    await shop.by_hand(price, active=False)
    pushed = await shop.push()
    assert sorted((step.act, step.item) for step in pushed.done) == [
        (Act.CHANGE_PRODUCT, "pack:boost"),
        (Act.CHANGE_PRODUCT, "plan:studio"),
        (Act.REVIVE_PRICE, "plan:studio"),
    ]
    assert shop.sim.get("headroom_shop_plan_studio")["active"] is True
    assert shop.sim.get("headroom_shop_pack_boost")["name"] == "100 credits"
    assert shop.price("studio")["id"] == price
    await shop.repeated(CATALOG)


async def test_a_product_deleted_by_hand_is_made_again_on_the_same_day(shop: Shop) -> None:
    def die(_done: int, _total: int, _step: object) -> None:
        shop.sim.faults.outage = True

    with pytest.raises(Unavailable):
        await shop.push(progress=die)
    shop.sim.faults.clear()
    (lonely,) = [one["id"] for one in shop.sim.all("product")]
    await shop.api.ask(shop.api.v1.products.delete_async(lonely))
    await shop.repeated(CATALOG)


async def test_a_price_that_lost_its_lookup_key_by_hand_is_sold_again(shop: Shop) -> None:
    await shop.push()
    lost = shop.price("studio")["id"]
    await shop.by_hand(lost, lookup_key="")
    await shop.push()
    assert shop.price("studio")["id"] != lost
    assert shop.sim.get(lost)["active"] is False
    await shop.repeated(CATALOG)


async def test_a_lookup_key_given_back_by_hand_is_moved_on_again_on_the_same_day(
    shop: Shop,
) -> None:
    await shop.push()
    old = shop.price("builder_monthly")["id"]
    await shop.push(DEARER)
    await shop.by_hand(old, lookup_key="builder_monthly", transfer_lookup_key=True, active=True)
    await shop.push(DEARER)
    assert shop.price("builder_monthly")["unit_amount"] == 5900
    await shop.repeated(DEARER)


async def test_a_plan_that_is_sold_no_more_is_told_of_left_alone_and_put_away_when_asked(
    shop: Shop,
) -> None:
    await shop.push()
    start = TEXT.index("[plans.studio]")
    end = TEXT.index("[add_ons.firm_addon]")
    fewer = parse(TEXT[:start] + TEXT[end:], "shop.toml")
    price, writes = shop.price("studio")["id"], shop.writes
    told = await shop.push(fewer)
    assert (told.plan.steps, told.done, shop.writes) == ((), (), writes)
    assert [(step.act, step.item) for step in told.plan.gone] == [
        (Act.RETIRE_PRICE, "plan:studio"),
        (Act.RETIRE_PRODUCT, "plan:studio"),
    ]
    assert "STRIPE_PRICE_STUDIO" not in told.names
    done = await shop.push(fewer, retire=True)
    assert [step.act for step in done.done] == [Act.RETIRE_PRICE, Act.RETIRE_PRODUCT]
    assert shop.sim.get(price)["active"] is False
    assert shop.sim.get("headroom_shop_plan_studio")["active"] is False
    assert shop.sim.get("headroom_shop_plan_builder")["active"] is True
    writes = shop.writes
    assert (await shop.push(fewer, retire=True)).plan.gone == ()
    assert shop.writes == writes


async def test_one_price_of_a_plan_that_is_sold_no_more_leaves_the_others_alone(
    shop: Shop,
) -> None:
    await shop.push()
    line = 'builder_monthly_eur = { amount_minor = 4500, currency = "eur", interval = "month" }'
    fewer = catalog((line, ""))
    told = await shop.push(fewer)
    assert [(step.act, step.name) for step in told.plan.gone] == [
        (Act.RETIRE_PRICE, "builder_monthly_eur")
    ]
    await shop.push(fewer, retire=True)
    assert shop.price("builder_monthly_eur")["active"] is False
    assert shop.price("builder_monthly")["active"] is True
    await shop.repeated(CATALOG)


async def test_a_price_that_lost_every_name_by_hand_is_sold_again_on_the_same_day(
    shop: Shop,
) -> None:
    await shop.push()
    lost = shop.price("studio")["id"]
    await shop.by_hand(lost, lookup_key="", metadata="", active=False)
    await shop.push()
    assert shop.price("studio")["id"] != lost
    assert (await shop.push()).plan.steps == ()


async def test_another_catalog_with_one_of_our_keys_is_refused_and_nothing_changed(
    shop: Shop,
) -> None:
    await shop.push()
    before = shop.writes
    with pytest.raises(InvalidInput, match="is of the catalog 'shop'"):
        await shop.push(catalog(('product = "shop"', 'product = "kiosk"')))
    assert shop.writes == before


async def test_another_catalog_in_the_same_account_is_left_alone(shop: Shop) -> None:
    await shop.push()
    held = shop.sim.all("price")
    renamed = [(f"\n{key} = ", f"\nkiosk_{key} = ") for key in KEYS]
    await shop.push(catalog(('product = "shop"', 'product = "kiosk"'), *renamed), retire=True)
    assert [one for one in shop.sim.all("price") if one["id"] in {p["id"] for p in held}] == held
    assert (await shop.push()).done == ()


async def test_a_product_that_somebody_made_is_told_of_before_it_becomes_ours(shop: Shop) -> None:
    v1 = shop.api.v1
    product = (await shop.api.ask(v1.products.create_async({"name": "By hand"}))).id
    await shop.api.ask(
        v1.prices.create_async(
            {
                "product": product,
                "currency": "usd",
                "unit_amount": 8900,
                "recurring": {"interval": "month"},
                "lookup_key": "studio",
                "tax_behavior": "inclusive",
            }
        )
    )
    pushed = await shop.push()
    said = [str(step) for step in pushed.plan.steps]
    assert "adopt product  plan:studio 'Studio' (instead of By hand)" in said
    assert shop.sim.get(product)["name"] == "Studio"
    assert shop.price("studio")["unit_amount"] == 9900
    assert shop.price("studio")["tax_behavior"] == "inclusive"
