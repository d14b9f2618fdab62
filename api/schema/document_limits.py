"""How large a document may be before anybody works on it.

Tokens and bytes bound what reading it costs; depth and aliases what answering it can cost, so they
are counted as the executor meets them: through fragments, each time they are spread.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from api.domain.errors import InvalidInput

_MANY = 10**9
"""Beyond any limit; fragments that spread each other twice reach any number."""
_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """The most of each that one document may have."""

    bytes: int = 16_384
    tokens: int = 2000
    depth: int = 12
    aliases: int = 50
    directives: int = 50


@dataclass(frozen=True, slots=True)
class Extent:
    """How deep fields nest, how many of them are renamed, and how many directives there are."""

    depth: int = 0
    aliases: int = 0
    directives: int = 0

    def beside(self, other: Extent) -> Extent:
        """Return the extent of both in one selection."""
        return Extent(
            max(self.depth, other.depth),
            min(self.aliases + other.aliases, _MANY),
            min(self.directives + other.directives, _MANY),
        )


def expect_within(limits: DocumentLimits, document: DocumentNode) -> None:
    """Go on only with a document within ``limits``. Raises: InvalidInput.

    Cost: O(nodes); a fragment is measured once, however often it is spread.
    """
    try:
        found = measure(document)
    except RecursionError as error:
        raise InvalidInput("The document's fragments are nested too deeply.") from error
    for name, has, most in (
        ("is nested to depth", found.depth, limits.depth),
        ("has aliases:", found.aliases, limits.aliases),
        ("has directives:", found.directives, limits.directives),
    ):
        if has > most:
            raise InvalidInput(f"The document {name} {has}; at most {most} are allowed.")


def measure(document: DocumentNode) -> Extent:
    """Return the extent of the largest operation; what introspects is not counted as depth.

    How deep introspection may go is a rule of its own, and its lists are as long as the schema.
    """
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    measuring = _Measuring(fragments)
    largest = Extent()
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            own = len(node.directives or ())
            own += sum(len(v.directives or ()) for v in node.variable_definitions or ())
            extent = measuring.selection(node.selection_set).beside(Extent(directives=own))
            largest = Extent(
                max(largest.depth, extent.depth),
                max(largest.aliases, extent.aliases),
                max(largest.directives, extent.directives),
            )
    return largest


class _Measuring:
    def __init__(self, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._known: dict[str, Extent] = {}

    def selection(self, selection: SelectionSetNode | None) -> Extent:
        total = Extent()
        for node in () if selection is None else selection.selections:
            total = total.beside(Extent(directives=len(node.directives or ())))
            if isinstance(node, FieldNode):
                inner = self.selection(node.selection_set)
                deep = 0 if node.name.value in _INTROSPECTION else inner.depth + 1
                aliases = inner.aliases + (node.alias is not None)
                total = total.beside(Extent(deep, aliases, inner.directives))
            elif isinstance(node, FragmentSpreadNode):
                total = total.beside(self._fragment(node.name.value))
            elif isinstance(node, InlineFragmentNode):
                total = total.beside(self.selection(node.selection_set))
        return total

    def _fragment(self, name: str) -> Extent:
        known = self._known.get(name)
        if known is None:
            # A fragment that spreads itself is refused by validation; here it must only end.
            self._known[name] = Extent()
            node = self._fragments.get(name)
            if node is not None:
                own = Extent(directives=len(node.directives or ()))
                self._known[name] = self.selection(node.selection_set).beside(own)
            known = self._known[name]
        return known
