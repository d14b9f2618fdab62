"""The one place where documents are executed, by either of two roads that answer alike.

Operations that come again run as compiled functions (``compiled``); all others, and whatever the
compiler does not know, on graphql-core. tests/schema/roads holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from types import CoroutineType
from typing import Any, NamedTuple

import orjson
import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLError, execute, get_operation_ast

from api.domain.errors import HeadroomError, InvalidInput, RateLimited
from api.infra.taskless import in_task
from api.schema.compiled.operations import USES, Compiler, Function, Operation
from api.schema.compiled.running import Answer, Run, answered
from api.schema.context import Context
from api.schema.document_limits import DocumentLimits
from api.schema.documents import Documents, Prepared
from api.schema.errors import Entry, entry_of, request_entry


class MethodNotAllowed(HeadroomError):
    """A safe method was used for what changes something."""

    code = "METHOD_NOT_ALLOWED"
    status = 405


class GraphQLRequest(NamedTuple):
    """One well-formed request; ``digest`` names its document beside or instead of ``query``."""

    query: str | None
    digest: str | None = None
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = None
    safe: bool = False
    """Whether it came by a method that must not change anything."""


@dataclass(slots=True)
class Roads:
    """How many operations each road was taken by."""

    compiled: int = 0
    general: int = 0


class Executor:
    """Executes operations of one schema; ``open_schema``: customers may introspect it.

    ``compiled`` False leaves all of them to the general executor; else an operation is compiled
    after ``uses``.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        limits: DocumentLimits | None = None,
        *,
        open_schema: bool = False,
        compiled: bool = True,
        uses: int = USES,
    ) -> None:
        self._strawberry = schema
        # Strawberry has no public name for the schema that it builds.
        self._schema = schema._schema  # noqa: SLF001
        self._documents = Documents(self._schema, limits)
        self._open = open_schema
        names = schema.config.name_converter
        self._compiler = Compiler(self._schema, names, uses) if compiled else None
        self.roads = Roads()

    def execute(self, request: GraphQLRequest, context: Context) -> Coroutine[Any, Any, Answer]:
        """Return what answers one request. Neither raises for what a caller can do."""
        principal = context.principal
        closed = not self._open and (principal is None or principal.customer is not None)
        query, digest, name, variables, safe = request
        operation: Operation | None = None
        if query and digest is None and not safe:  # as of most
            prepared = self._documents.find(query, None, closed=closed)
            operation = None if prepared is None else prepared.operations.get(name)
        if operation is None:
            found = self._find(request, context, closed=closed)
            if isinstance(found, Answer):
                return _settled(found)
            operation = found
        fit = None if self._compiler is None else self._compiler.fit(operation, variables)
        if fit is None:
            self.roads.general += 1
            return self._generally(operation, request, context, closed=closed)
        self.roads.compiled += 1
        function, keywords = fit
        run = Run(context, keywords)
        if function.answers and function.taskless:
            answering: Coroutine[Any, Any, Answer] = function.root(run)
            return answering
        return _compiled(function, run)

    def _find(
        self, request: GraphQLRequest, context: Context, *, closed: bool
    ) -> Operation | Answer:
        """Return the operation that is asked for, or the refusal."""
        query, digest, name, _, safe = request
        try:
            text = self._documents.text(query, digest)
            prepared = self._documents.find(text, digest, closed=closed)
            if prepared is None:
                caller = "nobody" if context.principal is None else context.principal.actor
                prepared = self._documents.prepare(
                    text, digest, closed=closed, caller=caller, at_ms=context.at_ms
                )
            operation = prepared.operations.get(name)
            if operation is None:
                if prepared.document is None or prepared.errors:
                    return _refusal(map(entry_of, prepared.errors), InvalidInput.status)
                operation = _operation(prepared, prepared.document, name)
            if safe and operation.changes:
                raise MethodNotAllowed("Only queries are answered by GET; send this by POST.")
        except HeadroomError as error:
            return refuse(error)
        return operation

    async def _generally(
        self, operation: Operation, request: GraphQLRequest, context: Context, *, closed: bool
    ) -> Answer:
        """Execute on the general road."""
        await in_task()
        running = execute(
            self._schema,
            operation.document,
            context_value=context,
            variable_values=dict(request.variables or {}),
            operation_name=request.operation_name,
            executor_class=self._strawberry.execution_context_class,
            hide_suggestions=closed,
            operation_extensions=None,
        )
        return _answer(await running if isawaitable(running) else running)


async def _compiled(function: Function, run: Run) -> Answer:
    """Execute on the short road."""
    if not function.taskless:
        await in_task()
    try:
        data = function.root(run)
        if type(data) is CoroutineType:
            data = await data
    except GraphQLError as error:
        data = None
        run.add_whole(error)
    return data if function.answers else answered(run, data)


async def _settled(answer: Answer) -> Answer:
    return answer


def refuse(error: HeadroomError) -> Answer:
    """Return the answer to a request that cannot be executed."""
    wait = error.retry_after_seconds if isinstance(error, RateLimited) else None
    answer = _refusal([request_entry(error)], error.status)
    return answer._replace(retry_after_seconds=wait)


def _answer(result: ExecutionResult) -> Answer:
    errors = [entry_of(error) for error in result.errors or ()]
    if result.data is None and not any("path" in entry for entry in errors):
        return _refusal(errors, InvalidInput.status)  # variables that do not fit
    body = {"errors": errors, "data": result.data} if errors else {"data": result.data}
    return Answer(orjson.dumps(body), 200)


def _refusal(errors: Iterable[Entry], status: int) -> Answer:
    return Answer(orjson.dumps({"errors": list(errors)}), status)


def _operation(prepared: Prepared, document: DocumentNode, name: str | None) -> Operation:
    node = get_operation_ast(document, name)
    if node is None and name is not None:
        raise InvalidInput(f"The document has no operation {name[:100]!r}.")
    if node is None:
        raise InvalidInput("The document has several operations; name one by operationName.")
    operation = prepared.operations[name] = Operation(document, node)
    return operation
