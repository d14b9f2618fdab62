"""Which road an operation takes, and the functions of those that are compiled.

A document that comes once is not worth a function; from its second use on an operation has one, if
the compiler knows all of it. That is decided when it is compiled; what it does not know, and
variables that do not fit, run on the general executor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
)
from strawberry.schema.name_converter import NameConverter

from api.schema.compiled.arguments import Variables
from api.schema.compiled.reading import MISSING, Reader
from api.schema.compiled.running import Run
from api.schema.compiled.selection import Selection, conditions
from api.schema.compiled.unfit import Unfit, Unsupported
from api.schema.compiled.writing import Writer

MOST_FUNCTIONS = 2_000
MOST_SOURCE_BYTES = 4 << 20
USES = 1
"""So often an operation runs on the general executor before it is compiled."""

Keywords = list[dict[str, Any]]
_NONE: Mapping[str, Any] = {}


class Function:
    """The Python function of one operation under one combination of its conditions.

    Raises: Unsupported. Cost: milliseconds.
    """

    def __init__(self, selection: Selection, names: NameConverter) -> None:
        writer = Writer(selection, names)
        source = writer.write()
        namespace = writer.constants
        # The source is our own: of the document only its response keys are in it, as literals.
        exec(compile(source, "<compiled operation>", "exec"), namespace)  # noqa: S102 - as said
        self.root: Callable[[Run], Any] = namespace["root"]
        """Returns the data, or what gives them. It raises: GraphQLError, by which all are null.

        Where ``answers`` is True, it returns what gives the whole answer, and raises nothing.
        """
        self.answers = writer.answers
        self._arguments = writer.arguments
        self.only = self._arguments[0].only if len(self._arguments) == 1 else None
        self.taskless = writer.taskless
        """Whether each of its resolvers asks for a task where it needs one."""
        self.size = len(source)

    def arguments(self, values: Mapping[str, Any]) -> Keywords:
        """Return the arguments of every field that has any. Raises: Unfit."""
        return [one.make(values) for one in self._arguments]


class Operation:
    """One operation of one document, and what is known of compiling it."""

    __slots__ = (
        "changes",
        "conditions",
        "document",
        "functions",
        "known",
        "node",
        "only",
        "uses",
        "variables",
    )

    def __init__(self, document: DocumentNode, node: OperationDefinitionNode) -> None:
        self.document = document
        self.node = node
        self.changes = node.operation is not OperationType.QUERY
        """Whether it is more than a query."""
        self.uses = 0
        self.known: bool | None = None
        """Whether the compiler knows all of it; None: it was not asked yet."""
        self.variables: Variables | None = None
        self.conditions: list[str] = []
        self.only: tuple[Function, str, Reader, str] | None = None
        """Its function, where it has one variable, and that is its one argument, as of most."""
        self.functions: dict[tuple[bool, ...], Function] = {}
        """By what decides of the selection; those that the compiler keeps."""


class Compiler:
    """Compiles operations of one schema, and keeps the functions of those in use."""

    def __init__(self, schema: GraphQLSchema, names: NameConverter, uses: int = USES) -> None:
        self._schema = schema
        self._names = names
        self._uses = uses
        self._kept: deque[tuple[Operation, tuple[bool, ...], int]] = deque()
        self._bytes = 0

    def fit(
        self, operation: Operation, given: Mapping[str, Any] | None
    ) -> tuple[Function, Keywords] | None:
        """Return the function for these variables, with its arguments; None: take the other road.

        Cost: microseconds; of a combination of conditions that is new, milliseconds.
        """
        try:
            only = operation.only
            if only is not None:
                function, name, read, keyword = only
                value = (given or _NONE).get(name, MISSING)
                return None if value is MISSING else (function, [{keyword: read(value)}])
            if not operation.known and not self._asked(operation):
                return None
            return self._fit(operation, given or _NONE)
        except Unfit:
            return None
        except Unsupported:
            operation.known = False
            return None

    def _fit(self, operation: Operation, given: Mapping[str, Any]) -> tuple[Function, Keywords]:
        """Return the same. Raises: Unfit, Unsupported."""
        variables = operation.variables
        if variables is None:
            raise Unfit
        values = variables.read(given)
        answers = _answers(operation.conditions, values) if operation.conditions else ()
        function = operation.functions.get(answers)
        if function is None:
            function = self._compile(operation, answers)
        return function, function.arguments(values)

    def _asked(self, operation: Operation) -> bool:
        """Tell whether to compile ``operation``, the first time it is worth asking."""
        if operation.known is False:
            return False
        operation.uses += 1
        if operation.uses <= self._uses:
            return False
        try:
            operation.conditions = conditions(operation.document, operation.node)
            operation.variables = Variables(self._schema, operation.node)
            operation.known = True
        except Unsupported:
            operation.known = False
        return operation.known

    def _compile(self, operation: Operation, answers: tuple[bool, ...]) -> Function:
        known = dict(zip(operation.conditions, answers, strict=True))
        selection = Selection(self._schema, operation.document, operation.node, known)
        function = Function(selection, self._names)
        operation.functions[answers] = function
        operation.only = None if answers else _only(function, operation.variables)
        self._kept.append((operation, answers, function.size))
        self._bytes += function.size
        while len(self._kept) > MOST_FUNCTIONS or self._bytes > MOST_SOURCE_BYTES:
            # The oldest goes; one that is still in use is compiled again.
            other, of, size = self._kept.popleft()
            del other.functions[of]
            other.only = None
            self._bytes -= size
        return function


def _only(
    function: Function, variables: Variables | None
) -> tuple[Function, str, Reader, str] | None:
    """Return how to call ``function`` where its one argument is its one variable."""
    argument = function.only
    if variables is None or variables.only is None or argument is None:
        return None
    (name, read), (keyword, of) = variables.only, argument
    return (function, name, read, keyword) if of == name else None


def _answers(names: list[str], values: Mapping[str, Any]) -> tuple[bool, ...]:
    answers = []
    for name in names:
        answer = values.get(name)
        if not isinstance(answer, bool):
            raise Unfit
        answers.append(answer)
    return tuple(answers)
