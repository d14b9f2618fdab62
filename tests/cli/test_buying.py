"""What operators ask of Stripe at the command line, each command with the simulated one."""

from typing import Any

import pytest

from tests.support.stripe_process import RETURN, Selling

WHY = ("--reason", "a test")
REFUSED, TYPED_WRONGLY = 1, 2


def subscription(shop: Selling, customer: str) -> Any:  # noqa: ANN401 - an object
    return shop.stripe.subscription_of(customer)


def test_a_plan_is_previewed_and_changed_and_read_here(shop: Selling, payer: str) -> None:
    before = shop.stripe.writes
    cost = shop.done("subscriptions", "preview", payer, "pro")
    assert (cost["currency"], cost["next"]) == ("usd", 9_900)
    assert 0 < cost["now"] <= 5_000
    text = shop.run("subscriptions", "preview", payer, "pro", "--when", "period_end").out
    assert "due now   0 usd" in text
    assert [p["lookup_key"] for p in prices(shop, payer)] == ["starter"]
    assert shop.stripe.writes - before == 3  # invoices that were drawn, and nothing kept

    asked = ("subscriptions", "change", payer, "pro", *WHY, "--key", "up")
    done = shop.done(*asked)
    assert (done["action"], done["state"], done["error"]) == ("change_plan", "answered", None)
    assert shop.done(*asked)["id"] == done["id"]
    assert [p["lookup_key"] for p in prices(shop, payer)] == ["pro"]
    shop.work_until(lambda: shop.plan(payer) == "pro")
    [listed] = shop.done("operations", "list", "--customer", payer, "--state", "confirmed")
    assert listed["id"] == done["id"]
    assert done["id"] in shop.run("operations", "list").out


def prices(shop: Selling, customer: str) -> list[dict[str, Any]]:
    return [item["price"] for item in subscription(shop, customer)["items"]["data"]]


def test_a_subscription_ends_with_its_period_and_goes_on_after_all(
    shop: Selling, payer: str
) -> None:
    told = shop.run("subscriptions", "cancel", payer, *WHY)
    assert (told.status, "cancel  answered" in told.out) == (0, True)
    assert subscription(shop, payer)["cancel_at_period_end"] is True
    assert shop.done("subscriptions", "resume", payer, *WHY)["state"] == "answered"
    assert subscription(shop, payer)["cancel_at_period_end"] is False
    shop.done("subscriptions", "cancel", payer, "--ending", "now", *WHY)
    assert subscription(shop, payer)["status"] == "canceled"


def test_a_coupon_is_made_and_its_code_put_on_a_subscription(shop: Selling, payer: str) -> None:
    made = shop.done("coupons", "create", "Half", "--percent-off", "50", "--code", "HALF", *WHY)
    assert made["answer"]["code"] == "HALF"
    shop.done("subscriptions", "promotion-code", payer, "HALF", *WHY)
    assert len(subscription(shop, payer)["discounts"]) == 1


def test_an_add_on_is_held_more_of_and_given_up(shop: Selling, payer: str) -> None:
    shop.done("subscriptions", "change", payer, "firm", *WHY)
    shop.work_until(lambda: shop.plan(payer) == "firm")
    for quantity in (2, 3):
        shop.done("subscriptions", "add-on", payer, "firm_addon", str(quantity), *WHY)
        held = subscription(shop, payer)["items"]["data"]
        assert [one["quantity"] for one in held] == [1, quantity]
    shop.done("subscriptions", "add-on", payer, "firm_addon", "0", *WHY)
    assert [p["lookup_key"] for p in prices(shop, payer)] == ["firm"]


def test_money_is_given_back_in_parts_and_never_twice(shop: Selling, payer: str) -> None:
    buyer = subscription(shop, payer)["customer"]
    [payment] = shop.stripe.do("all", "payment_intent", customer=buyer)
    part = ("payments", "refund", payment["id"], "--amount-minor", "900", "--key", "part", *WHY)
    first = shop.done(*part, "--customer", payer)
    assert first["answer"]["amount_minor"] == 900
    assert shop.done(*part, "--customer", payer)["id"] == first["id"]
    assert shop.done("payments", "refund", payment["id"], *WHY)["answer"]["amount_minor"] == 4_000
    ran = shop.run("payments", "refund", payment["id"], *WHY)
    assert (ran.status, ran.out, ran.err.count("\n")) == (REFUSED, "", 1)
    back = shop.stripe.do("all", "refund", payment_intent=payment["id"])
    assert sum(one["amount"] for one in back) == 4_900


def test_pages_are_opened(shop: Selling, payer: str, newcomer: str) -> None:
    bought = ("checkout", "create", newcomer, "--plan", "firm", "--add-on", "firm_addon=2", *WHY)
    page = shop.done(*bought)["answer"]
    assert page["url"].startswith("https://checkout.stripe.com/")
    held = shop.stripe.do("get", page["checkout"])
    assert (held["client_reference_id"], held["success_url"]) == (newcomer, RETURN)
    told = shop.run("portal", "create", payer, *WHY)
    assert (told.status, "https://billing.stripe.com/" in told.out) == (0, True)


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("subscriptions change {payer} nothing", REFUSED, "no plan 'nothing'"),
        ("subscriptions change {payer} starter", REFUSED, "on that plan already"),
        ("subscriptions change {payer} free", REFUSED, "'free' has no such price"),
        ("subscriptions change {payer} pro --price starter", REFUSED, "no such price"),
        ("subscriptions change {payer} pro --when soon", TYPED_WRONGLY, "'soon' is not one of"),
        ("subscriptions change nobody pro", REFUSED, "no customer 'nobody'"),
        ("subscriptions change {new} pro", REFUSED, "no such subscription"),
        ("subscriptions change {payer} pro --subscription sub_x", REFUSED, "no such subscription"),
        ("subscriptions cancel {payer} --ending later", TYPED_WRONGLY, "'later' is not one of"),
        ("subscriptions cancel {new}", REFUSED, "no such subscription"),
        ("subscriptions resume nobody", REFUSED, "no customer 'nobody'"),
        ("subscriptions preview {payer} nothing", REFUSED, "no plan 'nothing'"),
        ("subscriptions add-on {payer} firm_addon 1", REFUSED, "not sold beside this plan"),
        ("subscriptions add-on {payer} firm_addon x", TYPED_WRONGLY, "should be a valid integer"),
        ("subscriptions add-on {payer} firm_addon 10001", REFUSED, "0 to 10,000"),
        ("subscriptions promotion-code {payer} NOTHING", REFUSED, "no such promotion code"),
        ("checkout create {new}", REFUSED, "a plan or a pack"),
        ("checkout create {new} --plan pro --pack x", REFUSED, "a plan or a pack"),
        ("checkout create {new} --pack x", REFUSED, "no pack 'x'"),
        ("checkout create {new} --plan firm --add-on firm_addon=x", REFUSED, "KEY=QUANTITY"),
        ("checkout create {new} --plan firm --add-on firm_addon=0", REFUSED, "1 to 10,000"),
        ("checkout create {new} --plan pro --quantity 0", TYPED_WRONGLY, "--quantity"),
        ("checkout create {new} --plan pro --code NOTHING", REFUSED, "no such promotion code"),
        ("portal create {new}", REFUSED, "does not know this customer"),
        ("invoices resend in_nothing", REFUSED, "in_nothing"),
        ("invoices mark-paid in_nothing", REFUSED, "in_nothing"),
        ("payments refund pi_nothing", REFUSED, "pi_nothing"),
        ("payments refund pi_nothing --amount-minor 0", TYPED_WRONGLY, "--amount-minor"),
        ("payments refund pi_nothing --customer nobody", REFUSED, "no customer 'nobody'"),
        ("coupons create X", REFUSED, "a percentage or an amount"),
        ("coupons create X --percent-off 101", REFUSED, "at most 100"),
        ("coupons create X --amount-off-minor 5", REFUSED, "has a currency"),
        ("coupons create X --percent-off 5 --duration daily", REFUSED, "once, repeating"),
        ("coupons create X --percent-off 5 --months 3", REFUSED, "for how many months"),
    ],
)
def test_what_cannot_be_bought_is_told_in_a_line_and_changes_nothing(
    shop: Selling, stays: str, newcomer: str, command: str, status: int, told: str
) -> None:
    words = command.format(payer=stays, new=newcomer).split()
    before = subscription(shop, stays), len(shop.stripe.do("all", "checkout.session"))
    why = () if "preview" in words else WHY
    ran = shop.run(*words, *why)
    assert (ran.status, ran.out) == (status, ""), ran
    assert told in ran.err
    assert "Traceback" not in ran.err
    if status == REFUSED:
        assert ran.err.startswith("headroom: ")
        assert ran.err.count("\n") == 1
    after = subscription(shop, stays), len(shop.stripe.do("all", "checkout.session"))
    assert after == before


@pytest.mark.parametrize(
    "command",
    [
        "subscriptions change x pro",
        "subscriptions cancel x",
        "checkout create x --plan pro",
        "payments refund pi_1",
        "coupons create x --percent-off 5",
        "invoices resend in_1",
    ],
)
def test_each_takes_a_reason(shop: Selling, newcomer: str, command: str) -> None:
    ran = shop.run(*command.split())
    assert (ran.status, "Missing option '--reason'" in ran.err) == (TYPED_WRONGLY, True)
    blank = shop.run(
        *command.replace("create x", f"create {newcomer}").replace(" x", " payer-0").split(),
        "--reason",
        " ",
    )
    assert (blank.status, "Say why" in blank.err) == (REFUSED, True)


def test_operations_of_a_state_that_there_is_not_are_refused(shop: Selling) -> None:
    ran = shop.run("operations", "list", "--state", "lost")
    assert (ran.status, "pending, answered, confirmed, refused" in ran.err) == (REFUSED, True)
    ran = shop.run("operations", "list", "--customer", "nobody")
    assert (ran.status, "no customer 'nobody'" in ran.err) == (REFUSED, True)
