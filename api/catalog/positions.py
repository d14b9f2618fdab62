"""Where in a TOML text each key stands, which ``tomllib`` does not tell.

The text must be valid TOML: ``tomllib`` judges that first. So the scanner here decides nothing; it
only needs to know where keys, strings, arrays and inline tables end.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]
"""The keys from the document's root to a value; array elements by their index."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Return the line of every key, table and array element of valid TOML.

    A table has the line of its header, or of the first key that implies it.
    Cost: O(length of the text).
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._newlines = [i for i, letter in enumerate(text) if letter == "\n"]
        self._lines: dict[KeyPath, int] = {}
        # The index of the newest element of each array of tables.
        self._newest: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()
        return self._lines

    def _header(self) -> KeyPath:
        line = self._line()
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        path: KeyPath = ()
        keys = self._keys()
        self._at += 2 if array else 1
        for key in keys[:-1]:
            path = self._current((*path, key))
            self._lines.setdefault(path, line)
        path = (*path, keys[-1])
        if array:
            self._lines.setdefault(path, line)
            self._newest[path] = self._newest.get(path, -1) + 1
            path = (*path, self._newest[path])
        # An explicit header speaks louder than a key that only implied the table.
        self._lines[path] = line
        return path

    def _current(self, path: KeyPath) -> KeyPath:
        """Return the newest element where ``path`` is an array of tables, else ``path``."""
        return (*path, self._newest[path]) if path in self._newest else path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1
        self._skip_blank()
        self._value(path)

    def _keys(self) -> list[str]:
        """Read a dotted key, and the blanks after it."""
        keys = []
        while True:
            self._skip_blank()
            quoted = _STRING.match(self._text, self._at)
            if quoted is not None:
                self._at = quoted.end()
                keys.append(str(tomllib.loads(f"key = {quoted[0]}")["key"]))
            else:
                bare = _BARE_KEY.match(self._text, self._at)
                if bare is None:
                    raise AssertionError(f"no key at offset {self._at} of valid TOML")
                self._at = bare.end()
                keys.append(bare[0])
            self._skip_blank()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        match self._text[self._at]:
            case "[":
                self._elements(path)
            case "{":
                self._inline_table(path)
            case _:
                end = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
                if end is None:
                    raise AssertionError(f"no value at offset {self._at} of valid TOML")
                self._at = end.end()

    def _elements(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while not self._closes("]"):
            self._lines[*path, index] = self._line()
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while not self._closes("}"):
            self._pair(path)

    def _closes(self, bracket: str) -> bool:
        """Step over a comma, and over ``bracket`` if that comes next."""
        self._skip_blank()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip_blank()
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _skip_blank(self) -> None:
        blank = _BLANK.match(self._text, self._at)
        if blank is not None:
            self._at = blank.end()

    def _line(self) -> int:
        return bisect_right(self._newlines, self._at - 1) + 1
