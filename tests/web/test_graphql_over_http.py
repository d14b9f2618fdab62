"""GraphQL over HTTP, audit by audit: the ids are those of the audits of ``graphql-http``.

Besides them, what the specification says and no audit asks.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.graphql import Api, served

NEW = "application/graphql-response+json"
OLD = "application/json"
TYPENAME = "{ __typename }"
TYPE = "query Type($name: String!) { __type(name: $name) { name } }"


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock) as serving:
        yield serving


@dataclass(frozen=True)
class Audit:
    """One request, and what must be answered. ``errors`` None: either way."""

    id: str
    says: str
    status: range
    accept: str | None = None
    method: str = "POST"
    body: Any = None
    raw: bytes | None = None
    content_type: str | None = "application/json"
    query: dict[str, str] = field(default_factory=dict)
    answers: str | None = None
    errors: bool | None = None
    data: bool | None = None


def exactly(status: int) -> range:
    return range(status, status + 1)


OK = exactly(200)
BAD = exactly(400)
REFUSED = range(400, 500)


def asks(query: object = TYPENAME, **more: object) -> dict[str, object]:
    return {"query": query, **more}


NOT_A_STRING = [{"obj": "ect"}, 0, False, ["array"]]
NOT_A_MAP = ["string", 0, False, ["array"]]

AUDITS = [
    Audit("22EB", "accepts the new type and answers in it", OK, NEW, body=asks(), answers=NEW),
    Audit("4655", "accepts plain JSON and answers in it", OK, OLD, body=asks(), answers=OLD),
    Audit(
        "47DE", "accepts anything and answers in plain JSON", OK, "*/*", body=asks(), answers=OLD
    ),
    Audit("80D8", "assumes plain JSON where nothing is accepted", OK, body=asks(), answers=OLD),
    Audit("82A3", "answers in UTF-8", OK, body=asks()),
    Audit(
        "BF61",
        "accepts a request in UTF-8",
        OK,
        body=asks('{ __type(name: "Run🏃Swim🏊") { name } }'),
        content_type="application/json; charset=utf-8",
    ),
    Audit("78D5", "assumes UTF-8", OK, body=asks()),
    Audit("2C94", "accepts POST", OK, body=asks()),
    Audit("5A70", "accepts GET with parameters in the URL", OK, method="GET", query=asks()),  # type: ignore[arg-type]
    Audit(
        "9C48",
        "does not execute mutations by GET",
        REFUSED,
        NEW,
        method="GET",
        query={"query": "mutation { __typename }"},
    ),
    Audit("9ABE", "refuses a POST without a content type", REFUSED, content_type=None),
    Audit("03D4", "accepts JSON by POST", OK, body=asks()),
    Audit("A5BF", "refuses a POST without a body", BAD, raw=b""),
    Audit("423L", "refuses a request without query", BAD, NEW, body={"notquery": TYPENAME}),
    *(
        Audit(f"LKJ{n}", f"refuses a query that is {bad!r}", BAD, body=asks(bad))
        for n, bad in enumerate(NOT_A_STRING)
    ),
    Audit("34A2", "allows a query that is a string", OK, NEW, body=asks()),
    Audit("13EE", "allows it in plain JSON", OK, OLD, body=asks(), errors=False),
    *(
        Audit(f"6C0{n}", f"refuses the name {bad!r}", BAD, body=asks(operationName=bad))
        for n, bad in enumerate(NOT_A_STRING)
    ),
    Audit(
        "8161",
        "allows the name of an operation",
        OK,
        NEW,
        body=asks("query Query { __typename }", operationName="Query"),
    ),
    Audit(
        "B8B3",
        "allows it in plain JSON",
        OK,
        OLD,
        body=asks("query Query { __typename }", operationName="Query"),
        errors=False,
    ),
    *(
        Audit(
            f"{id_}{n}",
            f"allows {name} to be null",
            OK,
            kind,
            body=asks(**{name: None}),
            errors=False,
        )
        for n, name in enumerate(["variables", "operationName", "extensions"])
        for id_, kind in (("94B", NEW), ("022", OLD))
    ),
    *(
        Audit(f"476{n}", f"refuses the variables {bad!r}", BAD, body=asks(variables=bad))
        for n, bad in enumerate(NOT_A_MAP)
    ),
    Audit("2EA1", "allows variables", OK, NEW, body=asks(TYPE, variables={"name": "sometype"})),
    Audit(
        "28B9",
        "allows them in plain JSON",
        OK,
        OLD,
        body=asks(TYPE, variables={"name": "sometype"}),
        errors=False,
    ),
    *(
        Audit(
            id_,
            "allows variables as JSON in the URL",
            OK,
            kind,
            method="GET",
            query={"query": TYPE, "variables": '{"name": "sometype"}'},
            errors=False,
        )
        for id_, kind in (("D6D5", NEW), ("6A70", OLD))
    ),
    *(
        Audit(f"58B{n}", f"refuses the extensions {bad!r}", BAD, body=asks(extensions=bad))
        for n, bad in enumerate(NOT_A_MAP)
    ),
    Audit("428F", "allows extensions", OK, NEW, body=asks(extensions={"some": "value"})),
    Audit(
        "1B7A",
        "allows them in plain JSON",
        OK,
        OLD,
        body=asks(extensions={"some": "value"}),
        errors=False,
    ),
    Audit(
        "B6DC", "answers something to what is no JSON", range(200, 600), OLD, raw=b'{ "not a JSON'
    ),
    Audit("BCF8", "refuses what is no JSON", BAD, OLD, raw=b'{ "not a JSON'),
    Audit("B7N8", "refuses it in the new type", BAD, NEW, raw=b'{ "not a JSON'),
    Audit("8764", "refuses parameters that are not", REFUSED, body={"qeury": TYPENAME}),
    Audit("3E3A", "refuses them by 400", BAD, body={"qeury": TYPENAME}),
    Audit(
        "572B", "tells of a parse error by 200 in plain JSON", OK, OLD, body=asks("{"), errors=True
    ),
    Audit(
        "FDE2",
        "tells of an invalid document by 200 in plain JSON",
        OK,
        OLD,
        body=asks("{ a8f31403dfe404bccbb0e835f2629c6a7 }"),
        errors=True,
    ),
    Audit(
        "7B9B",
        "tells of variables that do not fit by 200 in plain JSON",
        OK,
        OLD,
        body=asks("query CoerceFailure($id: ID!) { __typename }", variables={"id": None}),
        errors=True,
    ),
    Audit("865D", "tells of a parse error by 4xx", REFUSED, NEW, body=asks("{")),
    Audit("556A", "tells of it by 400", BAD, NEW, body=asks("{")),
    Audit("D586", "tells of it without data", BAD, NEW, body=asks("{"), data=False),
    Audit("51FE", "tells of an invalid document by 4xx", REFUSED, NEW, body=asks("{ nothing }")),
    Audit("74FF", "tells of it by 400", BAD, NEW, body=asks("{ nothing }")),
    Audit("5E5B", "tells of it without data", BAD, NEW, body=asks("{ nothing }"), data=False),
    Audit(
        "86EE",
        "tells of variables that do not fit by 400",
        BAD,
        NEW,
        body=asks("query CoerceFailure($id: ID!) { __typename }", variables={"id": None}),
        data=False,
    ),
    Audit(
        "EE52",
        "answers 2xx where there is data, whatever else went wrong",
        OK,
        NEW,
        body=asks('{ __typename webhookEvent(eventId: "nothing") { type } }'),
        errors=True,
        data=True,
    ),
    Audit("BC58", "answers 401 to who is not known", exactly(401), "as nobody", body=asks()),
]


async def ask(api: Api, audit: Audit) -> tuple[int, str, bytes]:
    known = audit.accept != "as nobody"
    headers = {"Authorization": f"Bearer {api.admin if known else 'hr_' + 'x' * 43}"}
    if audit.accept is not None and known:
        headers["Accept"] = audit.accept
    if audit.method == "POST" and audit.content_type is not None:
        headers["Content-Type"] = audit.content_type
    content = audit.raw
    if content is None and audit.body is not None:
        content = json.dumps(audit.body, ensure_ascii=False).encode()
    request = api.http.build_request(
        audit.method, "/graphql", params=audit.query, headers=headers, content=content
    )
    if audit.accept is None:
        del request.headers["Accept"]
    response = await api.http.send(request)
    return response.status_code, response.headers["content-type"], response.content


async def test_every_audit_passes(api: Api, subtests: pytest.Subtests) -> None:
    for audit in AUDITS:
        with subtests.test(audit.says, id=audit.id):
            await expect(api, audit)


async def expect(api: Api, audit: Audit) -> None:
    status, content_type, content = await ask(api, audit)
    assert status in audit.status, content
    assert content_type.endswith("; charset=utf-8")
    answer = json.loads(content.decode("utf-8"))
    if audit.answers is not None:
        assert content_type.startswith(audit.answers)
    if audit.errors is not None:
        assert ("errors" in answer) == audit.errors, answer
    if audit.data is not None:
        assert ("data" in answer) == audit.data, answer
    if status >= 400:
        assert answer["errors"]
        assert answer["errors"][0]["extensions"]["status"] == status


def test_every_audit_has_its_own_id() -> None:
    assert len({audit.id for audit in AUDITS}) == len(AUDITS)


LIKED = [
    (f"{NEW}, {OLD};q=0.9", NEW),
    (f"{OLD}, {NEW}", OLD),
    (f"{OLD};q=0.1, {NEW};q=0.2", NEW),
    ("application/*", OLD),
    ("TEXT/HTML, APPLICATION/JSON", OLD),
    ("image/png, */*;q=0.1", OLD),
    (f"{NEW}; charset=utf-8", NEW),
    ("", OLD),
]


async def test_the_type_that_is_liked_best_is_given(api: Api, subtests: pytest.Subtests) -> None:
    for accept, answers in LIKED:
        with subtests.test(accept):
            _, content_type, _ = await ask(api, Audit("", "", OK, accept, body=asks()))
            assert content_type == f"{answers}; charset=utf-8"


async def test_who_takes_none_of_our_types_is_told_so(api: Api, subtests: pytest.Subtests) -> None:
    for accept in ("image/png", "text/html", f"{OLD};q=0", "nonsense", "a/b;q=x"):
        with subtests.test(accept):
            status, _, content = await ask(api, Audit("", "", OK, accept, body=asks()))
            assert status == 406
            assert json.loads(content)["errors"][0]["extensions"]["code"] == "NOT_ACCEPTABLE"


FORMS = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/graphql",
    "application/json; charset=latin-1",
    "",
]


async def test_what_another_site_could_send_for_a_visitor_is_not_read(
    api: Api, subtests: pytest.Subtests
) -> None:
    """These types pass a browser's door without a question to the server."""
    consume = 'mutation { consume(input: {customer: "acme", feature: "calls"}) { id } }'
    for content_type in FORMS:
        with subtests.test(content_type):
            audit = Audit("", "", OK, NEW, body=asks(consume), content_type=content_type)
            status, _, content = await ask(api, audit)
            assert status == 415
            code = json.loads(content)["errors"][0]["extensions"]["code"]
            assert code == "UNSUPPORTED_MEDIA_TYPE"
    check = '{ check(customer: "acme", feature: "calls") { windows { used } } }'
    assert (await api.data(check))["check"]["windows"][0] == {"used": 0}


@pytest.mark.parametrize("accept", [NEW, OLD])
async def test_a_mutation_by_get_is_405_and_changes_nothing(api: Api, accept: str) -> None:
    consume = 'mutation { consume(input: {customer: "acme", feature: "calls"}) { id } }'
    response = await api.http.get(
        "/graphql",
        params={"query": consume},
        headers={"Authorization": f"Bearer {api.admin}", "Accept": accept},
    )
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    check = '{ check(customer: "acme", feature: "calls") { windows { used } } }'
    assert (await api.data(check))["check"]["windows"][0] == {"used": 0}


async def test_another_method_is_405_and_told_which_are_answered(api: Api) -> None:
    for method in ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "QUERY"):
        response = await api.http.request(method, "/graphql")
        assert (response.status_code, response.headers["allow"]) == (405, "GET, POST"), method


async def test_an_empty_operation_name_is_none(api: Api) -> None:
    response = await api.http.get(
        "/graphql",
        params={"query": TYPENAME, "operationName": ""},
        headers={"Authorization": f"Bearer {api.admin}"},
    )
    assert response.json() == {"data": {"__typename": "Query"}}


async def test_of_several_operations_the_named_one_is_executed(api: Api) -> None:
    both = "query A { a: __typename } query B { b: __typename }"
    assert (await api.send(asks(both, operationName="B")))["data"] == {"b": "Query"}
    for name in (None, "C"):
        answer = await api.send(asks(both, operationName=name))
        assert answer["errors"][0]["extensions"]["status"] == 400
        assert "data" not in answer


async def test_an_answer_is_not_kept_by_anybody_on_the_way(api: Api) -> None:
    response = await api.http.post("/graphql", json=asks(), headers={"Authorization": "x"})
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["vary"] == "accept, authorization"
    assert response.headers["www-authenticate"] == 'Bearer realm="headroom"'


PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def test_a_browser_is_shown_graphiql_in_development(api: Api) -> None:
    response = await api.http.get("/graphql", headers={"Accept": PAGE})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert "://" not in response.text


async def test_a_browser_is_shown_nothing_in_production(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with served(database_url, redis_url, clock, HEADROOM_ENV="production") as api:
        response = await api.http.get("/graphql", headers={"Accept": PAGE})
        assert response.status_code == 401
        assert response.headers["content-type"].startswith(OLD)
