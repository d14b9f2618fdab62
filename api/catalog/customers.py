"""Customers: whoever holds a subscription, and everything the record says of their rights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.catalog import audit, overrides, subscriptions
from api.catalog.revisions import Revision, Revisions
from api.catalog.text import (
    is_customer_key,
    require_customer_key,
    require_email,
    require_name,
    require_timezone,
)
from api.domain.catalog import Catalog, WindowKind
from api.domain.entitlements import CustomerFacts, Entitlements, entitle
from api.domain.errors import InvalidInput, UnknownCustomer
from api.domain.windows import Window
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.shelf import Shelf

_sql = Queries.load("customers")

MOST_IN_A_PAGE = 200
MOST_OF_LATE = 10_000
"""Customers whose facts a process keeps; a few kB each."""


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer; ``catalog_revision`` is the one by which it is judged."""

    id: int
    key: str
    type: str
    name: str | None
    email: str | None
    timezone: str
    created_at: datetime
    version: int
    catalog_revision: int


@dataclass(frozen=True, slots=True)
class CustomerInput:
    """What the product says of a customer; None leaves what is known, or takes the default."""

    key: str
    type: str | None = None
    name: str | None = None
    email: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A customer's row with its facts: what a change or a publication works on.

    ``valid_until`` is when the facts change their meaning by themselves next, and
    ``published_version`` the last that the counter store is known to have.
    """

    customer: Customer
    facts: CustomerFacts
    valid_until: datetime | None
    published_version: int


def checked(catalog: Catalog, given: CustomerInput) -> CustomerInput:
    """Return ``given`` if it can be kept. Raises: InvalidInput."""
    require_customer_key(given.key)
    require_name(given.name)
    require_email(given.email)
    require_timezone(given.timezone)
    if given.type is not None and given.type not in catalog.customer_types:
        known = ", ".join(sorted(catalog.customer_types))
        raise InvalidInput(f"There is no customer type {given.type[:200]!r}; there is {known}.")
    return given


@dataclass(frozen=True, slots=True)
class Entitled:
    """A customer, everything it holds, and what that entitles it to from ``at`` on."""

    held: Held
    revision: Revision
    entitlements: Entitlements
    at: datetime

    def stands(self, version: int, at: datetime) -> bool:
        """Tell whether this says the truth of a row of ``version``, at that instant."""
        until = self.entitlements.valid_until
        return (
            # Also a newer one is not believed: the record may have lost it with its server.
            self.held.customer.version == version
            and self.at <= at
            and (until is None or at < until)
        )


class Customers:
    """Reading customers; changing them is in ``changes``."""

    def __init__(self, database: Database, revisions: Revisions) -> None:
        self._database = database
        self._revisions = revisions
        self._late: Shelf[int, Entitled] = Shelf(MOST_OF_LATE, MOST_OF_LATE)

    async def find(self, key: str) -> Customer | None:
        """Return the customer of this key, None when there is none."""
        if not is_customer_key(key):
            return None
        row = await self._database.fetchrow(_sql.by_key, key)
        return None if row is None else customer_of(row)

    async def get(self, key: str) -> Customer:
        """Return the customer of this key. Raises: UnknownCustomer."""
        found = await self.find(key)
        if found is None:
            raise unknown(key)
        return found

    async def find_by_id(self, customer_id: int) -> Customer | None:
        """Return the customer of this number, None when there is none."""
        row = await self._database.fetchrow(_sql.by_id, customer_id)
        return None if row is None else customer_of(row)

    async def find_by_email(self, email: str, first: int = MOST_IN_A_PAGE) -> list[Customer]:
        """Return the customers with this address, in whatever case it was written."""
        try:
            require_email(email)
        except InvalidInput:
            return []
        count = _page(first)
        return [customer_of(r) for r in await self._database.fetch(_sql.by_email, email, count)]

    async def find_by_link(self, provider: str, provider_id: str) -> Customer | None:
        """Return the customer that the provider calls so, None when it is not known."""
        row = await self._database.fetchrow(_sql.by_link, provider, provider_id)
        return None if row is None else customer_of(row)

    async def links(self, customer_id: int) -> list[tuple[str, str]]:
        """Return (provider, the provider's name for the customer), oldest first."""
        rows = await self._database.fetch(_sql.links_of, customer_id)
        return [(row["provider"], row["provider_id"]) for row in rows]

    async def unlink(self, provider: str, provider_id: str, at: datetime) -> None:
        """Forget a provider's name for a customer that the provider has deleted, with a trace."""
        async with self._database.transaction() as conn:
            customer_id = await conn.fetchval(_sql.unlink, provider, provider_id)
            if customer_id is not None:
                await audit.record(
                    conn,
                    at=at,
                    actor="headroom",
                    action="customer.unlinked",
                    reason="deleted at the payment provider",
                    customer_id=customer_id,
                    detail={"provider": provider, "provider_id": provider_id},
                )

    async def list_(self, first: int = 50, after: int = 0) -> list[Customer]:
        """Return at most ``first`` customers in order of their numbers, those past ``after``."""
        rows = await self._database.fetch(_sql.page, after, _page(first))
        return [customer_of(row) for row in rows]

    async def many(self, ids: Sequence[int]) -> dict[int, Customer]:
        """Return those of ``ids`` that exist; one statement for all."""
        rows = await self._database.fetch(_sql.by_ids, list(ids))
        return {row["id"]: customer_of(row) for row in rows}

    async def by_keys(self, keys: Iterable[str]) -> dict[str, Customer]:
        """Return those of ``keys`` that exist; one statement for all."""
        possible = [key for key in keys if is_customer_key(key)]
        rows = await self._database.fetch(_sql.by_keys, possible)
        return {row["key"]: customer_of(row) for row in rows}

    async def facts(self, conn: Connection, customer_id: int) -> CustomerFacts:
        """Return everything the record says of one customer's rights. Raises: UnknownCustomer."""
        held = await read_held(conn, [customer_id])
        if customer_id not in held:
            raise unknown(str(customer_id))
        return held[customer_id].facts

    async def many_facts(self, ids: Sequence[int]) -> dict[int, CustomerFacts]:
        """Return the facts of those of ``ids`` that exist, all as of one instant."""
        return {i: held.facts for i, held in (await self.many_held(ids)).items()}

    async def many_held(self, ids: Sequence[int]) -> dict[int, Held]:
        """Return rows and facts of those of ``ids`` that exist, all as of one instant.

        Cost: four statements, however many the customers are.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as conn:
            return await read_held(conn, ids)

    async def entitled(self, ids: Sequence[int], at: datetime) -> dict[int, Entitled]:
        """Return what those of ``ids`` that exist may do at that instant, by the record alone.

        Cost: as ``many_held``.
        """
        answers: dict[int, Entitled] = {}
        for customer_id, held in (await self.many_held(ids)).items():
            revision = await self._revisions.get(held.customer.catalog_revision)
            entitlements = entitle(revision.catalog, held.facts, at)
            answers[customer_id] = Entitled(held, revision, entitlements, at)
        return answers

    async def entitled_by(self, versions: Mapping[int, int], at: datetime) -> dict[int, Entitled]:
        """Return the same of customers whose rows were read just now, with these versions.

        Whatever changes what a customer holds gives its row another version first, so what was
        read of that version, or a newer one, is what a reading would find.
        Cost: none for those that this process read of late; as ``entitled`` for the others.
        """
        found = {}
        for customer_id, version in versions.items():
            known = self._late.get(customer_id)
            if known is not None and known.stands(version, at):
                found[customer_id] = known
        unread = [customer_id for customer_id in versions if customer_id not in found]
        if unread:
            for customer_id, entitled in (await self.entitled(unread, at)).items():
                found[customer_id] = entitled
                self._late.put(customer_id, entitled, 1)
        return found


async def read_held(
    conn: Connection, ids: Sequence[int], rows: Sequence[Record] | None = None
) -> dict[int, Held]:
    """Read facts for ``ids``; give ``rows`` where the customers' rows were read already.

    The caller's transaction decides whether they belong to one instant: either repeatable read,
    or under the rows' locks.
    """
    if rows is None:
        rows = await conn.fetch(_sql.by_ids, list(ids))
    found = [row["id"] for row in rows]
    held_subscriptions = await subscriptions.by_customers(conn, found)
    held_overrides = await overrides.by_customers(conn, found)
    pins = await _pins(conn, found)
    return {
        row["id"]: Held(
            customer_of(row),
            CustomerFacts(
                id=row["id"],
                key=row["key"],
                type=row["type"],
                created_at=row["created_at"],
                timezone=row["timezone"],
                version=row["version"],
                subscriptions=tuple(s.facts() for s in held_subscriptions[row["id"]]),
                overrides=tuple(o.facts for o in held_overrides[row["id"]]),
                pins=pins.get(row["id"], {}),
            ),
            row["valid_until"],
            row["published_version"],
        )
        for row in rows
    }


async def find_on(conn: Connection, key: str) -> Customer | None:
    """Return the customer of this key as the transaction sees it, None when there is none."""
    row = await conn.fetchrow(_sql.by_key, key) if is_customer_key(key) else None
    return None if row is None else customer_of(row)


async def get_on(conn: Connection, key: str) -> Customer:
    """Return the customer of this key as the transaction sees it. Raises: UnknownCustomer."""
    found = await find_on(conn, key)
    if found is None:
        raise unknown(key)
    return found


async def add(conn: Connection, newest: Revision, given: CustomerInput, at: datetime) -> bool:
    """Write a new customer with the catalog's defaults; False where somebody else was first."""
    added = await conn.fetchval(
        _sql.add,
        given.key,
        given.type or newest.catalog.default_customer_type,
        given.name,
        given.email,
        given.timezone or "UTC",
        at,
        newest.number,
    )
    return added is not None


async def describe(
    conn: Connection, *, customer_id: int, given: CustomerInput, at: datetime
) -> None:
    """Write what is given of a customer; inside a change, as type and zone change rights."""
    await conn.execute(
        _sql.describe, customer_id, given.type, given.name, given.email, given.timezone, at
    )


def differs(known: Customer, given: CustomerInput) -> bool:
    """Tell whether ``given`` says anything that is not known."""
    pairs = (
        (given.type, known.type),
        (given.name, known.name),
        (given.email, known.email),
        (given.timezone, known.timezone),
    )
    return any(said is not None and said != stands for said, stands in pairs)


async def link(
    conn: Connection, provider: str, provider_id: str, customer_id: int, at: datetime
) -> None:
    """Note the provider's name for a customer; one that is noted already stays as it is."""
    await conn.execute(_sql.link, provider, provider_id, customer_id, at)


def customer_of(row: Record) -> Customer:
    """Return the value of one row."""
    return Customer(
        id=row["id"],
        key=row["key"],
        type=row["type"],
        name=row["name"],
        email=row["email"],
        timezone=row["timezone"],
        created_at=row["created_at"],
        version=row["version"],
        catalog_revision=row["catalog_revision"],
    )


def unknown(key: str) -> UnknownCustomer:
    """Return the error that says so, the same to everybody."""
    return UnknownCustomer(f"There is no customer {key[:200]!r}.")


async def _pins(
    conn: Connection, ids: Sequence[int]
) -> Mapping[int, dict[tuple[str, WindowKind], Window]]:
    pins: dict[int, dict[tuple[str, WindowKind], Window]] = {}
    for row in await conn.fetch(_sql.pins_of, list(ids)):
        slot = (row["feature"], WindowKind(row["window_kind"]))
        window = Window(row["starts_at"], row["ends_at"])
        pins.setdefault(row["customer_id"], {})[slot] = window
    return pins


def _page(first: int) -> int:
    return min(max(first, 0), MOST_IN_A_PAGE)
