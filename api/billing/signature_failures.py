"""Deliveries whose signature did not hold: who sent them, and how many there were.

Anybody can send one, so what is kept is bounded: a few rows per address and minute, then only a
count; and a process writes that count at most once a second for each address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.domain.catalog import MAX_UNITS
from api.infra.postgres import Database, Record
from api.infra.queries import Queries

_sql = Queries.load("billing")

ROWS_PER_MINUTE = 5
"""Rows kept of one address in one minute; the last of them counts the rest."""

MOST_ADDRESSES = 2_000
"""Addresses of one minute that a process tells apart; those beyond share one name."""

MOST_IN_A_PAGE = 200
_ELSEWHERE = "others"
_LONGEST_AGENT = 300
_LONGEST_ADDRESS = 100


@dataclass(frozen=True, slots=True)
class SignatureFailure:
    """One row: a delivery, or the ``count`` of those like it that came after.

    ``payload_id`` and ``customer`` are what the delivery claimed; nothing proves them.
    """

    id: int
    endpoint: str
    at: datetime
    remote_address: str
    user_agent: str | None
    payload_id: str | None
    customer: str | None
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """How many failures one address, or one claimed customer, has had."""

    name: str
    count: int
    last_at: datetime


@dataclass(slots=True)
class _Seen:
    """What this process knows of one address in the present minute."""

    failures: int = 0
    uncounted: int = 0
    written_at: datetime | None = None


class SignatureFailures:
    """Keeps and lists them. ``endpoint`` is the path they were sent to."""

    def __init__(self, database: Database, endpoint: str) -> None:
        self._database = database
        self._endpoint = endpoint
        self._minute: datetime | None = None
        self._seen: dict[str, _Seen] = {}

    async def record(
        self,
        *,
        reason: str,
        at: datetime,
        remote_address: str,
        user_agent: str | None = None,
        payload_id: str | None = None,
        customer: str | None = None,
    ) -> None:
        """Keep one failure, or count it. Raises: Unavailable.

        Cost: one statement, and nothing most times where an address fails more often.
        """
        minute = at.replace(second=0, microsecond=0)
        if minute != self._minute:
            ended, self._seen = self._seen, {}
            past, self._minute = self._minute, minute
            if past is not None:
                await self._count(ended, past, at)
        address = _short(remote_address, _LONGEST_ADDRESS) or "unknown"
        if address not in self._seen and len(self._seen) >= MOST_ADDRESSES:
            address = _ELSEWHERE
        seen = self._seen.setdefault(address, _Seen())
        seen.failures += 1
        seen.uncounted += 1
        lately = seen.written_at is not None and at - seen.written_at < timedelta(seconds=1)
        if seen.failures > ROWS_PER_MINUTE and lately:
            return
        told = (_short(user_agent, _LONGEST_AGENT), payload_id, customer, reason)
        await self._write(address, seen, minute, at, told)

    async def flush(self, at: datetime) -> None:
        """Write what was only counted so far; before the process ends. Raises: Unavailable."""
        if self._minute is not None:
            await self._count(self._seen, self._minute, at)

    async def list_(
        self,
        *,
        first: int = 50,
        remote_address: str | None = None,
        customer: str | None = None,
        before: int | None = None,
    ) -> list[SignatureFailure]:
        """Return at most ``first`` rows, newest first, of one address or one customer's key."""
        rows = await self._database.fetch(
            _sql.signature_failures,
            MAX_UNITS if before is None else before,
            remote_address,
            customer,
            min(max(first, 0), MOST_IN_A_PAGE),
        )
        return [_failure(row) for row in rows]

    async def by_address(self, since: datetime, first: int = 50) -> list[FailureGroup]:
        """Return the addresses with most failures since that minute."""
        return _groups(await self._database.fetch(_sql.signature_failures_by_address, since, first))

    async def by_customer(self, since: datetime, first: int = 50) -> list[FailureGroup]:
        """Return the claimed customers with most failures since that minute."""
        return _groups(
            await self._database.fetch(_sql.signature_failures_by_customer, since, first)
        )

    async def _count(self, ended: dict[str, _Seen], minute: datetime, at: datetime) -> None:
        for address, seen in list(ended.items()):
            if seen.uncounted:
                await self._write(address, seen, minute, at, (None, None, None, "counted"))

    async def _write(
        self,
        address: str,
        seen: _Seen,
        minute: datetime,
        at: datetime,
        told: tuple[str | None, str | None, str | None, str],
    ) -> None:
        # Taken before the wait, so that failures of the meantime are counted by the next write.
        count, seen.uncounted = seen.uncounted, 0
        seen.written_at = at
        await self._database.execute(
            _sql.count_signature_failure,
            self._endpoint,
            at,
            minute,
            address,
            *told,
            ROWS_PER_MINUTE,
            count,
        )


def _short(text: str | None, longest: int) -> str | None:
    if text is None:
        return None
    return "".join(c if c.isprintable() else "?" for c in text[:longest])


def _failure(row: Record) -> SignatureFailure:
    return SignatureFailure(
        id=row["id"],
        endpoint=row["endpoint"],
        at=row["at"],
        remote_address=row["remote_address"],
        user_agent=row["user_agent"],
        payload_id=row["payload_id"],
        customer=row["customer"],
        reason=row["reason"],
        count=row["count"],
    )


def _groups(rows: Sequence[Record]) -> list[FailureGroup]:
    return [FailureGroup(row["name"], row["count"], row["last_at"]) for row in rows]
