"""A customer's token sees its own customer only, through every door."""

import pytest

from api.schema import ids
from tests.support.graphql import Api

ALL_OF_A_CUSTOMER = "{ id key name email plan { key } entitlements { feature { key } } }"


async def id_of(api: Api, key: str) -> str:
    return str((await api.data(f'{{ customer(key: "{key}") {{ id }} }}'))["customer"]["id"])


async def test_me_is_the_token_s_own_customer_and_nobody_for_a_service(api: Api) -> None:
    assert (await api.data("{ me { key } }", as_=api.token("acme")))["me"] == {"key": "acme"}
    assert (await api.data("{ me { key } }"))["me"] is None


async def test_another_customer_reads_as_one_that_there_is_not(api: Api) -> None:
    token = api.token("acme")
    query = f"query ($key: String!) {{ customer(key: $key) {ALL_OF_A_CUSTOMER} }}"
    assert (await api.data(query, as_=token, key="other"))["customer"] is None
    assert (await api.data(query, as_=token, key="nobody"))["customer"] is None
    assert (await api.data(query, as_=token, key="acme"))["customer"]["key"] == "acme"


async def test_node_finds_the_own_customer_and_no_other(api: Api) -> None:
    query = "query ($id: ID!) { node(id: $id) { id ... on Customer { key } } }"
    own, other = await id_of(api, "acme"), await id_of(api, "other")
    token = api.token("acme")
    assert (await api.data(query, as_=token, id=own))["node"] == {"id": own, "key": "acme"}
    assert (await api.data(query, as_=token, id=other))["node"] is None
    assert (await api.data(query, id=other))["node"]["key"] == "other"


async def test_aliases_reach_no_further(api: Api) -> None:
    other = await id_of(api, "other")
    query = f"""{{
      a: customer(key: "acme") {{ key }}
      b: customer(key: "other") {{ key }}
      c: node(id: "{other}") {{ id }}
      d: me {{ key }}
    }}"""
    data = await api.data(query, as_=api.token("acme"))
    assert data == {"a": {"key": "acme"}, "b": None, "c": None, "d": {"key": "acme"}}


@pytest.mark.parametrize("asked", ["other", "nobody", ""])
async def test_check_of_another_says_what_it_says_of_nobody(api: Api, asked: str) -> None:
    query = 'query ($customer: String) { check(customer: $customer, feature: "calls") { status } }'
    error = await api.error(query, as_=api.token("acme"), customer=asked)
    assert (error["code"], error["status"]) == ("UNKNOWN_CUSTOMER", 404)
    assert error["message"] == f"There is no customer '{asked}'."


async def test_the_customer_may_be_left_out(api: Api) -> None:
    token = api.token("acme", ["check", "consume"])
    data = await api.data('{ check(feature: "calls") { customer } }', as_=token)
    assert data["check"]["customer"] == "acme"
    data = await api.data('mutation { consume(input: {feature: "calls"}) { customer } }', as_=token)
    assert data["consume"]["customer"] == "acme"


async def test_every_mutation_on_another_reads_as_unknown_and_changes_nothing(api: Api) -> None:
    token = api.token("acme", ["check", "consume"])
    for mutation in (
        'consume(input: {customer: "other", feature: "calls"}) { id }',
        'consumeTogether(input: {customer: "other", items: [{feature: "calls"}]}) { id }',
        'release(input: {customer: "other", feature: "seats"}) { id }',
    ):
        error = await api.error(f"mutation {{ {mutation} }}", as_=token)
        assert error["code"] == "UNKNOWN_CUSTOMER", mutation
    each = """mutation { consumeEach(inputs: [
      {feature: "calls"},
      {customer: "other", feature: "calls"},
      {customer: "acme", feature: "calls"}
    ]) { consumption { customer } denial { code decision { code } } } }"""
    outcomes = (await api.data(each, as_=token))["consumeEach"]
    assert outcomes[1] == {
        "consumption": None,
        "denial": {"code": "UNKNOWN_CUSTOMER", "decision": None},
    }
    check = '{ check(customer: "other", feature: "calls") { windows { used } } }'
    assert (await api.data(check))["check"]["windows"][0] == {"used": 0}


async def test_without_the_scope_a_token_changes_nothing(api: Api) -> None:
    query = 'mutation { consume(input: {feature: "calls"}) { id } }'
    error = await api.error(query, as_=api.token("acme"))
    assert (error["code"], error["status"]) == ("FORBIDDEN", 403)


async def test_a_token_gives_back_what_it_holds_and_never_what_it_used(api: Api) -> None:
    token = api.token("acme", ["check", "consume"])
    query = "mutation ($f: String!) { release(input: {feature: $f}) { units } }"
    consume = "mutation ($f: String!) { consume(input: {feature: $f}) { id } }"
    for feature in ("calls", "seats"):
        await api.data(consume, as_=token, f=feature)
    assert (await api.data(query, as_=token, f="seats"))["release"]["units"] == 1
    error = await api.error(query, as_=token, f="calls")
    assert error["code"] == "FORBIDDEN"


async def test_a_plan_agreed_with_somebody_else_is_not_shown(api: Api) -> None:
    keys = '{ plans { edges { node { key } } } plan(key: "acme_special") { key } }'
    seen = await api.data(keys, as_=api.token("acme"))
    assert [e["node"]["key"] for e in seen["plans"]["edges"]] == ["free", "class", "pro"]
    assert seen["plan"] is None
    node = "query ($id: ID!) { node(id: $id) { id } }"
    plan_id = ids.encode("Plan", "acme_special")
    assert (await api.data(node, as_=api.token("acme"), id=plan_id))["node"] is None
    assert (await api.data(node, id=plan_id))["node"] == {"id": plan_id}
    assert (await api.data(keys))["plan"] == {"key": "acme_special"}


async def test_a_token_of_a_customer_that_there_is_not_sees_nobody(api: Api) -> None:
    token = api.token("ghost")
    assert (await api.data("{ me { key } }", as_=token))["me"] is None
    error = await api.error('{ check(feature: "calls") { status } }', as_=token)
    assert error["code"] == "UNKNOWN_CUSTOMER"
