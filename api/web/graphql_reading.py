"""From HTTP to a GraphQL request: which answer is accepted, and what is asked.

Follows the GraphQL over HTTP specification; each refusal says which rule of it was broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from api.domain.errors import HeadroomError, InvalidInput
from api.schema.execution import GraphQLRequest

GRAPHQL_JSON = b"application/graphql-response+json"
PLAIN_JSON = b"application/json"
HTML = b"text/html"

_OURS = {
    GRAPHQL_JSON: GRAPHQL_JSON,
    PLAIN_JSON: PLAIN_JSON,
    # Whoever takes anything has not said that it knows the newer type.
    b"application/*": PLAIN_JSON,
    b"*/*": PLAIN_JSON,
}
_PARAMETERS = ("query", "operationName", "variables", "extensions", "documentId")
_DIGEST_PREFIX = "sha256:"


# Of whole tuples, as every request makes one: naming fields takes longer than the tuple itself.
_request_of = partial(tuple.__new__, GraphQLRequest)


class NotAcceptable(HeadroomError):
    """The caller takes no type of answer that can be given here."""

    code = "NOT_ACCEPTABLE"
    status = 406


class PersistedQueryNotSupported(HeadroomError):
    """The document is named in a way that is not known here."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"
    status = 400


@lru_cache(maxsize=256)
def answer_type(accept: bytes | None) -> bytes | None:
    """Return the type of answer that is liked best, None where none of ours is taken.

    Of equally liked ones the first that is named. Nothing said: plain JSON.
    """
    if accept is None or not accept.strip():
        return PLAIN_JSON
    best, liking = None, 0.0
    for kind, weight in _ranges(accept):
        ours = _OURS.get(kind)
        if ours is not None and weight > liking:
            best, liking = ours, weight
    return best


@lru_cache(maxsize=256)
def wants_page(accept: bytes | None) -> bool:
    """Tell whether this is somebody at a browser, who would rather see a page."""
    ranges = dict(_ranges(accept or b""))
    return ranges.get(HTML, 0.0) > max(ranges.get(GRAPHQL_JSON, 0.0), ranges.get(PLAIN_JSON, 0.0))


class _Posted(msgspec.Struct, gc=False, rename="camel"):
    """A body as it should be; whatever else is in it means nothing."""

    query: str | None = None
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None
    document_id: str | None = None


# Not orjson: its ``loads`` takes 7 µs more where much else ran since the last time, as here always.
_posted = msgspec.json.Decoder(_Posted).decode
_anything = msgspec.json.Decoder().decode


def from_body(body: bytes, most_variables_bytes: int) -> GraphQLRequest:
    """Read what was posted. Raises: InvalidInput, PersistedQueryNotSupported."""
    try:
        posted = _posted(body)
    except (ValueError, RecursionError):
        # Not JSON, or JSON of another shape; this says of what.
        return _from_any(_json("The body", body))
    variables, extensions, document_id = posted.variables, posted.extensions, posted.document_id
    if variables is not None and len(body) > most_variables_bytes:
        _expect_size(len(msgspec.json.encode(variables)), most_variables_bytes)
    query, name = posted.query, posted.operation_name or None
    if query is not None and extensions is None and document_id is None:
        return _request_of((query, None, name, variables, False))
    return _request(query, name, variables, extensions, document_id, safe=False)


def from_query_string(query_string: bytes, most_variables_bytes: int) -> GraphQLRequest:
    """Read what a URL says. Raises: InvalidInput, PersistedQueryNotSupported."""
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20
        )
    except ValueError as error:
        raise InvalidInput("The URL's parameters are not URL-encoded UTF-8.") from error
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given:
            raise InvalidInput(f"The parameter {name[:100]} is given more than once.")
        if name in _PARAMETERS:
            given[name] = value
    for name in ("variables", "extensions"):
        if name in given:
            _expect_size(len(given[name].encode()), most_variables_bytes)
            given[name] = _json(name, given[name])
    return _from_any(given, safe=True)


def _from_any(given: object, *, safe: bool = False) -> GraphQLRequest:
    """Read what was given in any shape, and say what is wrong with it."""
    if isinstance(given, list):
        raise InvalidInput("Batches of requests are not taken; use aliases or consumeEach.")
    if not isinstance(given, dict):
        raise InvalidInput("The body must be a JSON object with query.")
    query = _typed(given, "query", str, "a string")
    name = _typed(given, "operationName", str, "a string")
    variables = _typed(given, "variables", dict, "an object")
    extensions = _typed(given, "extensions", dict, "an object")
    document_id = _typed(given, "documentId", str, "a string")
    return _request(query, name or None, variables, extensions, document_id, safe=safe)


def _request(
    query: str | None,
    name: str | None,
    variables: Mapping[str, Any] | None,
    extensions: Mapping[str, Any] | None,
    document_id: str | None,
    *,
    safe: bool,
) -> GraphQLRequest:
    digest = _digest(document_id, extensions or {})
    if query is None and digest is None:
        raise InvalidInput("query is missing: the document to execute, as a string.")
    return GraphQLRequest(query, digest, name, variables, safe)


def _typed(given: Mapping[str, Any], name: str, kind: type, words: str) -> Any:  # noqa: ANN401 - as asked
    value = given.get(name)
    if value is not None and not isinstance(value, kind):
        raise InvalidInput(f"{name} must be {words}.")
    return value


def _digest(document_id: str | None, extensions: Mapping[str, Any]) -> str | None:
    """Return the digest that names the document, in either of the two customary ways."""
    if document_id is not None:
        if not document_id.startswith(_DIGEST_PREFIX):
            raise PersistedQueryNotSupported("documentId must be sha256: and the digest in hex.")
        return document_id.removeprefix(_DIGEST_PREFIX)
    persisted = extensions.get("persistedQuery")
    if persisted is None:
        return None
    digest = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    if not isinstance(digest, str) or persisted.get("version") != 1:
        raise PersistedQueryNotSupported("persistedQuery must have version 1 and sha256Hash.")
    return digest


def _json(name: str, text: str | bytes) -> object:
    try:
        return _anything(text)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not JSON: it is not UTF-8.") from error
    except msgspec.DecodeError as error:
        said = str(error).removeprefix("JSON is malformed: ")
        raise InvalidInput(f"{name} is not JSON: {said[:200]}.") from error
    except RecursionError as error:
        raise InvalidInput(f"{name} is not JSON: it is nested too deeply.") from error


def _expect_size(size: int, most: int) -> None:
    if size > most:
        raise InvalidInput(f"The variables have {size} bytes; at most {most} are allowed.")


def _ranges(accept: bytes) -> list[tuple[bytes, float]]:
    """Return the media ranges of an Accept header with their weights."""
    ranges = []
    for part in accept.lower().split(b","):
        kind, *parameters = (piece.strip() for piece in part.split(b";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith(b"q="):
                weight = _weight(parameter[2:])
        ranges.append((kind, weight))
    return ranges


def _weight(text: bytes) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
