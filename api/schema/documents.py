"""Documents: read and validated once, kept while they are in use, known by their digest.

A document that was never seen costs a hundred times a known one. So what is kept is bounded in
number and in bytes, and each caller may bring only so many new ones a minute.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    parse,
    specified_rules,
    validate,
)

from api.domain.errors import HeadroomError, InvalidInput, RateLimited
from api.infra.shelf import Shelf
from api.schema.compiled.operations import Operation
from api.schema.document_limits import DocumentLimits, expect_within

MOST_KEPT = 1000
MOST_BYTES = 1 << 20
"""Of source text; what is read from it takes some fifty times as much memory."""
NEW_PER_MINUTE = 6000
MOST_ERRORS = 20
MOST_CALLERS = 10_000

_MINUTE_MS = 60_000
_DIGEST = re.compile(r"[0-9a-f]{64}")


class PersistedQueryNotFound(HeadroomError):
    """The document of this digest is not kept here; send it along."""

    code = "PERSISTED_QUERY_NOT_FOUND"
    status = 400


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document as it was read; where there are ``errors`` it must not be executed."""

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...]
    operations: dict[str | None, Operation] = field(default_factory=dict)
    """Those of it that were asked for, by name."""


class Documents:
    """Reads, validates and keeps documents for one schema."""

    def __init__(self, schema: GraphQLSchema, limits: DocumentLimits | None = None) -> None:
        self._schema = schema
        self._limits = limits or DocumentLimits()
        self._prepared: Shelf[tuple[str, bool], Prepared] = Shelf(MOST_KEPT, MOST_BYTES)
        self._by_digest: Shelf[str, str] = Shelf(MOST_KEPT, MOST_BYTES)
        self._arrivals: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def text(self, query: str | None, digest: str | None) -> str:
        """Return the document that a request means, by its text, its digest, or both.

        Raises: PersistedQueryNotFound; InvalidInput, where text and digest do not belong together.
        """
        if digest is None:
            if query is None:
                raise InvalidInput("The request has neither a query nor the digest of one.")
            return query
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput("A document's digest is its SHA-256 in 64 lower-case hex digits.")
        if query is not None:
            if hashlib.sha256(query.encode()).hexdigest() != digest:
                raise InvalidInput("The digest is not that of the query.")
            return query
        known = self._by_digest.get(digest)
        if known is None:
            raise PersistedQueryNotFound("PersistedQueryNotFound")
        return known

    def find(self, text: str, digest: str | None, *, closed: bool) -> Prepared | None:
        """Return the document as it is kept here, None where it is not.

        One with a digest is kept under it from now on. Cost: a look-up.
        """
        known = self._prepared.get((text, closed))
        if known is not None and digest is not None and not known.errors:
            self._by_digest.put(digest, text, len(digest))
        return known

    def prepare(
        self, text: str, digest: str | None, *, closed: bool, caller: str, at_ms: int
    ) -> Prepared:
        """Read and validate ``text``; ``closed`` neither introspects nor suggests names.

        Raises: InvalidInput, RateLimited.
        Cost: a look-up; for a document that is not kept here, milliseconds.
        """
        known = self.find(text, digest, closed=closed)
        if known is None:
            size = len(text.encode())
            if size > self._limits.bytes:
                raise InvalidInput(
                    f"The document has {size} bytes; at most {self._limits.bytes} are allowed."
                )
            self._admit(caller, at_ms)
            known = self._read(text, closed=closed)
            self._prepared.put((text, closed), known, len(text))
            if digest is not None and not known.errors:
                self._by_digest.put(digest, text, len(digest))
        return known

    def _read(self, text: str, *, closed: bool) -> Prepared:
        most = self._limits.tokens
        try:
            document = parse(text, max_lexical_tokens=most, max_comments=most)
        except GraphQLError as error:
            return Prepared(None, (error,))
        expect_within(self._limits, document)
        rules = (*specified_rules, NoSchemaIntrospectionCustomRule) if closed else specified_rules
        errors = validate(
            self._schema, document, rules, max_errors=MOST_ERRORS, hide_suggestions=closed
        )
        return Prepared(document, tuple(errors))

    def _admit(self, caller: str, at_ms: int) -> None:
        """Count a new document of this caller. Raises: RateLimited."""
        minute = at_ms // _MINUTE_MS
        known, count = self._arrivals.pop(caller, (minute, 0))
        count = count + 1 if known == minute else 1
        self._arrivals[caller] = (minute, count)
        while len(self._arrivals) > MOST_CALLERS:
            self._arrivals.popitem(last=False)
        if count > NEW_PER_MINUTE:
            raise RateLimited(
                "Too many documents that were never seen; send values as variables.",
                retry_after_seconds=-(-(_MINUTE_MS - at_ms % _MINUTE_MS) // 1000),
            )
