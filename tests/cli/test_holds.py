"""Holds at the command line, against a running server."""

from typing import Any

from tests.support.program import Server, run_here

REFUSED = 1


def listed(server: Server, customer: str, *options: str) -> Any:  # noqa: ANN401 - JSON
    command = ("holds", "list", customer, *options, "--json")
    return run_here(*command, data_dir=server.data_dir).said


def test_holds_are_listed_by_state_and_ended_with_a_reason(
    server: Server, key: str, customer: str
) -> None:
    held = []
    for units in (2, 3):
        said = {"customer": customer, "feature": "tx_analyze", "units": units}
        status, hold = server.post("/v1/hold", said, key)
        assert status == 200, hold
        held.append(hold["id"])
    assert [(h["id"], h["state"], h["units"], h["actor"]) for h in listed(server, customer)] == [
        (held[1], "open", 3, "key:test"),
        (held[0], "open", 2, "key:test"),
    ]
    assert [h["id"] for h in listed(server, customer, "--limit", "1")] == [held[1]]
    shown = run_here("holds", "list", customer, data_dir=server.data_dir)
    assert "credits held" in shown.out
    assert held[0] in shown.out

    ending = ("holds", "void", customer, held[1], "--reason", "the job crashed")
    ended = run_here(*ending, "--actor", "ada", data_dir=server.data_dir)
    assert ended.out == f"{customer}: 3 units and 0 credits are given back.\n"
    again = run_here(*ending, data_dir=server.data_dir)
    assert (again.status, again.err) == (
        REFUSED,
        "headroom: The hold is voided already; place another.\n",
    )
    assert [h["id"] for h in listed(server, customer, "--state", "voided")] == [held[1]]
    asked = {"customer": customer, "feature": "tx_analyze"}
    (window,) = server.post("/v1/consume", asked, key)[1]["windows"]
    assert (window["used"], window["held"]) == (1, 2)
