"""``headroom customers``: who holds what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from api.billing.support_actions import FoundAtProvider
from api.catalog import subscriptions
from api.catalog.customers import Customer, CustomerInput, Entitled
from api.catalog.subscriptions import SubscriptionRecord
from api.cli.operator import actor_name, principal
from api.cli.options import Actor, CustomerKey, DataDir, Json
from api.cli.output import instant, note, say, say_json, say_table
from api.cli.running import on_core
from api.domain.errors import InvalidInput, NotFound
from api.gates.principal import Scope
from api.wiring import Core
from api.wiring.credentials import access_of
from api.wiring.operating import minting_of
from api.wiring.payments import stripe_of, support_actions_of

app = typer.Typer(no_args_is_help=True, help="Customers: create, look at, find, and let in.")


@app.command()
def create(  # noqa: PLR0913 - one for each option
    key: CustomerKey,
    *,
    type_: Annotated[str | None, typer.Option("--type", help="A type of the catalog.")] = None,
    name: Annotated[str | None, typer.Option(help="A person's or company's name.")] = None,
    email: Annotated[str | None, typer.Option(help="An address.")] = None,
    timezone: Annotated[str | None, typer.Option(help="As Europe/Berlin; UTC by default.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "a new customer",
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Create a customer, or change what is given of one that exists."""
    given = CustomerInput(key, type_, name, email, timezone)

    async def made(core: Core) -> Customer:
        who = actor or actor_name()
        return await core.changes.upsert_customer(given, core.clock.now(), who, reason)

    _show_row(on_core(data_dir, made), as_json=as_json)


@app.command()
def show(key: CustomerKey, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Show a customer, its plan, and its subscriptions."""

    async def found(
        core: Core,
    ) -> tuple[Entitled, Sequence[SubscriptionRecord], list[tuple[str, str]]]:
        customer = await core.customers.get(key)
        entitled = await core.customers.entitled([customer.id], core.clock.now())
        records = await subscriptions.by_customer(core.database, customer.id)
        return entitled[customer.id], records, await core.customers.links(customer.id)

    entitled, records, links = on_core(data_dir, found)
    held, rights = entitled.held, entitled.entitlements
    if as_json:
        say_json(
            {
                "customer": held.customer,
                "plan": rights.plan,
                "plans": rights.plans,
                "withheld": rights.withheld,
                "add_ons": dict(rights.add_ons),
                "valid_until": rights.valid_until,
                "subscriptions": records,
                "overrides": held.facts.overrides,
                "links": links,
            }
        )
        return
    _show_row(held.customer, as_json=False)
    say(f"plan      {rights.plan}  (of {', '.join(rights.plans)})")
    if rights.withheld:
        say(f"withheld  {', '.join(rights.withheld)}")
    for add_on, quantity in rights.add_ons:
        say(f"add-on    {add_on} x {quantity}")
    if rights.valid_until is not None:
        say(f"changes   by itself at {instant(rights.valid_until)}")
    for record in records:
        _say_subscription(record)
    for override in held.facts.overrides:
        say(f"override  {override.feature}  until {instant(override.expires_at)}")
    for provider, name in links:
        say(f"known to  {provider} as {name}")


@app.command()
def find(
    *,
    email: Annotated[str | None, typer.Option(help="An address, in whatever case.")] = None,
    provider_id: Annotated[
        str | None, typer.Option(help="The payment provider's name of the customer, as cus_….")
    ] = None,
    at_provider: Annotated[
        bool, typer.Option("--at-provider", help="Ask the payment provider; with --email.")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Find customers by what is known of them. Exits with 1 where there is none."""
    if (email is None) == (provider_id is None):
        raise InvalidInput("Give --email or --provider-id, one of the two.")
    if at_provider:
        if email is None:
            raise InvalidInput("Give --email with --at-provider.")
        _find_at_provider(email, as_json=as_json, data_dir=data_dir)
        return

    async def found(core: Core) -> list[Customer]:
        if email is not None:
            return await core.customers.find_by_email(email)
        one = await core.customers.find_by_link("stripe", provider_id or "")
        return [] if one is None else [one]

    customers = on_core(data_dir, found)
    if as_json:
        say_json(customers)
    elif customers:
        rows = [(c.key, c.type, c.name, c.email, c.timezone) for c in customers]
        say_table(("key", "type", "name", "email", "timezone"), rows)
    if not customers:
        raise NotFound("There is no such customer.")


def _find_at_provider(email: str, *, as_json: bool, data_dir: Path | None) -> None:
    async def found(core: Core) -> Sequence[FoundAtProvider]:
        async with stripe_of(core.settings) as stripe:
            return await support_actions_of(core, stripe).find_at_provider(email)

    people = on_core(data_dir, found)
    if as_json:
        say_json(people)
    elif people:
        rows = [(p.there.id, p.there.email, p.there.name, p.there.key, p.linked) for p in people]
        say_table(("there", "email", "name", "says it is", "linked with"), rows)
    if not people:
        raise NotFound("The payment provider knows nobody of this address.")


@app.command()
def token(
    key: CustomerKey,
    *,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="check, or also consume; may be repeated.")
    ] = None,
    ttl_seconds: Annotated[int, typer.Option(min=1, help="How long it is good for.")] = 3600,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "asked for",
    actor: Actor = None,
    data_dir: DataDir = None,
) -> None:
    """Print a token with which this customer may ask about itself."""

    async def mint(core: Core) -> str:
        minting = minting_of(core, await access_of(core))
        minted, _ = await minting.mint(
            key,
            scope or [Scope.CHECK],
            ttl_seconds,
            at=core.clock.now(),
            principal=principal(actor),
            reason=reason,
        )
        return minted

    said = on_core(data_dir, mint)
    note(f"For {key}, good for {ttl_seconds} seconds.")
    say(said)


def _say_subscription(record: SubscriptionRecord) -> None:
    say(f"subscription {record.id}  {record.status.value}  {record.plan}")
    if record.pending_plan is not None:
        say(f"          to {record.pending_plan} once that is paid")
    if record.scheduled_plan is not None:
        say(f"          to {record.scheduled_plan} at {instant(record.scheduled_at)}")


def _show_row(customer: Customer, *, as_json: bool) -> None:
    if as_json:
        say_json(customer)
        return
    for label, value in (
        ("key", customer.key),
        ("type", customer.type),
        ("name", customer.name or "-"),
        ("email", customer.email or "-"),
        ("timezone", customer.timezone),
        ("created", instant(customer.created_at)),
        ("version", f"{customer.version}, by catalog revision {customer.catalog_revision}"),
    ):
        say(f"{label:<9} {value}")
