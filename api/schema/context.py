"""What a resolver may reach: the parts that answer, who is asking, and the instant."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import strawberry

from api.domain.decision import Decision
from api.domain.errors import HeadroomError, Unauthenticated
from api.gates.held import Hold
from api.gates.outcome import Consumption, Denied
from api.gates.principal import Principal
from api.schema.loaders import Loaders
from api.schema.services import Services

GRANTED = "granted"

Outcome: TypeAlias = (
    Consumption | Hold | Denied | Decision | HeadroomError | tuple[Consumption, ...]
)


class Context:
    """One request: ``at`` is its one instant, for every field alike, ``at_ms`` the same in ms.

    ``principal`` None is somebody who sent no credential: it may look at the schema at most.
    """

    __slots__ = ("_loaders", "at", "at_ms", "decided", "principal", "services")

    def __init__(
        self,
        services: Services,
        principal: Principal | None,
        at: datetime,
        at_ms: int | None = None,
    ) -> None:
        self.services = services
        self.principal = principal
        self.at = at
        self.at_ms = int(at.timestamp() * 1000) if at_ms is None else at_ms
        self._loaders: Loaders | None = None
        self.decided: list[tuple[str, bool]] = []
        """What was decided on the way, and whether without the counters; for the door's metrics."""

    @property
    def loaders(self) -> Loaders:
        """The loaders of this request."""
        if self._loaders is None:
            self._loaders = Loaders(self.services, self.at)
        return self._loaders

    @property
    def caller(self) -> Principal:
        """Who is asking. Raises: Unauthenticated."""
        if self.principal is None:
            raise Unauthenticated("Send 'Authorization: Bearer …' with an API key or a token.")
        return self.principal

    def note(self, result: Outcome) -> None:
        """Note what was decided, for the metrics of the door."""
        match result:
            case Consumption():
                self.decided.append((GRANTED, result.degraded))
            case HeadroomError():
                self.decided.append((result.code, False))
            case Denied():
                first = result.decisions[0]
                self.decided.append((first.code or "", first.degraded))
            case Decision():
                outcome = GRANTED if result.allowed else result.code or ""
                self.decided.append((outcome, result.degraded))
            case Hold():
                self.decided.append((GRANTED, False))
            case _:
                self.decided.append((GRANTED, any(one.degraded for one in result)))


Info: TypeAlias = strawberry.Info[Context, None]
