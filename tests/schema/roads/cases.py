"""Cases: requests for generated documents, by all sorts of callers, and what they meet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from api.gates.principal import Principal, Scope, reach
from api.schema.execution import GraphQLRequest
from tests.schema.roads.bad_documents import broken
from tests.schema.roads.documents import Document, DocumentWriter
from tests.schema.roads.input_values import Givens
from tests.schema.roads.scripted_values import TEMPERS, Temper

AT_US = 1_773_136_800_000_000

ADMIN = Principal("key", "admin", reach([Scope.ADMIN]))
CALLERS: tuple[Principal | None, ...] = (
    *(Principal("key", scope.value, reach([scope])) for scope in Scope),
    Principal("token", "acme", reach([Scope.CHECK]), customer="acme"),
    Principal("token", "acme", reach([Scope.CONSUME, Scope.MANAGE]), customer="acme"),
    None,
)


@dataclass(frozen=True)
class Case:
    """One request, and the seed of whatever its resolvers do."""

    request: GraphQLRequest
    principal: Principal | None
    at_us: int
    seed: int
    temper: Temper


def cases(writer: DocumentWriter, seed: int, count: int) -> Iterator[Case]:
    """Make so many cases, several of each document."""
    rng = Random(seed)  # noqa: S311 - chances, no secrets
    made = 0
    at_us = AT_US
    while made < count:
        document = writer.write(rng)
        invalid = rng.random() < 0.04
        text = broken(rng, document.text) if invalid else document.text
        digest = hashlib.sha256(text.encode()).hexdigest() if rng.random() < 0.1 else None
        # A document that one caller has read is read again for another kind of caller.
        usual = ADMIN if rng.random() < 0.75 else rng.choice(CALLERS)
        at_us += 1_000_000
        # What introspects is left to the general road, so a look at it is enough.
        for turn in range(1 if invalid or document.introspects else 12):
            principal = rng.choice(CALLERS) if rng.random() < 0.03 else usual
            by_digest = digest is not None and turn > 0
            yield Case(
                GraphQLRequest(
                    query=None if by_digest else text,
                    digest=digest,
                    operation_name=_operation_name(rng, document),
                    variables=_variables(rng, document),
                    safe=rng.random() < 0.04,
                ),
                principal,
                at_us,
                rng.getrandbits(32),
                rng.choice(TEMPERS),
            )
            made += 1


def _operation_name(rng: Random, document: Document) -> str | None:
    if rng.random() < 0.03:
        return rng.choice((None, "", "Nothing"))
    if len(document.operations) == 1 and rng.random() < 0.3:
        return None
    return rng.choice(document.operations).name


def _variables(rng: Random, document: Document) -> dict[str, Any] | None:
    declared = {one.name: one for op in document.operations for one in op.declared}
    if not declared and rng.random() < 0.5:
        return None
    wrong = rng.choice((0.0, 0.0, 0.0, 0.05))
    return Givens(rng, wrong).variables(list(declared.values()))
