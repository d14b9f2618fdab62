"""What was to be reached, and whether it was."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure of the table: ``name`` is what a measurement calls it.

    ``least``: the figure is to be at least ``bound``, else at most.
    """

    name: str
    words: str
    bound: float
    least: bool = False
    part: str = "requests"

    def met(self, reached: float) -> bool:
        """Tell whether ``reached`` is good enough."""
        return reached >= self.bound if self.least else reached <= self.bound


GOALS = (
    Goal("graphql", "GraphQL consume, CPU per request, of B", 0.45),
    Goal("graphql", "... and then", 0.40),
    Goal("of mercurius", "the same, of a bare Mercurius + graphql-jit + ioredis", 1.0),
    Goal("rate", "requests per second, of B", 2.0, least=True),
    Goal("p99", "p99 at saturation, of B's", 0.5),
    Goal("v1", "/v1/consume, CPU per request, of B", 0.45),
    Goal("of cached", "GraphQL consume, of stock Strawberry with both caches", 0.15),
    Goal("item", "one item of a 100-item batch, of B", 0.12),
    Goal("front end", "a front end's query, of graphql-core on the same document", 0.35),
    Goal("denied graphql", "denied calls, of allowed ones: GraphQL", 1.0),
    Goal("denied v1", "denied calls, of allowed ones: /v1/consume", 1.0),
    Goal("named graphql", "idempotent calls, of plain ones: GraphQL", 1.3),
    Goal("named v1", "idempotent calls, of plain ones: /v1/consume", 1.3),
    Goal("judge", "Redis' CPU per decision, pipelined, us", 15, part="judge"),
    Goal("counter", "bytes per counter", 45, part="storage"),
    Goal("growth", "1 million customers against 1 thousand, CPU per decision", 1.15, part="growth"),
)


def verdicts(figures: Mapping[str, float], parts: Container[str]) -> Iterator[str]:
    """Yield a line for every goal of ``parts``: what was to be reached, what was, and a verdict.

    A figure that was left out of this run is neither met nor missed.
    """
    yield f"{'':58}{'goal':>8}{'reached':>10}"
    for goal in GOALS:
        if goal.part not in parts:
            continue
        wanted = f"{'>=' if goal.least else '<='} {goal.bound:g}"
        reached = figures.get(goal.name)
        if reached is None:
            yield f"{goal.words:58}{wanted:>8}{'-':>10}  not measured"
        else:
            verdict = "met" if goal.met(reached) else "missed"
            yield f"{goal.words:58}{wanted:>8}{reached:10.2f}  {verdict}"
