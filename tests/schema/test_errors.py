"""What is told of what went wrong: everything of a caller's mistake, nothing of ours."""

import logging

import pytest

from api.domain.errors import Unavailable
from tests.support.graphql import Api


async def test_a_bug_is_masked_and_logged_under_the_id_that_is_told(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("postgres://user:secret@record/ is broken")

    monkeypatch.setattr(type(api.core.gate), "check", broken)
    with caplog.at_level(logging.ERROR):
        answer = await api.post('{ check(customer: "acme", feature: "calls") { status } }')
    assert answer["data"] is None
    [error] = answer["errors"]
    assert "secret" not in str(answer)
    extensions = error["extensions"]
    assert (extensions["code"], extensions["status"]) == ("INTERNAL", 500)
    assert (
        error["message"] == f"Something failed here. It is logged as error {extensions['errorId']}."
    )
    [record] = [r for r in caplog.records if extensions["errorId"] in r.getMessage()]
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


async def test_a_value_that_the_schema_cannot_show_is_a_bug_and_masked(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Secret:
        def __repr__(self) -> str:
            return "secret"

    monkeypatch.setattr(
        "api.schema.mutations.consumption_of", lambda counted: counted._replace(units=Secret())
    )
    answer = await api.post(
        'mutation { consume(input: {customer: "acme", feature: "calls"}) { units } }'
    )
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "secret" not in str(answer)


async def test_what_is_wrong_with_a_document_is_told_with_its_place(api: Api) -> None:
    answer = await api.post("{ plans { edges { node { kee } } } }")
    assert "data" not in answer
    [error] = answer["errors"]
    assert error["message"] == "Cannot query field 'kee' on type 'Plan'. Did you mean 'key'?"
    assert error["locations"] == [{"line": 1, "column": 26}]
    assert error["extensions"]["code"] == "INVALID_INPUT"


async def test_an_argument_that_turns_out_null_is_the_caller_s_mistake(api: Api) -> None:
    """Where a variable has a default, null passes validation and is met by the field alone."""
    query = """query ($units: Units = 1) {
      check(customer: "acme", feature: "calls", units: $units) { status }
    }"""
    assert (await api.data(query))["check"]["status"] == 200
    error = await api.error(query, units=None)
    assert (error["code"], error["status"]) == ("INVALID_INPUT", 400)
    assert error["message"].startswith("Argument 'units'")


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ('{ check(customer: "nobody", feature: "calls") { status } }', "UNKNOWN_CUSTOMER", 404),
        ('{ check(customer: "acme", feature: "nothing") { status } }', "UNKNOWN_FEATURE", 404),
        (
            '{ check(customer: "acme", feature: "calls", units: 0) { status } }',
            "INVALID_INPUT",
            400,
        ),
        ('{ check(feature: "calls") { status } }', "INVALID_INPUT", 400),
        ('{ webhookEvent(eventId: "evt_nothing") { type } }', "NOT_FOUND", 404),
    ],
)
async def test_an_expected_error_has_its_code_and_status(
    api: Api, query: str, code: str, status: int
) -> None:
    error = await api.error(query)
    assert (error["code"], error["status"]) == (code, status)
    assert error["docs"] == f"errors/{code}.md"


async def test_where_the_counters_are_lost_the_rest_of_the_answer_stands(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise Unavailable("The counters did not answer.")

    monkeypatch.setattr(type(api.core.gate), "figures", lost)
    query = '{ customer(key: "acme") { key entitlement(feature: "calls") { windows { used } } } }'
    answer = await api.post(query)
    assert answer["data"] == {"customer": {"key": "acme", "entitlement": None}}
    assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert answer["errors"][0]["extensions"]["status"] == 503
