"""Keys of services: random, kept as digests, believed from memory, revoked within seconds.

Failure policy: while the record is out of reach, a key that it confirmed in the last hour is
believed on, as nobody can revoke one meanwhile; any other key waits for the record (Unavailable).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from api.catalog import audit
from api.domain.errors import InvalidInput, NotFound, Unauthenticated, Unavailable
from api.gates.principal import Principal, parse_scopes, reach
from api.infra.clock import Clock
from api.infra.postgres import Database, Record
from api.infra.queries import Queries

_sql = Queries.load("access")
log = logging.getLogger(__name__)

CHANNEL = "headroom_api_keys"
FRESH_MS = 5_000
"""A revoked key is refused everywhere after this long, also where the notification was lost."""
BELIEVED_MS = 3_600_000
"""How long a key outlives the record that confirmed it."""
MOST_IN_MEMORY = 10_000

_CONFIRM_SECONDS = 2.0
_PATIENCE_SECONDS = 1.0
_USED_EVERY_MS = 60_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 ._\-]{0,99}")
_V = TypeVar("_V")
_SHAPE = re.compile(rb"hr_[A-Za-z0-9_\-]{43}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key once it was shown: everything but the key."""

    id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(slots=True)
class _Known:
    principal: Principal
    confirmed_ms: int
    used_ms: int = 0
    written_ms: int = 0


class ApiKeys:
    """The record's keys, with those in use in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, _Known] = {}
        # Apart from the known ones, so that made-up keys push out none that is real.
        self._refused: dict[bytes, int] = {}
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._lost_until_ms = 0

    async def create(
        self, name: str, scopes: Iterable[str], at: datetime, *, actor: str, reason: str
    ) -> tuple[str, ApiKey]:
        """Make a key of 256 random bits; the text is returned here and never again.

        Raises: InvalidInput, Unavailable.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                "A key's name begins with a letter and has at most 100 letters, digits, blanks,"
                " dots, dashes or underscores."
            )
        wanted = sorted(parse_scopes(scopes))
        plain = f"hr_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(plain.encode()).digest()
        async with self._database.transaction() as conn:
            row = await conn.fetchrow(_sql.add_key, name, digest, plain[:9], wanted, at)
            made = _api_key(row)
            detail = {"key": made.id, "name": name, "scopes": wanted}
            await audit.record(
                conn, at=at, actor=actor, action="keys.create", reason=reason, detail=detail
            )
        return plain, made

    async def list_(self, first: int = 500) -> list[ApiKey]:
        """Return the newest keys, revoked ones too."""
        return [_api_key(row) for row in await self._database.fetch(_sql.list_keys, first)]

    async def revoke(self, which: str, at: datetime, *, actor: str, reason: str) -> ApiKey:
        """Revoke the live key of this number, name or prefix; refused everywhere in seconds.

        Raises: NotFound; InvalidInput where several keys are meant; Unavailable.
        """
        async with self._database.transaction() as conn:
            meant = [row["id"] for row in await conn.fetch(_sql.keys_called, which)]
            if len(meant) > 1:
                numbers = ", ".join(str(number) for number in meant)
                raise InvalidInput(f"Several keys are called {which[:200]!r}: {numbers}.")
            row = await conn.fetchrow(_sql.revoke_key, meant[0], at) if meant else None
            if row is None:
                raise NotFound(f"There is no live key {which[:200]!r}.")
            revoked = _api_key(row)
            detail = {"key": revoked.id, "name": revoked.name}
            await audit.record(
                conn, at=at, actor=actor, action="keys.revoke", reason=reason, detail=detail
            )
            await conn.execute(_sql.announce, row["digest"].hex())
        self._known.pop(row["digest"], None)
        return revoked

    def recall(self, digest: bytes, at_ms: int) -> Principal | None:
        """Return who holds the key of this digest, if that is known for certain from memory."""
        known = self._known.get(digest)
        if known is None or at_ms - known.confirmed_ms > FRESH_MS:
            return None
        known.used_ms = at_ms
        return known.principal

    async def authenticate(self, plain: bytes, at_ms: int) -> Principal:
        """Return who holds this key.

        Raises: Unauthenticated, Unavailable.
        Cost: nothing while ``follow`` runs, except for a key's first use in this process.
        """
        if not _SHAPE.fullmatch(plain):
            raise _refusal()
        digest = hashlib.sha256(plain).digest()
        principal = self.recall(digest, at_ms)
        if principal is not None:
            return principal
        if at_ms - self._refused.get(digest, -FRESH_MS - 1) <= FRESH_MS:
            raise _refusal()
        principal = await self._confirm(digest, at_ms)
        if principal is None:
            raise _refusal()
        return principal

    @asynccontextmanager
    async def follow(self, clock: Clock) -> AsyncGenerator[None]:
        """Confirm the keys in memory, and note their use, for the length of the block.

        Raises: Unavailable, where listening cannot begin.
        """
        told = asyncio.Event()

        def heard(payload: str | None) -> None:
            if payload:
                self._known.pop(bytes.fromhex(payload), None)
            told.set()

        async with self._database.listen(CHANNEL, heard):
            following = asyncio.create_task(self._keep_up(told, clock), name="api-keys")
            try:
                yield
            finally:
                following.cancel()
                with suppress(asyncio.CancelledError):
                    await following

    async def confirm_all(self, at_ms: int) -> None:
        """Ask the record about every key in memory, and tell it which were used.

        Raises: Unavailable. Cost: one statement, and one a minute for those in use.
        """
        if not self._known:
            return
        asked = list(self._known)
        rows = await self._database.fetch(_sql.live_digests, asked)
        live = {row["digest"] for row in rows}
        for digest in asked:
            known = self._known.get(digest)
            if known is None:
                continue
            if digest in live:
                known.confirmed_ms = max(known.confirmed_ms, at_ms)
            else:
                del self._known[digest]
        await self._note_use(at_ms)

    async def _note_use(self, at_ms: int) -> None:
        used = {
            digest: known
            for digest, known in self._known.items()
            if known.used_ms > known.written_ms and at_ms - known.written_ms >= _USED_EVERY_MS
        }
        if used:
            instants = [datetime.fromtimestamp(k.used_ms / 1000, UTC) for k in used.values()]
            await self._database.execute(_sql.mark_used, list(used), instants)
            for known in used.values():
                known.written_ms = at_ms

    async def _keep_up(self, told: asyncio.Event, clock: Clock) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CONFIRM_SECONDS):
                    await told.wait()
            told.clear()
            try:
                await self.confirm_all(int(clock.now().timestamp() * 1000))
            except Unavailable as error:
                log.warning("the keys in memory could not be confirmed: %s", error)
                await asyncio.sleep(_CONFIRM_SECONDS)

    async def _confirm(self, digest: bytes, at_ms: int) -> Principal | None:
        """Ask the record about one key, once for all callers of the moment."""
        known = self._known.get(digest)
        believed = known is not None and at_ms - known.confirmed_ms <= BELIEVED_MS
        if known is not None and believed and at_ms < self._lost_until_ms:
            return known.principal
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.create_task(self._ask(digest, at_ms))
            self._asking[digest] = asking
            asking.add_done_callback(lambda done: self._asked(digest, done))
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS if believed else None):
                return await asyncio.shield(asking)
        except (TimeoutError, Unavailable):
            if known is None or not believed:
                raise
            self._lost_until_ms = at_ms + int(_CONFIRM_SECONDS * 1000)
            return known.principal

    def _asked(self, digest: bytes, done: asyncio.Task[Principal | None]) -> None:
        del self._asking[digest]
        if not done.cancelled():
            done.exception()  # whoever waited was told; nobody else needs to be

    async def _ask(self, digest: bytes, at_ms: int) -> Principal | None:
        row = await self._database.fetchrow(_sql.live_key, digest)
        if row is None:
            self._known.pop(digest, None)
            _keep(self._refused, digest, at_ms)
            return None
        principal = Principal("key", row["name"], reach(parse_scopes(row["scopes"])))
        before = self._known.get(digest)
        written_ms = 0 if before is None else before.written_ms
        _keep(self._known, digest, _Known(principal, at_ms, at_ms, written_ms))
        return principal


def _keep(memory: dict[bytes, _V], digest: bytes, value: _V) -> None:
    memory.pop(digest, None)
    while len(memory) >= MOST_IN_MEMORY:
        del memory[next(iter(memory))]
    memory[digest] = value


def _api_key(row: Record | None) -> ApiKey:
    if row is None:
        raise RuntimeError("the statement returns the row it wrote")
    return ApiKey(
        id=row["id"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )


def _refusal() -> Unauthenticated:
    return Unauthenticated("This API key is not known, or was revoked.")
