"""What a resolver may reach: the parts that answer, who is asking, and the instant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

import strawberry

from api.domain.decision import Decision
from api.domain.errors import HeadroomError, Unauthenticated
from api.gates.held import Hold
from api.gates.outcome import Consumption, Denied
from api.gates.principal import Principal
from api.infra.clock import instant_of
from api.schema.loaders import Loaders
from api.schema.services import Services

GRANTED = "granted"

Outcome: TypeAlias = (
    Consumption | Hold | Denied | Decision | HeadroomError | tuple[Consumption, ...]
)


class Context:
    """One request: ``at`` is its one instant, for every field alike, ``at_ms`` the same in ms.

    It is given in microseconds, as few requests need more of it than the milliseconds.

    ``principal`` None is somebody who sent no credential: it may look at the schema at most.
    """

    __slots__ = ("_at_us", "_loaders", "at_ms", "decided", "principal", "services")

    def __init__(self, services: Services, principal: Principal | None, at_us: int) -> None:
        self.services = services
        self.principal = principal
        self.at_ms = at_us // 1000
        self._at_us = at_us
        self._loaders: Loaders | None = None
        self.decided: list[tuple[str, bool]] = []
        """What was decided on the way, and whether without the counters; for the door's metrics."""

    @property
    def at(self) -> datetime:
        """The instant of this request."""
        return instant_of(self._at_us)

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
            case Consumption():  # most are
                self.decided.append((GRANTED, result.degraded))
            case Denied():
                first = result.decisions[0]
                self.decided.append((first.code or "", first.degraded))
            case HeadroomError():
                self.decided.append((result.code, False))
            case Decision():
                outcome = GRANTED if result.allowed else result.code or ""
                self.decided.append((outcome, result.degraded))
            case Hold():
                self.decided.append((GRANTED, False))
            case _:
                self.decided.append((GRANTED, any(one.degraded for one in result)))

    def note_all(self, results: Sequence[Outcome]) -> None:
        """Note what was decided of the items of a batch."""
        granted = [one for one in results if type(one) is Consumption]
        self.decided += [(GRANTED, one.degraded) for one in granted]
        if len(granted) < len(results):
            for one in results:
                if type(one) is not Consumption:
                    self.note(one)


Info: TypeAlias = strawberry.Info[Context, None]
