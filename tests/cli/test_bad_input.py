"""What cannot be meant is told in one line, with the exit code of its kind, and changes nothing."""

from pathlib import Path

import pytest

from tests.support.program import Server, run, run_here

REFUSED, TYPED_WRONGLY = 1, 2


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("frobnicate", TYPED_WRONGLY, "No such command 'frobnicate'"),
        ("keys frobnicate", TYPED_WRONGLY, "No such command 'frobnicate'"),
        ("keys create", TYPED_WRONGLY, "Missing argument"),
        ("keys create x", TYPED_WRONGLY, "Missing option '--scope'"),
        ("keys create x --scope root", TYPED_WRONGLY, "'root' is not one of"),
        ("keys create 1x --scope check", REFUSED, "begins with a letter"),
        ("keys revoke nobody", REFUSED, "There is no live key 'nobody'"),
        ("customers show nobody", REFUSED, "There is no customer 'nobody'"),
        ("customers create x --timezone Mars/Base", REFUSED, "no time zone 'Mars/Base'"),
        ("customers create x --email nonsense", REFUSED, "e-mail address"),
        ("customers create x --type martian", REFUSED, "no customer type 'martian'"),
        ("customers find", REFUSED, "--email or --provider-id"),
        ("customers find --email nobody@example.org", REFUSED, "no such customer"),
        ("customers token nobody", REFUSED, "There is no customer 'nobody'"),
        ("customers token x --ttl-seconds 0", TYPED_WRONGLY, "greater than or equal to 1"),
        ("customers token x --scope admin", REFUSED, "check or consume"),
        ("entitlements explain x nothing", REFUSED, "no feature 'nothing'"),
        ("entitlements rebuild --reason why", REFUSED, "--all"),
        ("overrides set x tx_analyze --limit day=1", TYPED_WRONGLY, "Missing option '--reason'"),
        ("overrides set x tx_analyze --limit day --reason y", REFUSED, "WINDOW=UNITS"),
        ("overrides set x tx_analyze --limit eon=1 --reason y", REFUSED, "WINDOW=UNITS"),
        ("overrides set x tx_analyze --reason y", REFUSED, "at least one limit"),
        ("overrides set x tx_analyze --limit day=1 --expires-at noon --reason y", REFUSED, "noon"),
        ("overrides clear x tx_analyze --reason y", REFUSED, "no override of"),
        ("holds list nobody", REFUSED, "no customer 'nobody'"),
        ("holds list x --state gone", TYPED_WRONGLY, "'gone' is not one of"),
        ("holds void x y", TYPED_WRONGLY, "Missing option '--reason'"),
        ("holds void x y --reason z", REFUSED, "holdId is not the id of a hold"),
        ("holds void x MTliLjAueA --reason z", REFUSED, "The customer has no hold of this id."),
        ("usage reset x companies --reason y", REFUSED, "is an allocation"),
        ("usage reset x tx_analyze --window eon --reason y", TYPED_WRONGLY, "eon"),
        ("usage show x nothing", REFUSED, "no feature 'nothing'"),
        ("webhooks show evt_0", REFUSED, "There is no event 'evt_0'"),
        ("webhooks replay --reason y", REFUSED, "--all-parked"),
        ("webhooks replay evt_0 --reason y", REFUSED, "There is no event 'evt_0'"),
        ("webhooks list --state lost", REFUSED, "'lost'"),
        ("migrate up --to 9999", REFUSED, "no migration 9999"),
        ("catalog check /nowhere.toml", TYPED_WRONGLY, "does not exist"),
        ("serve --port 99999", TYPED_WRONGLY, "less than or equal to 65535"),
        ("serve --workers 0", TYPED_WRONGLY, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_told(server: Server, command: str, status: int, told: str) -> None:
    ran = run_here(*command.split(), data_dir=server.data_dir)
    assert (ran.status, ran.out) == (status, ""), ran
    assert told in ran.err
    assert "Traceback" not in ran.err
    if status == REFUSED:
        assert ran.err.startswith("headroom: ")
        assert ran.err.count("\n") == 1


def test_a_bad_catalog_is_told_line_by_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('product = "x"\ncolour = "red"\n[plans.free]\nname = 7\n')
    ran = run("catalog", "check", bad)
    assert (ran.status, ran.out) == (1, "")
    assert all(line.startswith(f"{bad}:") for line in ran.err.splitlines())
    said = run("catalog", "check", bad, "--json").said
    assert said["ok"] is False
    assert said["problems"][0]["line"] == 1 or said["problems"]


def test_without_a_server_it_says_how_to_get_one(tmp_path: Path) -> None:
    ran = run("keys", "list", data_dir=tmp_path)
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert f"No Headroom is running on {tmp_path}" in ran.err
    assert "headroom serve" in ran.err


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"HEADROOM_PORT": "many"}, "HEADROOM_PORT: 'many'"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL: what is set"),
        ({"STRIPE_SECRET_KEY": "pk_live_x"}, "STRIPE_SECRET_KEY: what is set"),
        ({"REDIS_URL": "redis://127.0.0.1:1"}, "set DATABASE_URL too"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_told_by_name(
    tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    ran = run_here("keys", "list", data_dir=tmp_path, **settings)
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert told in ran.err
