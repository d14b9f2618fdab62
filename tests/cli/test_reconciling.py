"""Putting the record in step with Stripe at the command line, and what is told on the way."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.stripe_process import Selling

WHY = ("--reason", "a test")
REFUSED, TYPED_WRONGLY = 1, 2


@pytest.fixture
def out_of_step(shop: Selling, payer: str) -> str:
    """Return a customer who moved to the plan pro, of which every event was lost."""
    shop.deliver()
    shop.stripe.move(payer, "pro")
    shop.stripe.do("webhooks.drop", "*")
    return payer


def about(report: Any, subscription: str) -> list[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """Return what a report says of one subscription."""
    return [
        (one["kind"], one["fields"])
        for one in report["differences"]
        if one["subscription_id"] == subscription
    ]


def test_one_customer_is_compared_and_only_told_until_it_is_to_be_healed(
    shop: Selling, out_of_step: str
) -> None:
    sub = shop.stripe.subscription_of(out_of_step)["id"]
    waiting = len(shop.done("webhooks", "list", "--first", "200"))
    dry = shop.done("sync", "customer", out_of_step, *WHY)
    [(kind, fields)] = about(dry, sub)
    assert (dry["execute"], kind, ["plan", "starter", "pro"] in fields) == (False, "changed", True)
    told = shop.run("sync", "customer", out_of_step, *WHY)
    assert (told.status, "plan: starter > pro" in told.out) == (0, True)
    assert "would be read anew with --execute" in told.err
    assert len(shop.done("webhooks", "list", "--first", "200")) == waiting

    healed = shop.done("sync", "customer", out_of_step, "--execute", *WHY)
    assert about(healed, sub) == about(dry, sub)
    shop.work_until(lambda: shop.plan(out_of_step) == "pro")
    assert about(shop.done("sync", "customer", out_of_step, *WHY), sub) == []


def test_of_one_whom_stripe_does_not_know_it_is_said_what_to_do(
    shop: Selling, newcomer: str
) -> None:
    ran = shop.run("sync", "customer", newcomer, *WHY)
    assert (ran.status, f"{newcomer} is not linked at Stripe yet" in ran.err) == (0, True)
    assert "headroom sync all" in ran.err


def test_the_account_of_the_present_key_is_accepted_on_record(shop: Selling) -> None:
    ran = shop.run("reconciliation", "accept-account", *WHY)
    assert (ran.status, "account acct_00000001 in test mode" in ran.err) == (0, True)
    told = shop.without_a_key("reconciliation", "accept-account", *WHY)
    assert (told.status, "STRIPE_SECRET_KEY" in told.err) == (REFUSED, True)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_everybody_is_compared_with_an_exported_list(
    shop: Selling, payer: str, tmp_path: Path, kind: str
) -> None:
    sub = shop.stripe.subscription_of(payer)
    exported = tmp_path / f"list.{kind}"
    if kind == "csv":
        exported.write_text(f"Customer,id,Status\nx,{sub['id']},Past_due\n")
    else:
        exported.write_text(json.dumps(sub | {"status": "past_due"}) + "\n\n")
    found = about(shop.done("sync", "all", "--from", str(exported), *WHY), sub["id"])
    assert ["status", "active", "past_due"] in found[0][1]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"", "no column `id`"),
        ("a.csv", b"name,amount\nx,1\n", "no column `id`"),
        ("a.csv", b"status,id\nactive\n", ":2: this names no subscription"),
        ("a.csv", b"id,status\nsub_1,active\n,active\n", ":3: this names no subscription"),
        ("a.csv", b"id,status\ncus_1,active\n", ":2: 'cus_1' is no subscription"),
        ("A.CSV", b"name\nx\n", "no column `id`"),
        ("a.csv", b"id\n\xff\xfe\n", "decode"),
        ("a.jsonl", b"sub_1\n", ":1:"),
        ("a.jsonl", b"[1]\n", ":1: this is no subscription"),
        ("a.jsonl", b'{"object": "customer", "id": "cus_1"}\n', ":1: this is no subscription"),
        ("a.jsonl", b'\n{"object": "subscription"}\n', ":2: this names no subscription"),
        ("a.jsonl", b'{"object": "subscription", "id": 7}\n', ":1: this names no subscription"),
        ("a.jsonl", b'{"object": "subscription", "id": "cus_1"}\n', ":1: 'cus_1' is no sub"),
    ],
)
def test_a_list_with_something_wrong_is_told_by_its_line(
    shop: Selling, tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    exported = tmp_path / name
    exported.write_bytes(content)
    waiting = len(shop.done("webhooks", "list", "--first", "200"))
    ran = shop.run("sync", "all", "--execute", "--from", str(exported), *WHY)
    assert (ran.status, ran.out, ran.err.count("\n")) == (REFUSED, "", 1), ran
    assert ran.err.startswith(f"headroom: {exported}:")
    assert told in ran.err
    assert len(shop.done("webhooks", "list", "--first", "200")) == waiting
    [last] = shop.done("reconciliation", "runs", "--first", "1")
    assert (last["actor"].startswith("local:"), told in last["error"]) == (True, True)


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("sync customer nobody --reason x", REFUSED, "no customer 'nobody'"),
        ("sync customer payer-0 --execute", TYPED_WRONGLY, "--execute needs --reason"),
        ("sync all --from /nowhere.csv --reason x", TYPED_WRONGLY, "does not exist"),
        ("sync all --from / --reason x", TYPED_WRONGLY, "is a directory"),
        ("sync frobnicate", TYPED_WRONGLY, "No such command"),
        ("reconcile", TYPED_WRONGLY, "Missing option '--reason'"),
        ("reconciliation list --state lost", REFUSED, "'lost'"),
        ("reconciliation list --first 0", TYPED_WRONGLY, "--first"),
        ("reconciliation accept-account", TYPED_WRONGLY, "Missing option '--reason'"),
        ("reconciliation retry 999999 --reason x", REFUSED, "no open finding 999999"),
        ("reconciliation resolve 999999 --reason x", REFUSED, "no open finding 999999"),
        ("reconciliation resolve x --reason x", TYPED_WRONGLY, "valid integer"),
        (
            "reconciliation resolve 99999999999999999999 --reason x",
            TYPED_WRONGLY,
            "less than or equal to",
        ),
        ("alerts list --first 0", TYPED_WRONGLY, "--first"),
        ("alerts acknowledge 999999 --reason x", REFUSED, "no alert 999999"),
        (
            "alerts acknowledge 99999999999999999999 --reason x",
            TYPED_WRONGLY,
            "less than or equal to",
        ),
        ("alerts acknowledge -1 --reason x", TYPED_WRONGLY, "-1"),
        ("alerts acknowledge x --reason x", TYPED_WRONGLY, "valid integer"),
        ("alerts acknowledge 1", TYPED_WRONGLY, "Missing option '--reason'"),
        ("report webhooks --window 0", TYPED_WRONGLY, "--window"),
        ("report webhooks --window day", TYPED_WRONGLY, "valid integer"),
        ("report webhooks --window 527041", TYPED_WRONGLY, "--window"),
        ("webhooks catch-up --since yesterday --reason x", TYPED_WRONGLY, "yesterday"),
        ("webhooks catch-up --since 2999-01-01 --reason x", REFUSED, "lies in the past"),
        ("webhooks catch-up", TYPED_WRONGLY, "Missing option '--reason'"),
        ("trace", TYPED_WRONGLY, "Missing argument"),
    ],
)
def test_what_cannot_be_meant_is_told(shop: Selling, command: str, status: int, told: str) -> None:
    ran = shop.run(*command.split())
    assert (ran.status, ran.out) == (status, ""), ran
    assert told in ran.err
    assert "Traceback" not in ran.err
    if status == REFUSED:
        assert ran.err.startswith("headroom: ")
        assert ran.err.count("\n") == 1


def test_a_subscription_of_nobody_is_found_acted_on_again_and_resolved(shop: Selling) -> None:
    sub = shop.stripe.subscribe(None, "starter")
    shop.stripe.do("webhooks.drop", "*")
    assert about(shop.done("reconcile", *WHY), sub)[0][0] == "unknown"

    def found(*more: str) -> list[dict[str, Any]]:
        listed = shop.done("reconciliation", "list", *more)
        return [one for one in listed if one["object_id"] == sub]

    [item] = found("--state", "open")
    assert item["kind"] == "unknown_subscription"
    number = str(item["id"])
    ran = shop.run("reconciliation", "retry", number, *WHY)
    assert (ran.status, "acted on again" in ran.err) == (0, True)
    ran = shop.run("reconciliation", "resolve", number, *WHY)
    assert (ran.status, "is resolved" in ran.err) == (0, True)
    assert found("--state", "open") == []
    [item] = found("--state", "resolved")
    assert item["resolution"] == "a test"
    assert number in shop.run("reconciliation", "list").out
    again = shop.run("reconciliation", "resolve", number, *WHY)
    assert (again.status, f"no open finding {number}" in again.err) == (REFUSED, True)
    [run] = shop.done("reconciliation", "runs", "--first", "1")
    assert (run["execute"], run["error"]) == (True, None)


def test_what_was_never_delivered_is_fetched_and_told_of(shop: Selling, newcomer: str) -> None:
    since = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%MZ")
    shop.deliver()
    shop.stripe.subscribe(newcomer, "starter")
    shop.stripe.do("webhooks.drop", "*")
    fetched = shop.done("webhooks", "catch-up", "--since", since, *WHY)
    assert fetched["listed"] >= fetched["missed"] > 0
    assert fetched["beyond_reach"] is False
    again = shop.run("webhooks", "catch-up", "--since", since, *WHY)
    assert (again.status, "0 of them new here" in again.out) == (0, True)
    shop.work_until(lambda: shop.plan(newcomer) == "starter")

    report = shop.done("report", "webhooks", "--window", "60")
    assert report["missed"] >= fetched["missed"]
    assert "fetched" in shop.run("report", "webhooks").out

    [one] = shop.done("alerts", "list", "--all", "--kind", "webhooks_missed")[:1]
    number = str(one["id"])
    assert number in shop.run("alerts", "list", "--all").out
    seen = shop.done("alerts", "acknowledge", number, *WHY, "--actor", "ann")
    assert (seen["acknowledged_by"], seen["note"]) == ("ann", "a test")
    other = shop.run("alerts", "acknowledge", number, "--reason", "later", "--actor", "bob")
    assert "was seen to by ann" in other.out
    assert number not in [str(o["id"]) for o in shop.done("alerts", "list")]


def test_one_id_is_followed_from_a_delivery_to_what_came_of_it(shop: Selling, payer: str) -> None:
    shop.stripe.move(payer, "firm")
    shop.deliver()
    shop.work_until(lambda: shop.plan(payer) == "firm")
    events = shop.done("webhooks", "list", "--customer", payer, "--first", "200")
    traces = [shop.done("trace", one["correlation_id"]) for one in events]
    [course] = [rows for rows in traces if any("starter -> firm" in row["what"] for row in rows)]
    assert {row["customer"] for row in course} == {payer}
    [event] = [row for row in course if row["source"] == "webhook_event"]
    assert event["what"].endswith(": applied")
    text = shop.run("trace", events[0]["correlation_id"]).out
    assert text.splitlines()[0].split() == ["at", "source", "customer", "what", "reference"]
    assert shop.done("trace", "of-nothing") == []


def test_without_a_key_each_says_what_to_set(shop: Selling) -> None:
    for command in ("sync all", "reconcile", "webhooks catch-up"):
        ran = shop.without_a_key(*command.split(), *WHY)
        assert (ran.status, ran.err.count("\n")) == (REFUSED, 1), ran
        assert "key" in ran.err
    ran = shop.without_a_key("subscriptions", "change", "payer-0", "pro", *WHY)
    assert (ran.status, "set STRIPE_SECRET_KEY" in ran.err) == (REFUSED, True), ran
