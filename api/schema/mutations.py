"""What products and their customers do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import strawberry

from api.catalog import customers as catalog
from api.domain.errors import HeadroomError, InvalidInput
from api.gates.outcome import ConsumeRequest, Denied
from api.gates.outcome import Consumption as Counted
from api.gates.principal import Principal
from api.schema.context import Context, Info
from api.schema.customers import Customer, customer_of
from api.schema.decisions import (
    ConsumeOutcome,
    Consumption,
    consumption_of,
    outcome_of,
)
from api.schema.described import described
from api.schema.errors import Refused
from api.schema.given import given
from api.schema.scalars import ONE, Units


@strawberry.input(description="With a customer token, customer is omitted or the token's own.")
class ConsumeInput:
    """One thing to judge and count."""

    customer: str | None = strawberry.UNSET
    feature: str
    units: Units = ONE
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input
class ItemInput:
    """One feature among several."""

    feature: str
    units: Units = ONE


@strawberry.input
class ConsumeTogetherInput:
    """Several features to judge and count, all or nothing."""

    customer: str | None = strawberry.UNSET
    items: list[ItemInput]
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input(
    description="consumptionId: release what that consumption took, in the windows it was counted "
    "in."
)
class ReleaseInput:
    """What to give back."""

    customer: str | None = strawberry.UNSET
    feature: str
    units: Units = ONE
    consumption_id: strawberry.ID | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input(description="How many units of an allocation are in use, whatever was counted.")
class AllocationInput:
    """An absolute count."""

    customer: str
    feature: str
    units: Units
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input
class CustomerInput:
    """What the product says of a customer; what is left out stays as it is."""

    key: str
    type: str | None = strawberry.UNSET
    name: str | None = strawberry.UNSET
    email: str | None = strawberry.UNSET
    timezone: str | None = strawberry.UNSET


@strawberry.type
class Actions:
    """Counting, giving back, and telling of customers."""

    @strawberry.mutation
    async def upsert_customer(self, info: Info, input: CustomerInput) -> Customer | None:  # noqa: A002 - the contract's name
        """Create a customer, or change what is given of it."""
        context = info.context
        row = await context.services.changes.upsert_customer(
            catalog.CustomerInput(
                key=input.key,
                type=given(input.type),
                name=given(input.name),
                email=given(input.email),
                timezone=given(input.timezone),
            ),
            context.at,
            context.caller.actor,
        )
        context.loaders.forget()
        return customer_of(row)

    @described(
        "Judge and count in one step. Denied: null, and an error with code and status.",
        taskless=True,
    )
    async def consume(self, info: Info, input: ConsumeInput) -> Consumption | None:  # noqa: A002 - likewise
        """Count, or raise the denial."""
        context = info.context
        caller = context.caller
        result = await context.services.gate.consume(
            caller.customer_for(given(input.customer)),
            input.feature,
            input.units,
            given(input.idempotency_key),
            context.at_ms,
            caller.actor,
        )
        context.note(result)
        if isinstance(result, Denied):
            raise Refused(result)
        return consumption_of(result)

    @described("Several features, all or nothing.")
    async def consume_together(
        self,
        info: Info,
        input: ConsumeTogetherInput,  # noqa: A002 - likewise
    ) -> list[Consumption] | None:
        """Count all, or raise every denial."""
        context = info.context
        _expect_batch(context, len(input.items))
        result = await context.services.gate.consume_together(
            context.caller.customer_for(given(input.customer)),
            [(item.feature, item.units) for item in input.items],
            given(input.idempotency_key),
            context.at_ms,
            context.caller.actor,
        )
        context.note(result)
        if isinstance(result, Denied):
            raise Refused(result, together=True)
        return [consumption_of(one) for one in result]

    @described("Independent items, at most 100; outcomes in order, as data.", taskless=True)
    async def consume_each(self, info: Info, inputs: list[ConsumeInput]) -> list[ConsumeOutcome]:
        """Count each on its own; what is wrong with one is its own denial."""
        context = info.context
        _expect_batch(context, len(inputs))
        requests, refused = _requests(context.caller, inputs)
        outcomes = await context.services.gate.consume_each(requests, context.at_ms)
        for place, error in refused:
            outcomes.insert(place, error)
        context.note_all(outcomes)
        return [outcome_of(one) for one in outcomes]

    @described("Give back an allocation, or usage counted by mistake.")
    async def release(self, info: Info, input: ReleaseInput) -> Consumption | None:  # noqa: A002 - likewise
        """Give back; a customer's token only what it holds, never what it used."""
        context = info.context
        customer = context.caller.customer_for(given(input.customer))
        if context.caller.customer is not None:
            feature = await context.services.gate.feature(input.feature)
            context.caller.expect_release(feature.kind)
        key = given(input.idempotency_key)
        return consumption_of(await _release(context, customer, input, key))

    @described(
        "State how many units of an allocation are in use, 0 or more, also above its "
        "limit: the product's own count wins over ours."
    )
    async def state_allocation(self, info: Info, input: AllocationInput) -> Consumption | None:  # noqa: A002 - likewise
        """Set an absolute count."""
        context = info.context
        customer = context.caller.customer_for(input.customer)
        stated = await context.services.gate.state(
            customer, input.feature, input.units, given(input.idempotency_key), context.at_ms
        )
        return consumption_of(stated)


async def _release(
    context: Context, customer: str, asked: ReleaseInput, key: str | None
) -> Counted:
    if not asked.consumption_id:
        return await context.services.gate.release(
            customer, asked.feature, asked.units, key, context.at_ms
        )
    return await context.services.releases.release(
        customer,
        asked.feature,
        asked.units,
        asked.consumption_id,
        key,
        context.at_ms,
        actor=context.caller.actor,
    )


# Of whole tuples, as a batch makes a hundred: naming fields takes longer than the tuple itself.
_request = partial(tuple.__new__, ConsumeRequest)


def _requests(
    caller: Principal, inputs: Sequence[ConsumeInput]
) -> tuple[list[ConsumeRequest], list[tuple[int, HeadroomError]]]:
    """Return what may be asked, and what may not, each with its place among the inputs."""
    requests: list[ConsumeRequest] = []
    refused: list[tuple[int, HeadroomError]] = []
    actor, unset = caller.actor, strawberry.UNSET
    for place, item in enumerate(inputs):
        customer, key = item.customer, item.idempotency_key
        try:
            customer = caller.customer_for(None if customer is unset else customer)
        except HeadroomError as error:
            refused.append((place, error))
            continue
        key = None if key is unset else key
        requests.append(_request((customer, item.feature, item.units, key, actor)))
    return requests, refused


def _expect_batch(context: Context, length: int) -> None:
    most = context.services.max_batch
    if length > most:
        raise InvalidInput(f"At most {most} items go in one call, not {length}.")
