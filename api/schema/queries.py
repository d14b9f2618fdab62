"""Questions that products and their customers ask."""

from __future__ import annotations

import strawberry

from api.catalog.customers import Customer as CustomerRow
from api.domain.errors import UnknownCustomer
from api.schema import ids
from api.schema.context import Context, Info
from api.schema.customers import Customer, Subscription, customer_of, subscription_of
from api.schema.decisions import Decision, decision_of
from api.schema.described import described, taskless
from api.schema.given import given
from api.schema.pages import Connection, Node
from api.schema.plans import Plan, shelf_for
from api.schema.scalars import ONE, Units


@strawberry.type
class Questions:
    """What is sold, who holds it, and whether a customer may do something now."""

    @strawberry.field
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:  # noqa: A002 - the contract's name
        """Find what has this id; null for what there is not, or not for the caller."""
        found = ids.decode(id)
        match found:
            case ("Plan", key):
                return (await shelf_for(info.context)).find(key)
            case ("Customer", own):
                return await _customer_node(info.context, own)
            case ("Subscription", own):
                return await _subscription_node(info.context, own)
            case _:
                return None

    @strawberry.field
    async def plans(
        self, info: Info, first: int | None = 50, after: str | None = strawberry.UNSET
    ) -> Connection[Plan]:
        """List what is sold, from the least to the most."""
        most = info.context.services.max_page_size
        shelf = await shelf_for(info.context)
        return shelf.page(50 if first is None else first, given(after), most)

    @strawberry.field
    async def plan(self, info: Info, key: str) -> Plan | None:
        """Show the plan of this key; null where there is none for the caller."""
        return (await shelf_for(info.context)).find(key)

    @described("The customer a customer token belongs to.")
    async def me(self, info: Info) -> Customer | None:
        """Show the caller's own customer; null for a service."""
        own = info.context.caller.customer
        row = None if own is None else await info.context.loaders.customers_by_key.load(own)
        return None if row is None else customer_of(row)

    @strawberry.field
    async def customer(self, info: Info, key: str) -> Customer | None:
        """Show one customer; null where there is none for the caller."""
        try:
            asked = info.context.caller.customer_for(key)
        except UnknownCustomer:
            return None
        row = await info.context.loaders.customers_by_key.load(asked)
        return None if row is None else customer_of(row)

    @taskless
    async def check(
        self,
        info: Info,
        feature: str,
        customer: str | None = strawberry.UNSET,
        units: Units = ONE,
    ) -> Decision:
        """Answer what consume would, and count nothing."""
        asked = info.context.caller.customer_for(given(customer))
        gate = info.context.services.gate
        decision = await gate.check(asked, feature, units, info.context.at_ms)
        info.context.note(decision)
        return decision_of(decision)


async def _customer_node(context: Context, own: str) -> Customer | None:
    row = await _row(context, ids.number(own))
    return None if row is None else customer_of(row)


async def _subscription_node(context: Context, own: str) -> Subscription | None:
    number = ids.number(own)
    record = None if number is None else await context.loaders.subscription.load(number)
    if record is None or await _row(context, record.customer_id) is None:
        return None
    return subscription_of(record)


async def _row(context: Context, number: int | None) -> CustomerRow | None:
    """Return the customer of this number if the caller may see it."""
    row = None if number is None else await context.loaders.customers.load(number)
    if row is None or context.caller.customer not in (None, row.key):
        return None
    return row
