"""The catalog as it was applied: numbered revisions, immutable, the newest in memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from api.catalog import audit
from api.catalog.document import from_document, to_document
from api.domain.catalog import Catalog
from api.domain.errors import InvalidInput, Unavailable
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries

_sql = Queries.load("catalog")
log = logging.getLogger(__name__)

CHANNEL = "headroom_catalog"
MOST_IN_MEMORY = 16
_PAUSE_SECONDS = 1.0


class NoCatalog(Unavailable):
    """Nothing is sold yet: no catalog was ever applied."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One applied catalog, and the numbers that stand for its features in the counters."""

    number: int
    catalog: Catalog
    feature_ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Applied:
    """One line of the catalog's history."""

    number: int
    checksum: str
    at: datetime
    actor: str


class Revisions:
    """The revisions that the record holds. What was read once is kept: it never changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, Revision] = {}
        self._newest: Revision | None = None

    @property
    def newest(self) -> Revision:
        """The newest revision this process has heard of. Raises: NoCatalog."""
        if self._newest is None:
            raise _no_catalog()
        return self._newest

    async def current(self) -> Revision:
        """Return the newest revision in the record. Raises: NoCatalog, Unavailable.

        Cost: one small statement, and a larger one when it is new here.
        """
        await self.refresh()
        return self.newest

    async def refresh(self) -> None:
        """Take notice of the newest revision. Raises: Unavailable."""
        number = await self._database.fetchval(_sql.newest_number)
        if number is not None:
            await self.get(number)

    async def get(self, number: int, conn: Connection | None = None) -> Revision:
        """Return one revision; inside a transaction give its connection.

        Cost: nothing when it is in memory. Raises: InvalidInput, where there is none.
        """
        known = self._known.get(number)
        if known is not None:
            return known
        # A second connection, asked for by everyone who holds one, could wait for ever.
        source = self._database if conn is None else conn
        row = await source.fetchrow(_sql.by_number, number)
        if row is None:
            raise InvalidInput(f"There is no catalog revision {number}.")
        return self._keep(row, await source.fetch(_sql.feature_ids))

    async def newest_on(self, conn: Connection) -> Revision:
        """Return the newest revision that a transaction sees. Raises: NoCatalog."""
        number = await conn.fetchval(_sql.newest_number)
        if number is None:
            raise _no_catalog()
        return await self.get(number, conn)

    def in_memory(self, number: int) -> Revision | None:
        """Return one revision if it need not be read."""
        return self._known.get(number)

    async def history(self, first: int = 50, before: int | None = None) -> list[Applied]:
        """Return the last revisions, newest first, older than the one numbered ``before``."""
        rows = await self._database.fetch(_sql.history, first, before)
        return [
            Applied(r["revision"], r["checksum"], r["applied_at"], r["applied_by"]) for r in rows
        ]

    async def apply(self, catalog: Catalog, actor: str, reason: str, at: datetime) -> Revision:
        """Make ``catalog`` the newest revision; what is newest already is applied by saying so.

        Customers move to it afterwards, by ``Changes.walk``. The same catalog twice makes one
        revision. Raises: InvalidInput, where it cannot follow the present one.
        """
        document = to_document(catalog)
        checksum = checksum_of(document)
        async with self._database.transaction() as conn:
            await conn.execute(_sql.lock)
            row = await conn.fetchrow(_sql.newest)
            if row is not None and row["checksum"] == checksum:
                return self._keep(row, await conn.fetch(_sql.feature_ids))
            present = None if row is None else from_document(row["body"])
            in_use = {r["type"]: r["customers"] for r in await _types_in_use(conn, catalog)}
            hindrances = _hindrances(present, catalog, in_use)
            if hindrances:
                raise InvalidInput(" ".join(hindrances))
            await conn.execute(_sql.add_features, list(catalog.features))
            number = await conn.fetchval(_sql.add_revision, document, checksum, at, actor)
            detail = {"revision": number, "checksum": checksum}
            await audit.record(
                conn, at=at, actor=actor, action="catalog.apply", reason=reason, detail=detail
            )
            await conn.execute(_sql.announce, str(number))
        return await self.get(number)

    async def hindrances(self, catalog: Catalog) -> tuple[str, ...]:
        """Say why ``catalog`` could not be applied now; nothing said: it could.

        Cost: a scan of the customers' types.
        """
        async with self._database.transaction(readonly=True) as conn:
            row = await conn.fetchrow(_sql.newest)
            present = None if row is None else from_document(row["body"])
            in_use = {r["type"]: r["customers"] for r in await _types_in_use(conn, catalog)}
        return _hindrances(present, catalog, in_use)

    @asynccontextmanager
    async def follow(self) -> AsyncGenerator[None]:
        """Keep ``newest`` up with what other processes apply, for the length of the block.

        Raises: Unavailable, where listening cannot begin.
        """
        told = asyncio.Event()
        async with self._database.listen(CHANNEL, lambda _: told.set()):
            following = asyncio.create_task(self._keep_up(told), name="catalog-revisions")
            try:
                yield
            finally:
                following.cancel()
                with suppress(asyncio.CancelledError):
                    await following

    async def _keep_up(self, told: asyncio.Event) -> None:
        while True:
            await told.wait()
            told.clear()
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("the newest catalog could not be read: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                told.set()

    def _keep(self, row: Record, ids: list[Record]) -> Revision:
        number = row["revision"]
        feature_ids = {r["key"]: r["id"] for r in ids}
        revision = Revision(number, from_document(row["body"]), feature_ids)
        while len(self._known) >= MOST_IN_MEMORY:
            del self._known[min(self._known)]
        self._known[number] = revision
        if self._newest is None or self._newest.number < number:
            self._newest = revision
        return revision


def _no_catalog() -> NoCatalog:
    return NoCatalog("No catalog was applied yet; apply one with 'headroom catalog apply'.")


def checksum_of(document: Mapping[str, object]) -> str:
    """Return a digest that two documents share if, and only if, they say the same."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


async def _types_in_use(conn: Connection, catalog: Catalog) -> list[Record]:
    return await conn.fetch(_sql.types_in_use, list(catalog.customer_types))


def _hindrances(
    present: Catalog | None, following: Catalog, in_use: Mapping[str, int]
) -> tuple[str, ...]:
    said = [
        f"The customer type {key!r} is left out, and {count} customers are of it."
        for key, count in in_use.items()
    ]
    # Counters and balances of one kind mean nothing to another: a seat held is not a unit used.
    for key, feature in following.features.items():
        before = None if present is None else present.features.get(key)
        if before is not None and before.kind is not feature.kind:
            said.append(
                f"The feature {key!r} was {before.kind.value} and cannot become "
                f"{feature.kind.value}; give the new one another key."
            )
    return tuple(said)
