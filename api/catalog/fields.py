"""Reading a catalog file key by key: what is wrong is noted with its line, and reading goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from api.catalog.positions import KeyPath
from api.catalog.problems import Problem
from api.catalog.text import LONGEST_NAME, is_clean

Choice = TypeVar("Choice", bound=StrEnum)

_SHOWN = 80
"""The most letters of a text, and bits of a number, that a message repeats."""

_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Notes:
    """The problems found so far, placed by the path of the key that each is about."""

    def __init__(self, file: str, lines: Mapping[KeyPath, int]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._lines = lines

    def add(self, path: KeyPath, message: str) -> None:
        """Note a problem with the key at ``path``."""
        self.problems.append(Problem(self._file, self.line(path), message))

    def line(self, path: KeyPath) -> int:
        """Return the line of ``path``, or of the nearest table around it that is written out."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


class Table:
    """One table of the file, at ``path``.

    Its methods return what a key holds, or the default where the key is absent or wrong; in the
    second case the problem has been noted. ``close`` notes the keys that nobody asked for.
    """

    def __init__(self, values: Mapping[str, object], path: KeyPath, notes: Notes) -> None:
        self.path = path
        self.notes = notes
        self._values = values
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def note(self, key: str, message: str) -> None:
        """Note a problem with what ``key`` holds."""
        self.notes.add((*self.path, key), message)

    def raw(self, key: str) -> object:
        """Return whatever ``key`` holds, None if it is absent."""
        self._known.append(key)
        return self._values.get(key)

    def names(self) -> list[str]:
        """Return the keys as written, in the order of the file, and take them all as known."""
        self._known.extend(self._values)
        return list(self._values)

    def text(self, key: str, *, default: str | None = None) -> str:
        """Read a text that is not blank; without ``default`` it must be there."""
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if self._missing(key, value):
            return ""
        if not isinstance(value, str) or not value.strip():
            self.note(key, f"{key} must be a text, not {shown(value)}")
        elif len(value) > LONGEST_NAME or not is_clean(value):
            self.note(key, f"{key} must be one line of at most {LONGEST_NAME} characters")
        else:
            return value
        return default or ""

    def whole(self, key: str, low: int, high: int) -> int | None:
        """Read a whole number from ``low`` to ``high``; None where the key is absent."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.note(key, f"{key} must be a whole number from {low} to {high}, not {shown(value)}")
            return None
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.note(key, f"{key} must be true or false, not {shown(value)}")
            return default
        return value

    def choice(self, key: str, choices: type[Choice]) -> Choice | None:
        """Read one of the words of ``choices``; None where the key is absent."""
        value = self.raw(key)
        if value is None:
            return None
        words = [choice.value for choice in choices]
        if value not in words:
            self.note(
                key, f"{key} must be {one_of(words)}, not {shown(value)}" + hint(value, words)
            )
            return None
        return choices(str(value))

    def references(self, key: str, known: Collection[str], what: str) -> frozenset[str]:
        """Read a list of keys that must all be among ``known``."""
        value = self.raw(key)
        if value is None:
            return frozenset()
        if not isinstance(value, list):
            self.note(key, f"{key} must be a list, not {shown(value)}")
            return frozenset()
        found = []
        for index, item in enumerate(value):
            place = (*self.path, key, index)
            if not isinstance(item, str) or item not in known:
                self.notes.add(place, f"unknown {what} {shown(item)}{hint(item, known)}")
            elif item in found:
                self.notes.add(place, f"{what} {shown(item)} is named twice")
            else:
                found.append(item)
        return frozenset(found)

    def reference(self, key: str, known: Collection[str], what: str) -> str | None:
        """Read one key that must be among ``known``; None where it is absent or not."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, str) or value not in known:
            self.note(key, f"unknown {what} {shown(value)}{hint(value, known)}")
            return None
        return value

    def table(self, key: str) -> Table | None:
        """Read a table; None where the key is absent."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.note(key, f"{key} must be a table, not {shown(value)}")
            return None
        return Table(value, (*self.path, key), self.notes)

    def tables(self, key: str, what: str) -> Iterator[tuple[str, Table]]:
        """Read a table of tables, each named by a key of the catalog's own."""
        outer = self.table(key)
        if outer is None:
            return
        for name in outer.names():
            if not _KEY.fullmatch(name):
                outer.note(
                    name,
                    f"{what} key {shown(name)} must be 1 to 64 of a-z, 0-9 and _, a letter first",
                )
            inner = outer.table(name)
            if inner is not None:
                yield name, inner

    def missing(self, key: str) -> None:
        """Note that ``key`` must be there, and is not."""
        self.notes.add(self.path, f"{where(self.path)}{key} is missing")

    def close(self) -> None:
        """Note every key that nobody asked for."""
        for key in self._values:
            if key not in self._known:
                self.note(key, f"unknown key {shown(key)}{hint(key, self._known)}")

    def _missing(self, key: str, value: object) -> bool:
        if value is None:
            self.missing(key)
        return value is None


def name_of(key: str) -> str:
    """Return the name of what the file leaves unnamed: ``tx_post`` is ``Tx post``."""
    return key.replace("_", " ").capitalize()


def where(path: KeyPath) -> str:
    """Name the table at ``path`` before a message about it."""
    return ".".join(str(part) for part in path) + ": " if path else ""


def shown(value: object) -> str:
    """Write a value as a reader of TOML would recognise it, cut where it is long."""
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return "a table"
        case list():
            return "a list"
        case str():
            cut = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
            return json.dumps(cut, ensure_ascii=False)
        case int() if value.bit_length() > _SHOWN:
            # Python refuses to write such a number in decimals.
            return "a number of that size"
        case _:
            return str(value)


def one_of(words: Collection[str]) -> str:
    """Write a choice: ``"a", "b" or "c"``."""
    *first, last = [f'"{word}"' for word in words]
    return f"{', '.join(first)} or {last}" if first else last


def hint(value: object, known: Collection[str]) -> str:
    """Return a suggestion to append to a message, empty where nothing known is close."""
    close = get_close_matches(value.lower(), known, n=1) if isinstance(value, str) else []
    return f'; did you mean "{close[0]}"?' if close else ""
