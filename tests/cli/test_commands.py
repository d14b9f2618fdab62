"""Commands of an operator, against a running server."""

from pathlib import Path

import pytest

from tests.support.program import CATALOG, Server, run


def _used(server: Server, key: str, customer: str, feature: str = "tx_analyze") -> int:
    said = {"customer": customer, "feature": feature}
    status, answer = server.post("/v1/consume", said, key)
    assert status == 200, answer
    used: int = answer["windows"][0]["used"]
    return used


def test_a_key_is_printed_alone_works_is_listed_and_stops_working_when_revoked(
    server: Server, customer: str
) -> None:
    made = run("keys", "create", "one-service", "--scope", "check", data_dir=server.data_dir)
    plain = made.out.removesuffix("\n")
    assert (made.status, plain[:3], "\n" in plain) == (0, "hr_", False)
    asked = {"customer": customer, "feature": "tx_analyze"}
    assert server.post("/v1/check", asked, plain)[0] == 200
    assert server.post("/v1/consume", asked, plain)[0] == 403
    listed = run("keys", "list", "--json", data_dir=server.data_dir).said
    assert ("one-service", ["check"], None) in [
        (k["name"], k["scopes"], k["revoked_at"]) for k in listed
    ]
    assert run("keys", "revoke", "one-service", data_dir=server.data_dir).status == 0
    # Told by a notification, so it may take a moment; a key is believed for seconds at most.
    statuses = {server.post("/v1/check", asked, plain)[0] for _ in range(2000)}
    assert 401 in statuses


def test_a_customer_is_created_shown_found_and_let_in(server: Server) -> None:
    given = ("--email", "Ada@Example.org", "--timezone", "Europe/Berlin", "--name", "Ada")
    assert run("customers", "create", "ada", *given, data_dir=server.data_dir).status == 0
    shown = run("customers", "show", "ada", "--json", data_dir=server.data_dir).said
    assert (shown["plan"], shown["customer"]["timezone"]) == ("free", "Europe/Berlin")
    found = run("customers", "find", "--email", "ada@example.org", data_dir=server.data_dir)
    assert "ada" in found.out
    token = run("customers", "token", "ada", "--scope", "consume", data_dir=server.data_dir)
    status, answer = server.post("/v1/consume", {"feature": "tx_analyze"}, token.out.strip())
    assert (status, answer["customer"]) == (200, "ada")


def test_an_override_holds_until_it_is_cleared(server: Server, key: str, customer: str) -> None:
    asked = {"customer": customer, "feature": "tx_analyze"}
    promised = ("overrides", "set", customer, "tx_analyze", "--limit", "day=1", "--reason", "less")
    assert run(*promised, data_dir=server.data_dir).status == 0
    assert _used(server, key, customer) == 1
    assert server.post("/v1/consume", asked, key)[0] == 429
    explained = run("entitlements", "explain", customer, "tx_analyze", data_dir=server.data_dir)
    assert "less" in explained.out
    cleared = ("overrides", "clear", customer, "tx_analyze", "--reason", "enough")
    assert run(*cleared, data_dir=server.data_dir).status == 0
    assert _used(server, key, customer) == 2


def test_a_reset_gives_back_what_was_used_and_keeps_the_entries(
    server: Server, key: str, customer: str
) -> None:
    assert [_used(server, key, customer) for _ in range(3)] == [1, 2, 3]
    reset = ("usage", "reset", customer, "tx_analyze", "--reason", "our fault", "--json")
    said = run(*reset, data_dir=server.data_dir).said
    assert said["units"] == 3
    assert said["before"]["tx_analyze"][0]["used"] == 3
    assert said["after"]["tx_analyze"][0]["used"] == 0
    assert _used(server, key, customer) == 1
    explained = run("usage", "explain", customer, "--json", data_dir=server.data_dir).said
    (figure,) = explained["features"]["tx_analyze"]
    assert (figure["counted"], figure["recorded"], figure["drifted"]) == (1, 1, False)


def test_a_rebuild_leaves_the_figures_as_the_record_has_them(
    server: Server, key: str, customer: str
) -> None:
    assert [_used(server, key, customer) for _ in range(2)] == [1, 2]
    rebuilt = ("usage", "rebuild", customer, "--reason", "to be sure", "--json")
    said = run(*rebuilt, data_dir=server.data_dir).said
    assert said["before"]["tx_analyze"][0]["used"] == said["after"]["tx_analyze"][0]["used"] == 2
    again = ("entitlements", "rebuild", customer, "--reason", "to be sure")
    assert run(*again, data_dir=server.data_dir).status == 0
    shown = run("usage", "show", customer, "tx_analyze", "--json", data_dir=server.data_dir).said
    assert shown["usage"][-1]["units"] == 2


def test_a_plan_shows_the_difference_and_applying_it_keeps_usage(
    server: Server, key: str, customer: str, tmp_path: Path
) -> None:
    assert _used(server, key, customer) == 1
    more = tmp_path / "more.toml"
    more.write_text(CATALOG.read_text().replace("units = 50,", "units = 60,"))
    planned = run("catalog", "plan", more, data_dir=server.data_dir)
    assert (planned.status, planned.out) == (0, "plan free: tx_analyze day 50 → 60\n")
    assert run("catalog", "apply", more, data_dir=server.data_dir).status == 0
    asked = {"customer": customer, "feature": "tx_analyze"}
    (window,) = server.post("/v1/consume", asked, key)[1]["windows"]
    assert (window["used"], window["limit"]) == (2, 60)
    assert run("catalog", "apply", CATALOG, data_dir=server.data_dir).status == 0
    again = run("catalog", "apply", CATALOG, "--json", data_dir=server.data_dir).said
    assert (again["changes"], again["customers"]) == ([], 0)


def test_migrations_are_all_applied_and_not_undone_by_mistake(server: Server) -> None:
    said = run("migrate", "status", "--json", data_dir=server.data_dir).said
    assert all(one["applied_at"] for one in said)
    ran = run("migrate", "down", data_dir=server.data_dir)
    assert (ran.status, "--yes" in ran.err) == (1, True)


@pytest.mark.parametrize("command", ["list", "list --json"])
def test_no_event_was_told_yet(server: Server, command: str) -> None:
    ran = run("webhooks", *command.split(), data_dir=server.data_dir)
    assert ran.status == 0
