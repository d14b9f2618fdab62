"""The whole schema with a script behind every field.

Types of Strawberry are global, so what stands behind their fields is taken away for a while, and
put back. The schema is one that ``build_schema`` built meanwhile: types, arguments, scalars and
rules of access are Headroom's own; only what resolvers do is scripted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from random import Random
from typing import Any, cast
from zlib import crc32

import pytest
import strawberry
from graphql import GraphQLObjectType, GraphQLOutputType
from strawberry.dataloader import DataLoader
from strawberry.types.field import StrawberryField
from strawberry.types.fields.resolver import StrawberryResolver

from api.schema.build import build_schema
from api.schema.context import Context
from tests.schema.roads.scripted_values import CALM, Made, ScriptedValues, Temper, error


class Play:
    """One case on one road: what its resolvers give, and what was asked of them."""

    def __init__(self, values: ScriptedValues, seed: int, temper: Temper = CALM) -> None:
        self._values = values
        self._seed = seed
        self._temper = temper
        self._loaders: dict[str, DataLoader[int, Any]] = {}
        self._occurrences: Counter[str] = Counter()
        self.calls: list[str] = []
        """Every resolver that was called, in order, with what it was called on and with."""
        self.batches: list[str] = []
        """Every batch of a loader, in order."""

    def attribute(self, made: Made, name: str, type_: GraphQLOutputType) -> Any:  # noqa: ANN401
        """Return what an object has under a name, or raise where a property would."""
        place = f"{made.place}.{name}"
        rng = self._rng(place)
        if rng.random() < self._temper.raised * 0.1:
            raise error(rng)
        return self._values.value(rng, type_, place, self._temper)

    def begin(self, source: object, field: str, arguments: str) -> tuple[str, Random]:
        """Note a call; return its place and what decides about it."""
        made = getattr(source, "__dict__", {}).get("scripted")
        own = made.place if isinstance(made, Made) else type(source).__name__
        place = f"{own}.{field}({arguments})"
        self.calls.append(place)
        if field.startswith("Mutation."):
            # Actions have an order; of other fields none is promised within one instant.
            self._occurrences[place] += 1
            place = f"{place}#{self._occurrences[place]}"
        return place, self._rng(place)

    def end(self, place: str, rng: Random, type_: GraphQLOutputType) -> Any:  # noqa: ANN401
        """Return what a resolver gives, or raise."""
        if rng.random() < self._temper.raised:
            # No name is kept of what is raised: its traceback would tie it to this frame.
            if rng.random() < self._temper.returned:
                return error(rng)
            raise error(rng)
        return self._values.value(rng, type_, place, self._temper)

    async def wait(self, rng: Random) -> None:
        """Wait as long as this resolver does: mostly not, else a turn or until some instant."""
        roll = rng.random()
        if roll < self._temper.slow * 0.2:
            await asyncio.sleep(0)
        elif roll < self._temper.slow:
            await asyncio.sleep(rng.randrange(1, 1 << 20) / (1 << 14))

    async def loaded(self, field: str, rng: Random, type_: GraphQLOutputType) -> Any:  # noqa: ANN401
        """Return what the loader of this field gives for one of few keys."""
        loader = self._loaders.get(field)
        if loader is None:
            loader = self._loaders[field] = self._loader(field, type_)
        return await loader.load(rng.randrange(5))

    def loads(self, rng: Random) -> bool:
        """Whether a resolver asks a loader."""
        return rng.random() < self._temper.loaded

    def _loader(self, field: str, type_: GraphQLOutputType) -> DataLoader[int, Any]:
        async def load(keys: list[int]) -> list[Any]:
            self.batches.append(f"{field}{keys}")
            rng = self._rng(f"{field}{sorted(keys)}")
            await self.wait(rng)
            if rng.random() < self._temper.raised * 0.2:
                raise error(rng)
            return [self._one(f"{field}<{key}>", type_) for key in keys]

        return DataLoader(load)

    def _one(self, place: str, type_: GraphQLOutputType) -> Any:  # noqa: ANN401
        rng = self._rng(place)
        try:
            return self.end(place, rng, type_)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the loader hands it on
            return failure

    def _rng(self, place: str) -> Random:
        return Random(crc32(place.encode(), self._seed))  # noqa: S311 - chances, no secrets


class Stage:
    """Where the play of the moment is found by every resolver; there is one at a time."""

    def __init__(self) -> None:
        self.schema: strawberry.Schema
        self.values: ScriptedValues
        self.play: Play
        self.context: Context | None
        """The one that resolvers must be handed; None where whoever serves them makes it."""
        self.attributes: dict[tuple[str, str], GraphQLOutputType] = {}
        """What the schema says of attributes, by type and the name that Python has for them."""

    def open(self, seed: int, temper: Temper, context: Context | None) -> Play:
        """Begin a new play, of one request."""
        self.play = Play(self.values, seed, temper)
        self.context = context
        return self.play


@contextmanager
def scripted_schema(*, sync_share: float = 0.0) -> Iterator[Stage]:
    """Put a script behind every field; of the async ones this share is made sync.

    Cost: some 0.2 s.
    """
    plain = build_schema()
    stage = Stage()
    with pytest.MonkeyPatch.context() as patch:
        fields: list[StrawberryField] = []
        classes: set[type] = set()
        for type_ in plain._schema.type_map.values():  # noqa: SLF001 - it has no public name
            definition = type_.extensions.get("strawberry-definition")
            if not isinstance(type_, GraphQLObjectType) or definition is None:
                continue
            classes.add(definition.origin)
            names = plain.config.name_converter
            for field in definition.fields:
                shown = type_.fields.get(names.get_graphql_name(field))
                if shown is None:
                    continue  # private
                found = shown.type
                if field.base_resolver is None:
                    stage.attributes[type_.name, field.python_name] = found
                else:
                    label = f"{type_.name}.{field.python_name}"
                    # The actions are async for good: their order is that of their ends.
                    flipped = crc32(label.encode()) % 1000 < sync_share * 1000
                    sync = not field.is_async or (flipped and type_.name != "Mutation")
                    resolver = _scripted(stage, label, field.base_resolver, found, sync=sync)
                    patch.setattr(field, "_base_resolver", StrawberryResolver(resolver))
                    fields.append(field)
        for class_ in classes:
            patch.setattr(class_, "__getattr__", _attributes(stage), raising=False)
            patch.setattr(class_, "__repr__", _named)
        _forget(fields)
        stage.schema = build_schema()
        stage.values = ScriptedValues(stage.schema._schema)  # noqa: SLF001 - likewise
        yield stage
    _forget(fields)


def _forget(fields: list[StrawberryField]) -> None:
    """Have each field look again whether what stands behind it is async."""
    for field in fields:
        vars(field).pop("is_async", None)


def _scripted(
    stage: Stage,
    label: str,
    original: StrawberryResolver[Any],
    type_: GraphQLOutputType,
    *,
    sync: bool,
) -> Callable[..., Any]:
    own = cast("Callable[..., Any]", original.wrapped_func)
    signature = original.signature

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Random]:
        if len(args) > 1:
            kwargs = dict(signature.bind(*args, **kwargs).arguments)
            kwargs.pop("self", None)
        info = kwargs.pop("info", None)
        wrong = stage.context is not None and info is not None and info.context is not stage.context
        if wrong:
            raise AssertionError("a resolver was handed another request's context")
        arguments = ", ".join(f"{name}={kwargs[name]!r}" for name in sorted(kwargs))
        return stage.play.begin(args[0] if args else None, label, arguments)

    @wraps(own)
    def sync_resolver(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return stage.play.end(*begin(args, kwargs), type_)

    @wraps(own)
    async def async_resolver(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        play = stage.play
        place, rng = begin(args, kwargs)
        if play.loads(rng):
            return await play.loaded(label, rng, type_)
        await play.wait(rng)
        return play.end(place, rng, type_)

    return sync_resolver if sync else async_resolver


def _named(self: Any) -> str:  # noqa: ANN401
    """Tell an object by its place; to tell it by its attributes would make them all."""
    return f"<{type(self).__name__} {self.__dict__['scripted'].place}>"


def _attributes(stage: Stage) -> Callable[[Any, str], Any]:
    def attribute(self: Any, name: str) -> Any:  # noqa: ANN401
        made = self.__dict__.get("scripted")
        type_ = None if made is None else stage.attributes.get((made.type_.name, name))
        if type_ is None:
            raise AttributeError(name)
        return stage.play.attribute(made, name, type_)

    return attribute
