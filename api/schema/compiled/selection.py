"""What one operation selects, with the answers to its ``@skip`` and ``@include`` known.

graphql-core itself collects the fields, once for each combination of those answers. So what merges,
in which order, and which fragments apply is the same on both roads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
)
from graphql.execution.collect_fields import (
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues

from api.schema.compiled.unfit import Unsupported

MOST_CONDITIONS = 4
"""Variables that decide what is selected; each doubles the functions of one operation."""
_DIRECTIVES = ("skip", "include")


@dataclass(frozen=True, slots=True)
class Selected:
    """One field of a result: its response key, definition, and where the document selects it."""

    key: str
    name: str
    definition: GraphQLField
    nodes: list[FieldNode]
    details: FieldDetailsList


class Selection:
    """The fields of one operation under one combination of conditions."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        conditions: Mapping[str, bool],
    ) -> None:
        self.schema = schema
        self._operation = operation
        self._fragments = {
            one.name.value: FragmentDetails(one)
            for one in document.definitions
            if isinstance(one, FragmentDefinitionNode)
        }
        self._values = VariableValues({}, dict(conditions))

    @property
    def serial(self) -> bool:
        """Whether the fields of the root run one after the other."""
        return self._operation.operation is OperationType.MUTATION

    def root(self) -> tuple[GraphQLObjectType, list[Selected]]:
        """Return the type of the root and what is selected of it. Raises: Unsupported."""
        type_ = self.schema.get_root_type(self._operation.operation)
        if type_ is None or self._operation.operation is OperationType.SUBSCRIPTION:
            raise Unsupported("an operation that is neither a query nor a mutation")
        collected = collect_fields(
            self.schema, self._fragments, self._values, type_, self._operation
        )
        return type_, self._selected(type_, collected.grouped_field_set)

    def below(self, type_: GraphQLObjectType, field: Selected) -> list[Selected]:
        """Return what is selected of an object of ``type_`` in ``field``. Raises: Unsupported."""
        collected = collect_subfields(
            self.schema, self._fragments, self._values, self._operation, type_, field.details
        )
        return self._selected(type_, collected.grouped_field_set)

    def _selected(self, type_: GraphQLObjectType, grouped: GroupedFieldSet) -> list[Selected]:
        found = []
        for key, details in grouped.items():
            name = details[0].node.name.value
            definition = self.schema.get_field(type_, name)
            if definition is None:
                raise Unsupported(f"{type_.name}.{name}")
            nodes = [one.node for one in details]
            found.append(Selected(key, name, definition, nodes, details))
        return found


def conditions(document: DocumentNode, operation: OperationDefinitionNode) -> list[str]:
    """Return the variables by which ``operation`` skips and includes. Raises: Unsupported."""
    fragments = {
        one.name.value: one
        for one in document.definitions
        if isinstance(one, FragmentDefinitionNode)
    }
    if operation.directives or any(one.variable_definitions for one in fragments.values()):
        raise Unsupported("directives of an operation, or variables of a fragment")
    found: dict[str, None] = {}
    seen: set[str] = set()
    pending: list[SelectionSetNode] = [operation.selection_set]
    while pending:
        for node in pending.pop().selections:
            found.update(dict.fromkeys(_conditions(node.directives or ())))
            if isinstance(node, FragmentSpreadNode):
                fragment = fragments.get(node.name.value)
                if fragment is None or fragment.directives:
                    raise Unsupported("an unknown fragment, or one with directives")
                if fragment.name.value not in seen:
                    seen.add(fragment.name.value)
                    pending.append(fragment.selection_set)
            elif isinstance(node, (FieldNode, InlineFragmentNode)) and node.selection_set:
                pending.append(node.selection_set)
    if len(found) > MOST_CONDITIONS:
        raise Unsupported("more conditions than are worth a function for each combination")
    return list(found)


def _conditions(directives: Sequence[Any]) -> Iterator[str]:
    for directive in directives:
        if directive.name.value not in _DIRECTIVES:
            raise Unsupported(f"@{directive.name.value}")
        for argument in directive.arguments or ():
            if isinstance(argument.value, VariableNode):
                yield argument.value.name.value
