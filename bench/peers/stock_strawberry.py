"""Strawberry as it comes, over the same hand-written check."""

import strawberry
from strawberry.asgi import GraphQL

from bench.peers.handwritten import LIMIT, script


@strawberry.type
class Window:
    """One window, as the check returned it."""

    window: str
    used: int
    limit: float


@strawberry.type
class Consumption:
    """What was counted."""

    allowed: bool
    windows: list[Window]


@strawberry.type
class Query:
    """A schema must have one."""

    @strawberry.field
    def ok(self) -> bool:
        """Answer yes."""
        return True


@strawberry.type
class Mutation:
    """The one question."""

    @strawberry.mutation
    async def consume(self, customer: str, feature: str, units: int) -> Consumption:
        """Judge and count."""
        keys = [f"{{{customer}}}:{feature}:day", f"{{{customer}}}:{feature}:month"]
        allowed, day, month = await script(keys, [units, LIMIT, LIMIT])
        windows = [Window(window="DAY", used=day, limit=LIMIT)]
        windows.append(Window(window="MONTH", used=month, limit=LIMIT))
        return Consumption(allowed=bool(allowed), windows=windows)


app: "GraphQL[None, None]" = GraphQL(strawberry.Schema(query=Query, mutation=Mutation))
