"""What a resolver may reach: the parts that answer, who is asking, and the instant."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import strawberry

from api.domain.errors import Unauthenticated
from api.gates.principal import Principal
from api.schema.loaders import Loaders
from api.schema.services import Services


@dataclass(slots=True)
class Context:
    """One request: ``at`` is its one instant, for every field alike.

    ``principal`` None is somebody who sent no credential: it may look at the schema at most.
    """

    services: Services
    principal: Principal | None
    at: datetime
    loaders: Loaders = field(init=False)

    def __post_init__(self) -> None:
        self.loaders = Loaders(self.services, self.at)

    @property
    def caller(self) -> Principal:
        """Who is asking. Raises: Unauthenticated."""
        if self.principal is None:
            raise Unauthenticated("Send 'Authorization: Bearer …' with an API key or a token.")
        return self.principal

    @property
    def at_ms(self) -> int:
        """The instant in ms since 1970, as the gate counts time."""
        return int(self.at.timestamp() * 1000)


Info: TypeAlias = strawberry.Info[Context, None]
