"""What the HTTP edge is made of: the parts it needs, each by what it can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol

from starlette.types import ASGIApp

from api.billing.inbox import Accepted, Refused
from api.domain.catalog import Feature
from api.domain.decision import Decision
from api.gates.access import Access
from api.gates.held import Hold, Whose
from api.gates.outcome import Consumption, Denied
from api.infra.clock import Clock
from api.infra.settings import Settings
from api.web.protection import Protection

Readiness = Callable[[datetime], Awaitable[str | None]]
"""Says in a sentence why one part cannot serve at this instant; None: it can."""


class Deciding(Protocol):
    """The gate, as far as these doors reach; instants are ms since 1970."""

    async def check(self, customer: str, feature: str, units: int, at: int) -> Decision:
        """Answer what ``consume`` would, and count nothing."""
        ...

    async def consume(
        self, customer: str, feature: str, units: int, key: str | None, at: int, actor: str
    ) -> Consumption | Denied:
        """Judge and count, for ``actor``."""
        ...

    async def release(
        self, customer: str, feature: str, units: int, key: str | None, at: int
    ) -> Consumption:
        """Give back units."""
        ...

    async def feature(self, key: str) -> Feature:
        """Return the feature of that key. Raises: UnknownFeature."""
        ...


class Releasing(Protocol):
    """Gives back what a named consumption took."""

    async def release(
        self,
        customer: str,
        feature: str,
        units: int,
        consumption_id: str,
        key: str | None,
        at: int,
        *,
        actor: str,
    ) -> Consumption:
        """Give back ``units`` of what ``consumption_id`` took of ``feature``."""
        ...


class Holding(Protocol):
    """Sets units and credits aside, and takes them for good or not."""

    async def place(
        self,
        customer: str,
        feature: str,
        units: int,
        key: str | None,
        at: int,
        *,
        seconds: int,
        actor: str,
    ) -> Hold | Denied:
        """Set ``units`` aside."""
        ...

    async def capture(
        self, whose: Whose, *, units: int | None = None, final: bool = True
    ) -> Hold | Denied:
        """Take ``units`` for good, None: all that is held."""
        ...

    async def void(self, whose: Whose) -> Hold:
        """Give back all that is held."""
        ...

    async def extend(self, whose: Whose, seconds: int) -> Hold:
        """Let a hold stand for ``seconds`` from now."""
        ...


class Receiving(Protocol):
    """The inbox of the payment provider's events."""

    @property
    def most_bytes(self) -> int:
        """The largest delivery that is read."""
        ...

    async def accept(
        self,
        body: bytes,
        signature: str | None,
        remote_address: str,
        user_agent: str | None,
        at: datetime,
    ) -> Accepted | Refused:
        """Verify and store one delivery. Raises: Unavailable."""
        ...


class Parts(Protocol):
    """Everything ``build_app`` asks for. ``None`` for a part means that its routes do not exist."""

    @property
    def gate(self) -> Deciding:
        """Decides."""
        ...

    @property
    def releases(self) -> Releasing:
        """Gives back by consumption id."""
        ...

    @property
    def holding(self) -> Holding:
        """Places and resolves holds."""
        ...

    @property
    def access(self) -> Access:
        """Believes or refuses credentials."""
        ...

    @property
    def clock(self) -> Clock:
        """Read here, and nowhere below."""
        ...

    @property
    def settings(self) -> Settings:
        """What the environment decided."""
        ...

    @property
    def protection(self) -> Protection:
        """The API's own limit, one for all its doors."""
        ...

    @property
    def readiness(self) -> Mapping[str, Readiness]:
        """A check for each part that this process cannot serve without."""
        ...

    @property
    def inbox(self) -> Receiving | None:
        """Takes the provider's events; None without a signing secret."""
        ...

    @property
    def graphql(self) -> ASGIApp | None:
        """Speaks GraphQL."""
        ...
