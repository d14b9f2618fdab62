"""From a selection to the source of Python functions, one for each selected object.

A function takes the run, the object and its path, and returns what orjson writes. Attributes are
read in place; a resolver that is not async is called in place; an async one becomes a function of
its own, which whoever joins it starts. A leaf of the usual kind costs one look at its type.

What a position does about an error is in ``positions``, objects of leaves alone in ``usual``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import CoroutineType
from typing import Any

from graphql import GraphQLAbstractType, GraphQLList, GraphQLNonNull, GraphQLObjectType
from graphql.type import (
    GraphQLOutputType,
    TypeNameMetaFieldDef,
    is_abstract_type,
    is_leaf_type,
    is_object_type,
)
from strawberry.schema.name_converter import NameConverter
from strawberry.types.field import StrawberryField

from api.schema.compiled import running
from api.schema.compiled.arguments import Arguments
from api.schema.compiled.kinds import class_of, expecting, iterated, naming
from api.schema.compiled.leaves import general, leaf_of
from api.schema.compiled.positions import (
    Place,
    awaiting,
    excepting,
    guarded,
    indented,
    needs_path,
)
from api.schema.compiled.selection import Selected, Selection
from api.schema.compiled.unfit import Unsupported
from api.schema.compiled.usual import PlainLeaf, Unusual, at_once, plain_leaf
from api.schema.described import is_taskless
from api.schema.scopes import Guard

MOST_BYTES = 64 << 10
"""Of one operation; Python takes a tenth of a second to read so much."""

_BACKREF = "strawberry-definition"


@dataclass(frozen=True, slots=True)
class _Steps:
    """Lines that complete a value; ``waits``: what they leave may have to be awaited."""

    lines: list[str]
    waits: bool = False


class Writer:
    """Writes the functions of one selection. Raises: Unsupported."""

    def __init__(self, selection: Selection, names: NameConverter) -> None:
        self._selection = selection
        self._names = names
        self._lines: list[str] = []
        self._count = 0
        self._bytes = 0
        self._objects: dict[tuple[str, tuple[int, ...]], tuple[str, bool]] = {}
        self._quick: dict[str, str] = {}
        """By functions of objects, those that are shorter and raise for unusual ones."""
        self.arguments: list[Arguments] = []
        """Of the fields that have any; a function finds theirs by their place in ``run.args``."""
        self.taskless = True
        """Whether no async resolver is among them but such as are marked so."""
        self.answers = False
        """Whether ``root`` gives the whole answer, not the data alone."""
        self.constants: dict[str, Any] = {
            "answered": running.answered,
            "join": running.join,
            "located": running.located,
            "or_null": running.or_null,
            "or_raise": running.or_raise,
            "Unusual": Unusual,
            "rethrow": running.rethrow,
            "settle": running.settle,
            "iterated": iterated,
            "Waits": CoroutineType,
        }

    def write(self) -> str:
        """Return the source; its function ``root(run)`` returns the data, or what gives them."""
        type_, fields = self._selection.root()
        if self._selection.serial:
            self._serial(type_, fields)
        else:
            name, _ = self._object(type_, fields)
            self._add(["def root(run):", f"    return {name}(run, None, None)"])
        return "\n".join(self._lines)

    def _serial(self, type_: GraphQLObjectType, fields: Sequence[Selected]) -> None:
        made = []
        for field in fields:
            if field.definition is TypeNameMetaFieldDef:
                made.append(f"{field.key!r}: {type_.name!r}")
                continue
            place = self._place(type_, field)
            if not place.own.is_async:
                raise Unsupported(f"{place.words}: a mutation that is not async")
            if len(fields) == 1:  # as of most: one coroutine is enough
                self._async(place, "root", alone=True)
                return
            made.append(f"{field.key!r}: await {self._async(place)}(run, None, None)")
        # Python makes the members of a dictionary in the order in which they are written.
        self._add(["async def root(run):", f"    return {{{', '.join(made)}}}"])

    def _object(self, type_: GraphQLObjectType, fields: Sequence[Selected]) -> tuple[str, bool]:
        """Write the function of an object; return its name, and whether it may have to wait."""
        body: list[str] = []
        results: list[str] = []
        waits: list[tuple[str, str]] = []
        leaves: dict[str, PlainLeaf | None] = {}
        for field in fields:
            if field.definition is TypeNameMetaFieldDef:
                results.append(f"{field.key!r}: {type_.name!r}")
                continue
            place = self._place(type_, field)
            leaves[field.key] = plain_leaf(place.own, place.type)
            result = self._name("r")
            results.append(f"{field.key!r}: {result}")
            if place.own.is_async:
                body.append(f"{result} = {self._async(place)}(run, s, path)")
                waits.append((field.key, result))
            else:
                steps = self._sync(place, result)
                body += steps.lines
                if steps.waits:
                    waits.append((field.key, result))
        plain = {key: leaf for key, leaf in leaves.items() if leaf is not None}
        quick = None
        if len(plain) == len(results) > 1:
            short = at_once(plain, self._constant)
            quick = self._name("quick")
            self._add([f"def {quick}(s):", *indented([*short, "raise Unusual"])])
            body = ["try:", *indented(short), "except Exception:", "    pass", *body]
        out = f"{{{', '.join(results)}}}"
        body = awaiting(body, out, waits) if waits else [*body, f"return {out}"]
        name = self._name("object")
        if quick is not None:
            self._quick[name] = quick
        self._add([f"def {name}(run, s, path):", *indented(body)])
        return name, bool(waits)

    def _below(self, type_: GraphQLObjectType, field: Selected) -> tuple[str, bool]:
        """Write the function of an object of ``type_`` in ``field``, once for the same selection.

        A fragment that is spread in many places is written once, so that what is written grows
        with the document and not with what it unfolds to.
        """
        place = (type_.name, tuple(id(node) for node in field.nodes))
        known = self._objects.get(place)
        if known is None:
            known = self._object(type_, self._selection.below(type_, field))
            self._objects[place] = known
        return known

    def _async(self, place: Place, name: str | None = None, *, alone: bool = False) -> str:
        """Write the function of a field whose resolver is async; return its name.

        ``alone``: it is all that there is of its object, which is returned with it.
        """
        name = name or self._name("field")
        # Of a position that may be null nothing more can go wrong then: the coroutine of the field
        # may as well give the whole answer.
        answers = alone and not isinstance(place.type, GraphQLNonNull)
        self.answers = self.answers or answers
        self.taskless = self.taskless and is_taskless(place.own)
        steps = self._complete(place, place.type, "v", "c", "p")
        lines = [*self._guards(place.own), f"v = await {self._call(place)}"]
        if needs_path(place.type):
            lines.append(f"p = {place.path}")
        lines += steps.lines
        if steps.waits:
            lines += ["if type(c) is Waits:", "    c = await c"]
        out = f"{{{place.field.key!r}: c}}" if alone else "c"
        handled = excepting(place, place.type, place.path, "v", "c = None")
        head = f"async def {name}(run, s=None, path=None):"
        end = f"return answered(run, {out})" if answers else f"return {out}"
        self._add([head, *indented(["try:", *indented(lines), *handled, end])])
        return name

    def _sync(self, place: Place, result: str) -> _Steps:
        """Return the steps that put a field's value into ``result``."""
        own = place.own
        lines = self._guards(own)
        if own.base_resolver is not None:
            lines.append(f"v = {self._call(place)}")
        elif own.python_name.isidentifier():
            lines.append(f"v = s.{own.python_name}")
        else:
            raise Unsupported(place.words)
        if needs_path(place.type):
            lines.append(f"p = {place.path}")
        steps = self._complete(place, place.type, "v", result, "p")
        lines += steps.lines
        if steps.waits:
            lines += guarded(place, place.type, result, place.path)
        handled = excepting(place, place.type, place.path, "v", f"{result} = None")
        return _Steps(["try:", *indented(lines), *handled], steps.waits)

    def _complete(
        self, place: Place, type_: GraphQLOutputType, value: str, result: str, path: str
    ) -> _Steps:
        """Return the steps that complete ``value``, which is of ``type_``, into ``result``."""
        null = not isinstance(type_, GraphQLNonNull)
        bare = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        if is_leaf_type(bare):
            leaf = leaf_of(bare)
            names = {key: self._constant(key, one) for key, one in leaf.constants.items()}
            usual = leaf.usual.format(v=value, **names)
            written = leaf.written.format(v=value, **names)
            complete = general(bare, place.parent.name, place.field.name, null=null)
            other = f"{self._constant('leaf', complete)}({value})"
            if null:
                other = f"None if {value} is None else {other}"
            return _Steps([f"{result} = {written} if {usual} else {other}"])
        if isinstance(bare, GraphQLList):
            steps = self._list(place, bare.of_type, value, result, path)
        elif is_object_type(bare):
            steps = self._one(place, bare, value, result, path)
        elif is_abstract_type(bare):
            steps = self._any(place, bare, value, result, path)
        else:
            raise Unsupported(f"a value of {bare}")
        message = f"Cannot return null for non-nullable field {place.words}."
        lines = [
            f"if {value} is None:",
            f"    {result} = None" if null else f"    raise TypeError({message!r})",
            f"elif isinstance({value}, Exception):",
            f"    rethrow({value})",
            "else:",
            *indented(steps.lines),
        ]
        return _Steps(lines, steps.waits)

    def _list(
        self, place: Place, type_: GraphQLOutputType, value: str, result: str, path: str
    ) -> _Steps:
        """Return the steps for a list of ``type_``."""
        items, index, item, done, at = (
            self._name(one) for one in ("items", "n", "item", "done", "at")
        )
        steps = self._complete(place, type_, item, done, at)
        here = f"({path}, {index})"
        lines = [f"{at} = {here}"] if needs_path(type_) else []
        lines += steps.lines
        if steps.waits:
            lines += guarded(place, type_, done, here)
        each = ["try:", *indented(lines), *excepting(place, type_, here, item, f"{done} = None")]
        all_ = f"{value} if type({value}) in (list, tuple) else iterated({value}, {place.words!r})"
        loop = [
            f"for {index}, {item} in enumerate({all_}):",
            *indented([*each, f"{items}.append({done})"]),
        ]
        if not steps.waits:
            usual = [f"{items} = []", *loop, f"{result} = {items}"]
            return _Steps(self._quickly(place, type_, value, result, usual))
        waiting = self._name("waiting")
        joined = f"join({items}, {waiting}, [{items}[n] for n in {waiting}])"
        lines = [
            f"{items} = []",
            "try:",
            *indented(loop),
            "except BaseException:",
            f"    settle([c for c in {items} if type(c) is Waits])",
            "    raise",
            f"{waiting} = [n for n, c in enumerate({items}) if type(c) is Waits]",
            f"{result} = {joined} if {waiting} else {items}",
        ]
        return _Steps(lines, waits=True)

    def _quickly(
        self, place: Place, type_: GraphQLOutputType, value: str, result: str, slowly: list[str]
    ) -> list[str]:
        """Return the steps for a list whose objects may all be usual; ``slowly`` are those else."""
        bare = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        if not is_object_type(bare) or bare.is_type_of is not None:
            return slowly
        quick = self._quick.get(self._below(bare, place.field)[0])
        if quick is None:
            return slowly
        items, item = self._name("items"), self._name("item")
        # A loop: Python calls a function of its own at once, where ``map`` goes round through C.
        return [
            f"{result} = None",
            "try:",
            f"    if type({value}) in (list, tuple):",
            f"        {items} = []",
            f"        for {item} in {value}:",
            f"            {items}.append({quick}({item}))",
            f"        {result} = {items}",
            "except Exception:",
            "    pass",
            f"if {result} is None:",
            *indented(slowly),
        ]

    def _one(
        self, place: Place, type_: GraphQLObjectType, value: str, result: str, path: str
    ) -> _Steps:
        """Return the steps for an object of ``type_``."""
        function, waits = self._below(type_, place.field)
        lines = [f"{result} = {function}(run, {value}, {path})"]
        if type_.is_type_of is not None:
            expect = expecting(self._selection.schema, type_, place.field)
            kind = self._constant("kind", class_of(type_))
            check = self._constant("expect", expect)
            lines = [f"if type({value}) is not {kind}:", f"    {check}({value})", *lines]
        return _Steps(lines, waits)

    def _any(
        self, place: Place, type_: GraphQLAbstractType, value: str, result: str, path: str
    ) -> _Steps:
        """Return the steps for an object of any type that ``type_`` may be."""
        schema, functions, waits = self._selection.schema, [], False
        for possible in schema.get_possible_types(type_):
            function, may_wait = self._below(possible, place.field)
            functions.append(f"{possible.name!r}: {function}")
            waits = waits or may_wait
        table = self._name("table")
        self._add([f"{table} = {{{', '.join(functions)}}}"])
        name = self._constant("name", naming(schema, type_, place.parent, place.field))
        return _Steps([f"{result} = {table}[{name}({value})](run, {value}, {path})"], waits)

    def _call(self, place: Place) -> str:
        """Return the expression that calls a field's resolver."""
        own, resolver = place.own, place.own.base_resolver
        if resolver is None:
            raise Unsupported(f"{place.words}: async, and without a resolver")
        given = ["s"] if resolver.self_parameter else []
        sources = (resolver.parent_parameter, resolver.root_parameter)
        given += [f"{one.name}=s" for one in sources if one]
        if resolver.info_parameter:
            given.append(f"{resolver.info_parameter.name}=run")
        if own.arguments:
            field, args = place.field, f"run.args[{len(self.arguments)}]"
            arguments = Arguments(field.definition, own, field.nodes[0], self._names)
            self.arguments.append(arguments)
            # What is always there is named, as Python then need not look for what is given.
            named = arguments.always
            given += [f"**{args}"] if named is None else [f"{k}={args}[{k!r}]" for k in named]
        return f"{self._constant('resolve', resolver.wrapped_func)}({', '.join(given)})"

    def _guards(self, own: StrawberryField) -> list[str]:
        lines = []
        for extension in reversed(own.extensions):  # the last one is the outermost
            if not isinstance(extension, Guard):
                raise Unsupported(f"the extension {type(extension).__name__}")
            lines.append(f"{self._constant('expect', extension.rule.expect)}(run.context.caller)")
        return lines

    def _place(self, parent: GraphQLObjectType, field: Selected) -> Place:
        own = field.definition.extensions.get(_BACKREF)
        if not isinstance(own, StrawberryField):
            raise Unsupported(f"{parent.name}.{field.name}")  # introspection
        return Place(parent, field, own, self._constant("site", running.Site(field.nodes)))

    def _add(self, lines: Sequence[str]) -> None:
        self._lines += lines
        self._bytes += sum(map(len, lines))
        if self._bytes > MOST_BYTES:
            raise Unsupported("an operation that unfolds to more than is worth a function")

    def _constant(self, kind: str, value: object) -> str:
        name = self._name(kind)
        self.constants[name] = value
        return name

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"
