"""A record with customers and features, in whose ledger a test writes as the product does."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from api.domain.catalog import Bucket, CreditCost
from api.infra.postgres import Database
from api.ledger import grants, standing
from api.ledger.charges import Charge, ChargedItem, Charges, Decided, HoldTerms, Outcome
from api.ledger.entries import Why
from api.ledger.grants import NewGrant
from api.ledger.holds import Change, HoldOutcome, Holds, Resolution, Told
from api.metering.partitions import Partitions

WHY = Why("~test", "a test", "test")


@dataclass
class Books:
    """Customers ``acme`` and ``globex``, features ``chat`` and ``search``, and their ledger."""

    database: Database
    customers: dict[str, int]
    features: dict[str, int]
    charges: Charges
    numbers: Any = field(default_factory=lambda: count(1))

    @property
    def acme(self) -> int:
        return self.customers["acme"]

    async def give(
        self, units: int, at: datetime, *, customer: str = "acme", **changed: Any
    ) -> int:
        """Give credits, permanent ones of priority 100 for everything; return the grant's id."""
        number = next(self.numbers)
        new = NewGrant(
            **{
                "customer_id": self.customers[customer],
                "source": f"test:{number}",
                "bucket": Bucket.PERMANENT,
                "priority": 100,
                "units": units,
                "effective_at": at,
                "why": WHY._replace(operation_id=f"~test:{number}"),
                **changed,
            }
        )
        async with self.database.transaction() as conn:
            [grant_id] = await grants.give(conn, [new], at)
        assert grant_id is not None
        return grant_id

    async def spend(
        self,
        credits: int,  # noqa: A002 - the field's own word
        at: datetime,
        *,
        units: int = 1,
        feature: str = "chat",
        customer: str = "acme",
        key: str | None = None,
    ) -> str:
        """Have the customer charged; return our own name for the operation."""
        attempt = f"~a{next(self.numbers)}"
        item = ChargedItem(self.features[feature], units, units, credits)
        decided = await self._decide(self._charge(customer, attempt, key, at, item))
        assert decided.outcome is Outcome.DONE, decided
        return attempt

    async def hold(
        self,
        units: int,
        cost: CreditCost,
        credits: int,  # noqa: A002 - the field's own word
        at: datetime,
        *,
        feature: str = "chat",
        customer: str = "acme",
    ) -> str:
        """Set credits aside for an hour; return the hold's id."""
        attempt = f"~h{next(self.numbers)}"
        item = ChargedItem(self.features[feature], units, units, credits)
        charge = self._charge(customer, attempt, None, at, item)
        terms = HoldTerms(at + timedelta(hours=1), cost)
        decided = await self._decide(charge._replace(hold=terms))
        assert decided.outcome is Outcome.DONE, decided
        return attempt

    async def resolve(
        self,
        hold: str,
        resolution: Resolution,
        at: datetime,
        *,
        units: int | None = None,
        final: bool = True,
        customer: str = "acme",
    ) -> Told:
        """Change a hold as the product does."""
        told = await Holds(self.database).change(
            Change(
                customer_id=self.customers[customer],
                hold_id=hold,
                operation_id=f"~r{next(self.numbers)}",
                resolution=resolution,
                at=at,
                fingerprint="",
                expires_at=at + timedelta(hours=1),
                reason="test",
                actor="test",
                units=units,
                final=final,
            )
        )
        assert told.outcome is HoldOutcome.DONE, told
        return told

    async def left(self, at: datetime, customer: str = "acme") -> tuple[int, int]:
        """Return what a customer has now: available, held."""
        number = self.customers[customer]
        balance = (await standing.balances(self.database, [number], at))[number]
        return balance.available, balance.held

    async def _decide(self, charge: Charge) -> Decided:
        return await self.charges.decide(charge)

    def _charge(
        self, customer: str, attempt: str, key: str | None, at: datetime, item: ChargedItem
    ) -> Charge:
        return Charge(
            customer_id=self.customers[customer],
            operation_id=key or attempt,
            attempt=attempt,
            at=at,
            fingerprint="",
            expires_at=at + timedelta(hours=1),
            answer=b"{}",
            items=[item],
            reason="used",
            actor="test",
        )


async def open_books(database: Database, at: datetime) -> Books:
    """Write the customers and features that the ledger is about."""
    await database.execute(
        "insert into catalog_revisions (body, checksum, applied_at, applied_by)"
        " values ('{}', 'none', $1, 'test')",
        at,
    )
    for name in ("acme", "globex"):
        await database.execute(
            "insert into customers (key, type, created_at, updated_at, catalog_revision)"
            " select $1, 'business', $2, $2, max(revision) from catalog_revisions",
            name,
            at,
        )
    for name in ("chat", "search"):
        await database.execute("insert into features (key) values ($1)", name)
    customers = await database.fetch("select key, id from customers")
    features = await database.fetch("select key, id from features")
    return Books(
        database,
        {row["key"]: row["id"] for row in customers},
        {row["key"]: row["id"] for row in features},
        Charges(database, Partitions(database).ensure),
    )
