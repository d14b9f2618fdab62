"""CAT-4: a school with several subscriptions has what all of them give together."""

from pathlib import Path
from typing import Any

from api.catalog.customers import CustomerInput
from api.domain.entitlements import SubscriptionStatus
from tests.support.clock import FakeClock
from tests.support.scene import Scene, scene, subscribe

LEARNING = (Path(__file__).parents[2] / "examples" / "learning.toml").read_text("utf-8")
RIGHTS = """
{ customer(key: "lincoln") { type entitlements {
  feature { key } granted value windows { limit }
} } }
"""


async def rights(books: Scene) -> dict[str, object]:
    customer = (await books.ask(RIGHTS))["customer"]
    assert customer["type"] == "school"
    return {found["feature"]["key"]: shown(found) for found in customer["entitlements"]}


def shown(right: dict[str, Any]) -> object:
    """Return the limit of what is limited, the value of what has one, else whether it is given."""
    if right["granted"] and right["windows"]:
        return right["windows"][0]["limit"]
    return right["value"] or right["granted"]


async def test_rights_are_those_of_all_active_subscriptions_and_follow_when_one_ends(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock, LEARNING) as books:
        at = clock.now()
        await books.core.changes.upsert_customer(CustomerInput("lincoln", "school"), at, "test")
        basic = await rights(books)
        assert (basic["learners"], basic["tutoring"]) == (30, False)

        await subscribe(books.core, "lincoln", "school", at, price="school_annual")
        assert (await rights(books))["tutoring"] == 20
        await subscribe(
            books.core, "lincoln", "tutoring", at, provider_id="sub-2", price="tutoring_monthly"
        )
        assert await rights(books) == {
            "learners": 500,
            "lessons": True,
            "tutoring": 200,
            "class_reports": True,
            "single_sign_on": False,
            "support": "phone",
        }
        assert (await books.consume("tutoring", 150, customer="lincoln")).status_code == 200

        clock.advance(days=1)
        canceled: dict[str, Any] = {"status": SubscriptionStatus.CANCELED, "ends_at": clock.now()}
        await subscribe(books.core, "lincoln", "school", at, price="school_annual", **canceled)
        left = await rights(books)
        assert (left["learners"], left["tutoring"]) == (50, 200)
        assert (left["lessons"], left["class_reports"]) == (False, False)
        spent = await books.consume("tutoring", 51, customer="lincoln")
        assert (spent.status_code, spent.json()["used"]) == (429, 150)  # no plan has more

        await subscribe(
            books.core,
            "lincoln",
            "tutoring",
            at,
            provider_id="sub-2",
            price="tutoring_monthly",
            **canceled,
        )
        assert await rights(books) == basic


async def test_a_customer_that_names_no_type_is_a_parent(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock, LEARNING) as books:
        asked = await books.ask('{ customer(key: "acme") { type plan { key } } }')
        assert asked["customer"] == {"type": "parent", "plan": {"key": "free"}}
        assert (await books.consume("lessons", 3)).status_code == 200
        assert (await books.consume("lessons")).status_code == 429
