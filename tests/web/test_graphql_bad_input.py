"""What cannot be meant at ``/graphql``: a precise error, the right status, nothing changed."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.clock import FakeClock
from tests.support.graphql import Api, served

CONSUME = "mutation ($input: ConsumeInput!) { consume(input: $input) { id } }"
CHECK = '{ check(customer: "acme", feature: "calls") { windows { used } } }'


@dataclass(frozen=True)
class Case:
    """One request; ``says`` must be part of the one message. ``executed``: told beside data."""

    is_: str
    says: str
    body: Any = None
    raw: bytes | None = None
    url: str | None = None
    status: int = 400
    code: str = "INVALID_INPUT"
    executed: bool = False


def asks(query: object, **more: object) -> dict[str, object]:
    return {"query": query, **more}


def consume(**given: object) -> dict[str, object]:
    return {
        "query": CONSUME,
        "variables": {"input": {"customer": "acme", "feature": "calls", **given}},
    }


def units(value: object) -> dict[str, object]:
    return consume(units=value)


UNITS = "Units are a whole number from 0 to 2^53 - 1."
INSTANT = "A DateTime is an RFC 3339 instant"


def since(value: object) -> dict[str, object]:
    query = """query ($from: DateTime) {
      customer(key: "acme") { usage(feature: "calls", from: $from) { units } }
    }"""
    return {"query": query, "variables": {"from": value}}


CASES = [
    # The request as a whole.
    Case("no body", "not JSON", raw=b""),
    Case("no JSON", "not JSON", raw=b"nonsense"),
    Case("half of it", "not JSON", raw=b'{"query": "{ __typename }"'),
    Case("not UTF-8", "not JSON", raw=b'{"query": "\xff"}'),
    Case("a lone surrogate", "not JSON", raw=b'{"query": "\\ud800"}'),
    Case("nested without end", "not JSON", raw=b"[" * 5000),
    Case("a string", "must be a JSON object", body="{ __typename }"),
    Case("null", "must be a JSON object", raw=b"null"),
    Case("a batch", "Batches of requests are not taken", body=[{"query": "{ __typename }"}]),
    Case("an empty object", "query is missing", body={}),
    Case("a null query", "query is missing", body={"query": None}),
    Case("a query that is a number", "query must be a string", body=asks(1)),
    Case("variables in a list", "variables must be an object", body=asks(CHECK, variables=[])),
    Case(
        "variables in a string",
        "variables must be an object",
        body=asks(CHECK, variables="{}"),
    ),
    Case(
        "an operation's name that is a list",
        "operationName must be a string",
        body=asks(CHECK, operationName=["x"]),
    ),
    Case(
        "extensions in a list",
        "extensions must be an object",
        body=asks(CHECK, extensions=[]),
    ),
    Case(
        "too large a body",
        "at most 1048576 bytes",
        raw=b" " * (1 << 20) + b"{}",
        status=413,
        code="BODY_TOO_LARGE",
    ),
    Case(
        "too large variables",
        "at most 262144 are allowed",
        body={"query": CHECK, "variables": {"x": "y" * (1 << 18)}},
    ),
    # In a URL.
    Case("no parameter", "query is missing", url="x=1"),
    Case("a parameter twice", "query is given more than once", url="query={a}&query={b}"),
    Case("variables that are no JSON", "variables is not JSON", url="query={a}&variables={"),
    Case(
        "variables of another kind",
        "variables must be an object",
        url="query={a}&variables=[1]",
    ),
    Case("not UTF-8", "not URL-encoded UTF-8", url="query=%ff"),
    # The document.
    Case("an empty document", "Syntax Error", body=asks("")),
    Case("a document of blanks", "Syntax Error", body=asks(" \n,, # nothing")),
    Case("half a document", "Syntax Error: Expected Name, found <EOF>.", body=asks("{")),
    Case("a NUL", "Unexpected character: U+0000.", body=asks("{ a\u0000 }")),
    Case("only a fragment", "never used", body=asks("fragment f on Query { __typename }")),
    Case("SDL", "is not executable", body=asks("type Query { a: Int }")),
    Case("a subscription", "not support", body=asks("subscription { a }")),
    Case(
        "no such field",
        "Cannot query field 'nothing'",
        body=asks("{ nothing }"),
    ),
    Case("no such argument", "Unknown argument 'x'", body=asks("{ plans(x: 1) { __typename } }")),
    Case("a missing argument", "required", body=asks("{ plan { key } }")),
    Case(
        "an object without fields",
        "must have a selection",
        body=asks("{ plans }"),
    ),
    Case(
        "fields of a leaf",
        "must not have a selection",
        body=asks('{ plan(key: "x") { key { x } } }'),
    ),
    Case(
        "a fragment that spreads itself",
        "Cannot spread fragment 'f' within itself.",
        body=asks("{ ...f } fragment f on Query { ...f }"),
    ),
    Case("no such fragment", "Unknown fragment 'f'.", body=asks("{ ...f }")),
    Case(
        "two operations of one name",
        "only one operation named 'a'",
        body={"query": "query a { __typename } query a { me { key } }", "operationName": "a"},
    ),
    Case(
        "no such operation",
        "no operation 'b'",
        body={"query": "query a { __typename }", "operationName": "b"},
    ),
    Case(
        "several operations and none named",
        "several operations",
        body=asks("query a { __typename } query b { __typename }"),
    ),
    Case("defer", "Unknown directive '@defer'", body=asks("{ ... @defer { __typename } }")),
    # Its size.
    Case(
        "too many bytes",
        "at most 16384 are allowed",
        body={"query": "{ __typename }" + " " * 16_384},
    ),
    Case("too many tokens", "2000", body=asks("{" + "a " * 2001 + "}")),
    Case("too many comments", "2000", body=asks("#\n" * 2001 + "{ __typename }")),
    Case(
        "too many aliases",
        "has aliases: 51; at most 50",
        body={"query": "{" + "".join(f"a{n}: __typename " for n in range(51)) + "}"},
    ),
    Case(
        "too many aliases, by fragments",
        "has aliases: 1025; at most 50",
        body={
            "query": "{ a: me { ...f0 } }"
            + "".join(
                f"fragment f{n} on Customer {{ ...f{n + 1} ... {{ ...f{n + 1} }} }}"
                for n in range(9)
            )
            + "fragment f9 on Customer { a: key b: key }"
        },
    ),
    Case(
        "too many directives",
        "has directives: 51; at most 50",
        body={"query": "{" + "".join("__typename @skip(if: false) " for _ in range(51)) + "}"},
    ),
    Case(
        "nested too deep",
        "is nested to depth 13; at most 12",
        body={"query": "{" + "plans { edges { node {" * 4 + "key" + "}}}" * 4 + "}"},
    ),
    Case(
        "braces without end",
        "nest",
        body={"query": "{ a" * 500 + "}" * 500},
    ),
    # Variables.
    Case("no units", UNITS, body=units(-1)),
    Case("half a unit", UNITS, body=units(0.5)),
    Case("too many units", UNITS, body=units(2**53)),
    Case("far too many units", UNITS, body=units(1e300)),
    Case("units beyond 64 bits", UNITS, body=units(2**70)),
    Case("units of a thousand digits", UNITS, body=units(10**1000)),
    Case(
        "a number beyond any other", "not JSON", raw=b'{"query": "{a}", "variables": {"a": 1e999}}'
    ),
    Case("units in words", UNITS, body=units("one")),
    Case("units in a string with a sign", UNITS, body=units("+1")),
    Case("units in foreign digits", UNITS, body=units("\u0661")),
    Case("units that are true", UNITS, body=consume(units=True)),
    Case("units in a list", UNITS, body=units([1])),
    Case("null units", "not to be None", body=units(None)),
    Case("nothing to count", "units must be 1 to 2^53 - 1", body=units(0), executed=True),
    Case("no feature", "feature", body={"query": CONSUME, "variables": {"input": {}}}),
    Case("a field too many", "unknown field 'nothing'", body=consume(nothing=1)),
    Case("a feature that is a number", "String cannot represent", body=consume(feature=1)),
    Case("no variable", "to be provided", body=asks(CONSUME)),
    Case("a day without a time", INSTANT, body=since("2026-03-10")),
    Case("an instant without an offset", INSTANT, body=since("2026-03-10T10:00:00")),
    Case("a day that there is not", INSTANT, body=since("2026-02-30T10:00:00Z")),
    Case("an hour that there is not", INSTANT, body=since("2026-03-10T25:00:00Z")),
    Case("an instant as a number", INSTANT, body=since(1773136800)),
    Case("before the first year", INSTANT, body=since("0001-01-01T00:00:00+14:00")),
    Case(
        "no such window",
        "does not exist in 'WindowKind' enum",
        body={
            "query": 'query ($by: WindowKind!) { customer(key: "acme") {'
            ' usage(feature: "calls", by: $by) { units } } }',
            "variables": {"by": "DECADE"},
        },
    ),
    # What is asked for.
    Case(
        "an empty idempotency key",
        "idempotencyKey must be",
        body=consume(idempotencyKey=""),
        executed=True,
    ),
    Case(
        "too long an idempotency key",
        "idempotencyKey must be",
        body=consume(idempotencyKey="x" * 201),
        executed=True,
    ),
    Case(
        "nothing together",
        "at least one",
        body=asks('mutation { consumeTogether(input: {customer: "acme", items: []}) { id } }'),
        executed=True,
    ),
    Case(
        "an id of no consumption",
        "consumptionId",
        body={
            "query": 'mutation { release(input: {customer: "acme", feature: "calls",'
            ' consumptionId: "!"}) { id } }'
        },
        executed=True,
    ),
    Case(
        "a customer without a key",
        "key",
        body=asks('mutation { upsertCustomer(input: {key: ""}) { key } }'),
        executed=True,
    ),
    Case(
        "a customer's key with a line break",
        "key",
        body=asks('mutation { upsertCustomer(input: {key: "a\\nb"}) { key } }'),
        executed=True,
    ),
    # Documents by their digest.
    Case(
        "a digest that is not kept",
        "PersistedQueryNotFound",
        body={"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
        code="PERSISTED_QUERY_NOT_FOUND",
    ),
    Case(
        "a digest of something else",
        "not that of the query",
        body={
            "query": CHECK,
            "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}},
        },
    ),
    Case(
        "a digest that is none",
        "64 lower-case hex digits",
        body={"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "../../etc"}}},
    ),
    Case(
        "another version of digests",
        "version 1",
        body={"extensions": {"persistedQuery": {"version": 2, "sha256Hash": "0" * 64}}},
        code="PERSISTED_QUERY_NOT_SUPPORTED",
    ),
    Case(
        "a document's id of another kind",
        "sha256:",
        body={"documentId": "md5:0"},
        code="PERSISTED_QUERY_NOT_SUPPORTED",
    ),
]


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock) as serving:
        yield serving


async def test_every_bad_request_is_refused_precisely_and_changes_nothing(
    api: Api, subtests: pytest.Subtests
) -> None:
    before = (await api.data(CHECK), await tables(api))
    for case in CASES:
        with subtests.test(case.is_):
            await expect(api, case)
    assert (await api.data(CHECK), await tables(api)) == before


async def expect(api: Api, case: Case) -> None:
    headers = {
        "Authorization": f"Bearer {api.admin}",
        "Accept": "application/graphql-response+json",
        "Content-Type": "application/json",
    }
    if case.url is not None:
        url = f"/graphql?{quote(case.url, safe='=&%')}"
        response = await api.http.get(url, headers=headers)
    else:
        content = json.dumps(case.body).encode() if case.raw is None else case.raw
        response = await api.http.post("/graphql", content=content, headers=headers)
    answer = response.json()
    error = answer["errors"][0]
    assert case.says in error["message"], error
    assert error["extensions"]["code"] == case.code
    assert error["extensions"]["status"] == case.status
    assert response.status_code == (200 if case.executed else case.status)
    assert ("data" in answer) == case.executed


async def tables(api: Api) -> dict[str, int]:
    """Return how many rows there are of whatever a request could leave behind."""
    names = ("customers", "usage_events", "audit_log", "overrides", "operations", "api_keys")
    return {
        name: await api.core.database.fetchval(f"select count(*) from {name}")  # noqa: S608 - ours
        for name in names
    }


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len(CASES) >= 60
