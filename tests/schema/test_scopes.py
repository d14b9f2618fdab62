"""Who may ask for what: one table, complete, and held before every field."""

import itertools

import pytest
from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
)

from api.gates.principal import INCLUDES, Scope
from api.schema.scopes import FIELDS, TYPES
from api.schema.sdl import sdl
from tests.support.graphql import Api

SCHEMA: GraphQLSchema = build_schema(sdl())
ROOTS = ("Query", "Mutation")


def fields() -> dict[str, GraphQLField]:
    return {
        f"{type_.name}.{name}": field
        for type_ in SCHEMA.type_map.values()
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        and not type_.name.startswith("__")
        for name, field in type_.fields.items()
    }


def test_every_field_has_a_stated_scope() -> None:
    unstated = [
        name
        for name in fields()
        if name not in FIELDS and name.split(".")[0] not in TYPES | {"Node"}
    ]
    assert unstated == []


def test_nothing_is_stated_of_what_there_is_not() -> None:
    types = {name.split(".")[0] for name in fields()}
    assert [name for name in FIELDS if name not in fields()] == []
    assert types - set(ROOTS) - {"Node"} == TYPES


def test_what_only_support_may_see_is_reached_through_nothing_less() -> None:
    """Types that are not about the caller's own customer have no way in for a customer."""
    own = {"Plan", "PlanConnection", "Customer", "Subscription", "Decision"}
    own |= {"Consumption", "ConsumeOutcome", "Node", "CreditCost", "Pack"}
    own |= {"BillingOperation", "PlanPreview"}
    for name, rule in FIELDS.items():
        if rule.tokens:
            assert get_named_type(fields()[name].type).name in own, name


def argument(name: str, type_name: str) -> str:
    bare = type_name.rstrip("!")
    if bare.startswith("["):
        return f"[{argument(name, bare[1:].rstrip(']'))}]"
    inputs = {
        "ConsumeInput": '{feature: "calls"}',
        "ConsumeTogetherInput": '{items: [{feature: "calls"}]}',
        "ReleaseInput": '{feature: "seats"}',
        "AllocationInput": '{customer: "acme", feature: "seats", units: 1}',
        "CustomerInput": '{key: "acme"}',
        "PlaceHoldInput": '{customer: "acme", feature: "calls"}',
        "CaptureHoldInput": '{customer: "acme", holdId: "x"}',
        "VoidHoldInput": '{customer: "acme", holdId: "x"}',
        "ExtendHoldInput": '{customer: "acme", holdId: "x", seconds: 1}',
        "OverrideInput": '{customer: "acme", feature: "calls", enabled: true}',
        "CheckoutInput": '{customer: "acme", plan: "pro"}',
        "PortalSessionInput": '{customer: "acme"}',
        "PlanPreviewInput": '{customer: "acme", plan: "pro"}',
        "ChangePlanInput": '{customer: "acme", plan: "pro"}',
        "CancelSubscriptionInput": '{customer: "acme"}',
        "ResumeSubscriptionInput": '{customer: "acme"}',
        "SetAddOnInput": '{customer: "acme", addOn: "x", quantity: 1}',
        "PromotionCodeInput": '{customer: "acme", code: "x"}',
        "RefundPaymentInput": '{payment: "pi_1"}',
        "CreateCouponInput": '{name: "x"}',
        "Scope": "CHECK",
        "DateTime": '"2026-03-10T10:00:00Z"',
        "FailureGrouping": "ADDRESS",
        "Units": "1",
        "SignedUnits": "1",
    }
    return inputs.get(bare, '"x"')


def document(name: str) -> str:
    """Return a document that asks for one root field, with whatever it must be given."""
    root, field = name.split(".")
    definition = fields()[name]
    given = ", ".join(
        f"{arg}: {argument(arg, str(one.type))}"
        for arg, one in definition.args.items()
        if str(one.type).endswith("!") and one.default is None
    )
    leaf = get_named_type(definition.type)
    inner = "{ __typename }" if str(leaf) not in ("Boolean", "Int", "String") else ""
    operation = "mutation" if root == "Mutation" else "query"
    return f"{operation} {{ {field}{f'({given})' if given else ''} {inner} }}"


ROOT_FIELDS = [name for name in fields() if name.split(".")[0] in ROOTS]


def refused(answer: dict[str, object]) -> bool:
    errors = answer.get("errors", [])
    assert isinstance(errors, list)
    return any(error["extensions"]["code"] == "FORBIDDEN" for error in errors)


async def test_each_scope_opens_exactly_the_fields_of_its_own(api: Api) -> None:
    for scope in Scope:
        key = await api.key(scope)
        for name in ROOT_FIELDS:
            opens = any(wanted in INCLUDES[scope] for wanted in FIELDS[name].scopes)
            answer = await api.post(document(name), as_=key)
            assert refused(answer) != opens, (scope, name, answer)


async def test_a_customer_s_token_opens_exactly_what_the_table_says(api: Api) -> None:
    for scopes, name in itertools.product(
        [["check"], ["check", "consume"], ["check", "manage"]], ROOT_FIELDS
    ):
        rule = FIELDS[name]
        opens = rule.tokens and any(scope in scopes for scope in rule.scopes)
        answer = await api.post(document(name), as_=api.token("acme", scopes))
        assert refused(answer) != opens, (scopes, name, answer)


async def test_a_field_that_asks_for_more_than_its_type_is_refused_alone(api: Api) -> None:
    query = '{ customer(key: "acme") { key overrides { feature } } }'
    answer = await api.post(query, as_=await api.key("check"))
    assert refused(answer)
    assert (await api.data(query, as_=await api.key("support")))["customer"]["overrides"] == []


async def test_nobody_in_particular_may_look_at_the_schema_and_nothing_else(api: Api) -> None:
    async def asked(query: str) -> dict[str, object]:
        response = await api.http.post("/graphql", json={"query": query})
        answer: dict[str, object] = response.json()
        return answer

    assert "errors" not in await asked("{ __schema { queryType { name } } }")
    for name in ROOT_FIELDS:
        errors = (await asked(document(name)))["errors"]
        assert isinstance(errors, list)
        assert {error["extensions"]["code"] for error in errors} == {"UNAUTHENTICATED"}, name


@pytest.mark.parametrize("name", ROOT_FIELDS)
def test_every_operator_s_action_asks_for_a_reason(name: str) -> None:
    of_products = {
        "consume",
        "consumeTogether",
        "consumeEach",
        "release",
        "stateAllocation",
        "upsertCustomer",
        "placeHold",
        "captureHold",
        "voidHold",
        "extendHold",
        "createCheckout",
        "createPortalSession",
        "changePlan",
        "cancelSubscription",
        "resumeSubscription",
        "setAddOnQuantity",
        "applyPromotionCode",
    }
    root, field = name.split(".")
    asks = "reason" in fields()[name].args
    assert asks == (root == "Mutation" and field not in of_products)
