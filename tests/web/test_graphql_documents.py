"""Documents: known by their digest, kept within bounds, closed to customers in production."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from api.infra.shelf import Shelf
from api.schema import documents
from api.schema.build import build_schema
from api.schema.documents import Documents
from tests.support.clock import FakeClock
from tests.support.graphql import Answer, Api, served

QUERY = '{ check(customer: "acme", feature: "calls") { status } }'
GRAPHIQL_ASKS = """
query { __schema { types { ...Full } directives { name args { ...Input } } } }
fragment Full on __Type { kind name fields(includeDeprecated: true) {
  name args { ...Input } type { ...Ref } isDeprecated
} inputFields { ...Input } possibleTypes { ...Ref } }
fragment Input on __InputValue { name type { ...Ref } defaultValue }
fragment Ref on __Type { kind name ofType { kind name ofType { kind name ofType { kind name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }
"""


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def persisted(text: str) -> dict[str, object]:
    return {"persistedQuery": {"version": 1, "sha256Hash": digest_of(text)}}


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock) as serving:
        yield serving


@pytest.fixture
async def production(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock, HEADROOM_ENV="production") as serving:
        yield serving


async def test_a_document_sent_once_with_its_digest_is_known_by_it(api: Api) -> None:
    unknown = await api.send({"extensions": persisted(QUERY)})
    assert unknown["errors"][0]["message"] == "PersistedQueryNotFound"
    answer = {"data": {"check": {"status": 200}}}
    assert await api.send({"query": QUERY, "extensions": persisted(QUERY)}) == answer
    assert await api.send({"extensions": persisted(QUERY)}) == answer
    assert await api.send({"documentId": f"sha256:{digest_of(QUERY)}"}) == answer
    response = await api.http.get(
        "/graphql",
        params={"documentId": f"sha256:{digest_of(QUERY)}"},
        headers={"Authorization": f"Bearer {api.admin}"},
    )
    assert response.json() == answer


async def test_a_document_that_is_not_valid_is_not_kept(api: Api) -> None:
    await api.send({"query": "{ nothing }", "extensions": persisted("{ nothing }")})
    again = await api.send({"extensions": persisted("{ nothing }")})
    assert again["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_known_document_still_asks_who_is_asking(api: Api) -> None:
    await api.send({"query": QUERY, "extensions": persisted(QUERY)})
    token = api.token("other")
    answer = await api.send({"extensions": persisted(QUERY)}, as_=token)
    assert answer["errors"][0]["extensions"]["code"] == "UNKNOWN_CUSTOMER"


async def test_a_mutation_known_by_its_digest_is_not_executed_by_get(api: Api) -> None:
    mutation = 'mutation { consume(input: {customer: "acme", feature: "calls"}) { id } }'
    await api.send({"query": mutation, "extensions": persisted(mutation)})
    response = await api.http.get(
        "/graphql",
        params={"documentId": f"sha256:{digest_of(mutation)}"},
        headers={"Authorization": f"Bearer {api.admin}"},
    )
    assert response.status_code == 405


def closed(answer: Answer) -> bool:
    return "errors" in answer and "introspection" in answer["errors"][0]["message"].lower()


async def test_in_production_a_customer_neither_introspects_nor_is_helped_to_names(
    production: Api,
) -> None:
    token = production.token("acme")
    for query in (GRAPHIQL_ASKS, '{ __type(name: "Query") { name } }'):
        assert closed(await production.post(query, as_=token))
        assert "errors" not in await production.post(query)
    wrong = "{ plannns { edges { cursor } } }"
    told = (await production.post(wrong, as_=token))["errors"][0]["message"]
    assert told == "Cannot query field 'plannns' on type 'Query'."
    helped = (await production.post(wrong))["errors"][0]["message"]
    assert helped == "Cannot query field 'plannns' on type 'Query'. Did you mean 'plans' or 'plan'?"
    enum = "query ($s: WebhookState) { webhookEvents(state: $s) { edges { cursor } } }"
    told = (await production.post(enum, as_=token, s="PARKD"))["errors"][0]["message"]
    assert "Did you mean" not in told
    assert (await production.data("{ __typename }", as_=token)) == {"__typename": "Query"}


async def test_in_production_nobody_in_particular_sees_nothing(production: Api) -> None:
    response = await production.http.post("/graphql", json={"query": "{ __typename }"})
    assert response.status_code == 401


async def test_in_development_the_schema_is_open_to_a_customer_as_well(api: Api) -> None:
    assert "errors" not in await api.post(GRAPHIQL_ASKS, as_=api.token("acme"))


async def test_a_caller_may_bring_only_so_many_documents_a_minute(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "NEW_PER_MINUTE", 3)
    other = await api.key("check")
    for number in range(3):
        await api.data(f"{{ a{number}: __typename }}", as_=other)
    response = await api.http.post(
        "/graphql",
        json={"query": "{ b: __typename }"},
        headers={"Authorization": f"Bearer {other}", "Accept": "application/graphql-response+json"},
    )
    extensions = response.json()["errors"][0]["extensions"]
    assert (response.status_code, extensions["code"]) == (429, "RATE_LIMITED")
    assert response.headers["retry-after"] == "60"
    await api.data("{ a0: __typename }", as_=other)
    api.clock.advance(minutes=1)
    await api.data("{ b: __typename }", as_=other)


async def test_the_api_s_own_rate_limit_holds_here_as_well(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with served(
        database_url,
        redis_url,
        clock,
        HEADROOM_RATE_LIMIT_PER_SECOND="1",
        HEADROOM_RATE_LIMIT_BURST="2",
    ) as api:
        await api.data("{ __typename }")
        await api.data("{ __typename }")
        assert (await api.error("{ __typename }"))["code"] == "RATE_LIMITED"


def test_what_is_kept_is_bounded_in_number_and_in_bytes() -> None:
    shelf: Shelf[str, int] = Shelf(3, 10)
    for number, key in enumerate(["a", "b", "c"]):
        shelf.put(key, number, 1)
    assert shelf.get("a") == 0
    shelf.put("d", 3, 1)
    assert [shelf.get(key) for key in "abcd"] == [0, None, 2, 3]
    shelf.put("nine99999", 4, 9)
    assert [shelf.get(key) for key in ("a", "c", "d", "nine99999")] == [None, None, 3, 4]
    shelf.put("eleven11111", 5, 11)
    assert len(shelf) == 0


def test_a_document_is_read_once() -> None:
    kept = Documents(build_schema()._schema)  # noqa: SLF001 - Strawberry has no other name for it
    first = kept.prepare("{ __typename }", None, closed=False, caller="a", at_ms=0)
    assert kept.prepare("{ __typename }", None, closed=False, caller="b", at_ms=0) is first
    assert kept.prepare("{ __typename }", None, closed=True, caller="b", at_ms=0) is not first
