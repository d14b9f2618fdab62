"""What a customer may not ask, or cannot mean: told precisely, and nothing changes at Stripe."""

from copy import deepcopy
from typing import Any

import pytest

from tests.support.dealing import Dealing

OWN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("createCheckout", {"plan": "pro"}),
    ("createPortalSession", {}),
    ("changePlan", {"plan": "pro"}),
    ("cancelSubscription", {}),
    ("resumeSubscription", {}),
    ("setAddOnQuantity", {"addOn": "firm_addon", "quantity": 1}),
    ("applyPromotionCode", {"code": "HALF"}),
)
PREVIEW = """
query ($input: PlanPreviewInput!) { previewPlanChange(input: $input) { currency } }
"""
LARGEST = 10_000


def held(deal: Dealing) -> Any:  # noqa: ANN401 - objects of any kind
    """Return all that an action could change at Stripe."""
    kinds = ("subscription", "subscription_schedule", "checkout.session", "invoice", "refund")
    return deepcopy([deal.stripe.all(kind) for kind in kinds])


async def told(deal: Dealing, field: str, *, as_: str = "token", **given: Any) -> tuple[str, str]:
    """Ask in vain; return the error's code and message, once nothing has changed anywhere."""
    before, posts = held(deal), deal.stripe.faults.asked(method="POST")
    standing = await deal.standing()
    said = await deal.say(field, as_=as_, **given)
    (error,) = said["errors"]
    assert (said["data"] or {}).get(field) is None
    assert (held(deal), deal.stripe.faults.asked(method="POST")) == (before, posts)
    assert await deal.standing() == standing
    assert standing["pendingOperations"] == []
    return error["extensions"]["code"], error["message"]


@pytest.mark.parametrize(("field", "given"), OWN)
async def test_without_the_scope_to_manage_nothing_is_bought(
    deal: Dealing, field: str, given: dict[str, Any]
) -> None:
    await deal.subscribe("firm")
    token = deal.site.token("acme", "check", "consume")
    code, message = await told(deal, field, as_=token, **given)
    assert (code, "'manage'" in message) == ("FORBIDDEN", True)


async def test_without_the_scope_to_manage_nothing_is_previewed(deal: Dealing) -> None:
    await deal.subscribe("starter")
    token = deal.site.token("acme", "check", "consume")
    (error,) = (await deal.post(PREVIEW, as_=token, input={"plan": "pro"}))["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"


async def test_what_cannot_be_changed_to_is_not_previewed(deal: Dealing) -> None:
    await deal.subscribe("starter")
    off = deal.door.api.v1.prices.update_async(deal.price("pro"), {"active": False})
    await deal.door.api.ask(off)
    for plan, code, status in (
        ("nothing", "INVALID_INPUT", 400),
        ("pro", "PROVIDER_REFUSED", 409),
    ):
        (error,) = (await deal.post(PREVIEW, input={"plan": plan}))["errors"]
        said = error["extensions"]
        assert (said["code"], said["status"]) == (code, status), error


@pytest.mark.parametrize(
    ("field", "given"),
    [one for one in OWN if one[0] not in ("createCheckout", "createPortalSession")],
)
async def test_another_s_subscription_is_not_found(
    deal: Dealing, field: str, given: dict[str, Any]
) -> None:
    theirs = await deal.subscribe("firm", key="globex")
    code, message = await told(deal, field, subscription=theirs, **given)
    assert (code, "no such subscription" in message) == ("NOT_FOUND", True)
    await deal.subscribe("firm")
    code, message = await told(deal, field, subscription=theirs, **given)
    assert (code, "no such subscription" in message) == ("NOT_FOUND", True)


@pytest.mark.parametrize(
    ("field", "given", "code", "said"),
    [
        ("changePlan", {"plan": "nothing"}, "INVALID_INPUT", "no plan 'nothing'"),
        ("changePlan", {"plan": ""}, "INVALID_INPUT", "no plan ''"),
        ("changePlan", {"plan": "free"}, "INVALID_INPUT", "'free' has no such price"),
        ("changePlan", {"plan": "firm"}, "PROVIDER_REFUSED", "already"),
        ("changePlan", {"plan": "firm", "when": "PERIOD_END"}, "PROVIDER_REFUSED", "already"),
        ("setAddOnQuantity", {"addOn": "no", "quantity": 1}, "INVALID_INPUT", "'no' is not sold"),
        (
            "setAddOnQuantity",
            {"addOn": "firm_addon", "quantity": 0},
            "PROVIDER_REFUSED",
            "does not hold it",
        ),
        (
            "setAddOnQuantity",
            {"addOn": "firm_addon", "quantity": -1},
            "INVALID_INPUT",
            "0 to 10,000",
        ),
        (
            "setAddOnQuantity",
            {"addOn": "firm_addon", "quantity": LARGEST + 1},
            "INVALID_INPUT",
            "0 to 10,000",
        ),
        ("createCheckout", {"plan": "pro", "quantity": 0}, "INVALID_INPUT", "1 to 10,000"),
        ("createCheckout", {"plan": "pro", "quantity": -5}, "INVALID_INPUT", "1 to 10,000"),
        ("createCheckout", {"plan": "pro", "quantity": LARGEST + 1}, "INVALID_INPUT", "10,000"),
        (
            "createCheckout",
            {"plan": "firm", "addOns": [{"addOn": "firm_addon", "quantity": 0}]},
            "INVALID_INPUT",
            "1 to 10,000",
        ),
        (
            "createCheckout",
            {"plan": "pro", "addOns": [{"addOn": "firm_addon", "quantity": 1}]},
            "INVALID_INPUT",
            "not sold beside pro",
        ),
        ("createCheckout", {"plan": "pro"}, "INVALID_INPUT", "holds firm already"),
        ("createCheckout", {"plan": "pro", "pack": "x"}, "INVALID_INPUT", "a plan or a pack"),
        ("createCheckout", {"pack": "x"}, "INVALID_INPUT", "no pack 'x'"),
        (
            "applyPromotionCode",
            {"code": "NOTHING"},
            "PROVIDER_REFUSED",
            "no such promotion code",
        ),
        ("applyPromotionCode", {"code": ""}, "PROVIDER_REFUSED", "no such promotion code"),
    ],
)
async def test_what_cannot_be_meant_is_told_precisely(
    deal: Dealing, field: str, given: dict[str, Any], code: str, said: str
) -> None:
    await deal.subscribe("firm")
    found, message = await told(deal, field, **given)
    assert (found, said in message) == (code, True), message


@pytest.mark.parametrize("number", [2**31, 1.5, "many", None])
async def test_a_quantity_that_is_no_number_is_told(deal: Dealing, number: object) -> None:
    await deal.subscribe("firm")
    before = held(deal)
    said = await deal.say("setAddOnQuantity", addOn="firm_addon", quantity=number)
    (error,) = said["errors"]
    assert "quantity" in error["message"]
    assert held(deal) == before


async def test_the_same_plan_takes_a_scheduled_change_back_and_then_is_no_change(
    deal: Dealing,
) -> None:
    await deal.subscribe("pro")
    await deal.done("changePlan", plan="starter", when="PERIOD_END")
    await deal.work()
    await deal.done("changePlan", plan="pro")
    await deal.work()
    (schedule,) = deal.stripe.all("subscription_schedule")
    assert schedule["status"] == "released"
    code, message = await told(deal, "changePlan", plan="pro")
    assert (code, "already" in message) == ("PROVIDER_REFUSED", True)


async def test_who_holds_nothing_has_nothing_to_change(deal: Dealing) -> None:
    for field, given in OWN[2:]:
        code, message = await told(deal, field, **given)
        assert (code, "no such subscription" in message) == ("NOT_FOUND", True)
