"""How a script's call goes over the wire: an array of words, each after its size.

hiredis forms any command, word by word. Of a decision's ten words all but three or four are the
same as of other calls, so they are formed once: that halves what a call costs to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from hiredis import pack_command

from api.domain import keys
from api.infra.lua import Script

Arg = str | bytes | int

MOST_CONSTANT = 32
"""Bytes of an argument that is taken for one that comes again and again."""
_END = b"\r\n"
_ASKED_AND_BOUNDS = 2
_FIXED = 4
"""Words of every call: EVALSHA, the script, how many keys there are, and the epoch."""


class Place(NamedTuple):
    """Keys of one shard, after its marker; whoever asks there again and again may keep it."""

    shard: int
    names: tuple[str, ...]
    form: bytes

    @classmethod
    def of(cls, shard: int, names: Sequence[str]) -> Place:
        """Form the keys."""
        words = (keys.marker(shard), *names)
        return cls(shard, tuple(names), b"".join([_word(word) for word in words]))


def by_digest(
    script: Script, place: Place, names: Sequence[Arg], epoch: int, args: Sequence[Arg]
) -> bytes:
    """Return the call of a script that the server is thought to know; ``names`` are further keys.

    Raises: TypeError or ValueError, of what is no word.
    """
    if not names and len(args) == _ASKED_AND_BOUNDS:  # the usual decision
        asked, bounds = args
        if type(asked) is bytes and type(bounds) is bytes and len(bounds) < MOST_CONSTANT:
            return b"%b%b%b\r\n$%d\r\n%b%b\r\n" % (
                _head(script.sha, len(place.names) + 1, _ASKED_AND_BOUNDS),
                place.form,
                _number(epoch),
                len(asked),
                asked,
                _constant(bounds),
            )
    head = _head(script.sha, len(place.names) + len(names) + 1, len(args))
    words = [*map(_word, names), _number(epoch), *map(_word, args)]
    return b"".join([head, place.form, *words, _END])


def by_text(
    script: Script, place: Place, names: Sequence[Arg], epoch: int, args: Sequence[Arg]
) -> bytes:
    """Return the same call, with the script itself."""
    named = (keys.marker(place.shard), *place.names, *names)
    words = ("EVAL", script.text, len(named), *named, epoch, *args)
    return command(words)


def command(words: Sequence[Arg]) -> bytes:
    """Return any command. Raises: TypeError or ValueError, of what is no word."""
    # The stub of hiredis forgets that the tuple may have any length, and what is returned.
    packed: bytes = pack_command(words)  # type: ignore[arg-type]
    return packed


def _word(arg: Arg) -> bytes:
    if not isinstance(arg, str | bytes | int):
        raise TypeError(f"{type(arg).__name__} is no word of a command")
    word = arg if isinstance(arg, bytes) else str(arg).encode()
    return b"\r\n$%d\r\n%b" % (len(word), word)


@lru_cache(maxsize=16)
def _constant(arg: bytes) -> bytes:
    return _word(arg)


@lru_cache(maxsize=1024)
def _number(epoch: int) -> bytes:
    return _word(epoch)


@lru_cache(maxsize=256)
def _head(sha: str, names: int, args: int) -> bytes:
    return b"*%d%b" % (
        _FIXED + names + args,
        b"".join([_word(word) for word in ("EVALSHA", sha, names)]),
    )
