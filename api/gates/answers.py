"""Answers of named operations that only the record still has."""

from __future__ import annotations

from typing import Protocol

from api.infra.packing import unpack
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.metering.counters import Reply, Verdict, read_reply
from api.metering.journal import instant

_sql = Queries.load("usage")


class Numbers(Protocol):
    """Where a customer's number is found."""

    async def number(self, customer: str) -> int:
        """Return the number of this customer. Raises: UnknownCustomer."""
        ...


class RecordedAnswers:
    """Reads answers that have left the counter store."""

    def __init__(self, database: Database, numbers: Numbers) -> None:
        self._database = database
        self._numbers = numbers

    async def find(self, customer: str, operation_id: str, at_ms: int) -> Reply | None:
        """Return the recorded answer, its fingerprint in ``entry``; None if there is none.

        Raises: UnknownCustomer, Unavailable. Cost: two reads by key.
        """
        customer_id = await self._numbers.number(customer)
        row = await self._database.fetchrow(
            _sql.find_answer, customer_id, operation_id, instant(at_ms)
        )
        if row is None:
            return None
        reply = read_reply(unpack(row["answer"]))
        return reply._replace(verdict=Verdict.REPLAYED, entry=row["fingerprint"])
