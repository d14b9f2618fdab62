"""Credits at the command line, against a running server."""

import csv
from datetime import UTC, datetime
from io import StringIO

import pytest

from tests.support.program import Ran, Server, run_here

REFUSED, TYPED_WRONGLY = 1, 2
MARCH = ("--from", "2026-03-01T00:00:00Z", "--to", "2026-04-01T00:00:00Z", "--reason", "x")
REFUND = " ".join(("refund-overcharged", "tx_analyze", *MARCH))


def credits_(server: Server, *arguments: str) -> Ran:
    return run_here("credits", *arguments, data_dir=server.data_dir)


def test_credits_are_given_corrected_and_taken_back(server: Server, customer: str) -> None:
    why = ("--reason", "goodwill", "--json")
    given = credits_(server, "grant", customer, "50", *why, "--idempotency-key", "k").said
    again = credits_(server, "grant", customer, "50", *why, "--idempotency-key", "k").said
    assert (given["credits"], given["available"], given["replayed"]) == (50, 50, False)
    assert again == {**given, "replayed": True}
    assert credits_(server, "adjust", customer, "--credits", "5", *why).said["available"] == 55
    assert credits_(server, "adjust", customer, "--credits", "-12", *why).said["available"] == 43
    refused = credits_(server, "adjust", customer, "--credits", "-44", "--reason", "x")
    assert (refused.status, "43 are available" in refused.err) == (REFUSED, True)
    number = str(given["grants"][0]["grant"])
    voided = credits_(server, "void-grant", customer, number, *why).said
    assert (voided["credits"], voided["available"], voided["spent"]) == (-38, 5, 0)
    said = credits_(server, "balance", customer, "--json").said
    assert (said["available"], len(said["grants"])) == (5, 2)
    assert "permanent" in credits_(server, "balance", customer).out
    earlier = credits_(server, "balance", customer, "--at", "2020-01-01", "--json").said
    assert earlier["available"] == 0
    text = credits_(server, "adjust", customer, "--credits", "1", "--reason", "x").out
    assert "+1 credits" in text
    assert "6 are available now" in text


def test_the_ledger_and_a_month_of_it_are_read(server: Server, customer: str) -> None:
    assert credits_(server, "grant", customer, "50", "--reason", "pilot").status == 0
    assert credits_(server, "adjust", customer, "--credits", "-7", "--reason", "less").status == 0
    rows = credits_(server, "ledger", customer, "--json").said
    assert [(row["kind"], row["amount"]) for row in rows] == [("revoke", 7), ("grant", 50)]
    only = credits_(server, "ledger", customer, "--kind", "grant", "--json").said
    assert [row["amount"] for row in only] == [50]
    assert "pilot" in credits_(server, "ledger", customer).out
    paged = credits_(server, "ledger", customer, "--first", "1")
    assert f"--before {rows[0]['id']}" in paged.err
    month = datetime.now(UTC).strftime("%Y-%m")
    said = credits_(server, "statement", customer, month, "--json").said
    assert (said["total"]["granted"], said["total"]["closing"]) == (50, 43)
    shown = credits_(server, "statement", customer, month)
    assert shown.out.splitlines()[0] == f"{customer}: {month} in UTC"
    printed = credits_(server, "statement", customer, month, "--csv").out
    lines = list(csv.DictReader(StringIO(printed)))
    assert [line["closing"] for line in lines if line["line"] == "total"] == ["43"]


def test_reports_checks_and_refunds_of_nothing(server: Server) -> None:
    assert credits_(server, "heavy-users", "--json").said == []
    assert credits_(server, "check").out == "Balances and ledger agree.\n"
    repaired = credits_(server, "check", "--repair", "--reason", "to be sure", "--json").said
    assert repaired == {"findings": [], "rebuilt": []}
    right = ("refund-overcharged", "tx_analyze", *MARCH, "--credits", "1")
    dry = credits_(server, *right, "--json")
    assert dry.said == {"dry_run": True, "credits": 0, "customers": []}
    done = credits_(server, *right, "--apply")
    assert "0 credits to 0 customers were returned." in done.out


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("grant x 5", TYPED_WRONGLY, "Missing option '--reason'"),
        ("grant x 0 --reason y", TYPED_WRONGLY, "greater than or equal to 1"),
        ("grant x 5 --bucket gold --reason y", TYPED_WRONGLY, "'gold' is not one of"),
        ("grant x 5 --expires-at noon --reason y", REFUSED, "--expires-at 'noon'"),
        ("grant x 5 --feature nothing --reason y", REFUSED, "no feature 'nothing'"),
        ("grant nobody 5 --reason y", REFUSED, "no customer 'nobody'"),
        ("adjust x --credits 0 --reason y", REFUSED, "changes nothing"),
        ("void-grant x 99999 --reason y", REFUSED, "no grant 99999"),
        ("ledger x --kind gift", REFUSED, "'gift' is not one of grant, spend"),
        ("ledger x --from yesterday", REFUSED, "--from 'yesterday'"),
        ("statement x march", REFUSED, "'march'"),
        ("balance nobody", REFUSED, "no customer 'nobody'"),
        ("check --repair", REFUSED, "--reason"),
        ("refund-overcharged tx_analyze --reason y", TYPED_WRONGLY, "Missing option '--from'"),
        (REFUND, REFUSED, "say the right cost"),
    ],
)
def test_what_cannot_be_meant_is_told(server: Server, command: str, status: int, told: str) -> None:
    ran = credits_(server, *command.split())
    assert (ran.status, ran.out) == (status, ""), ran
    assert told in ran.err
    assert "Traceback" not in ran.err
