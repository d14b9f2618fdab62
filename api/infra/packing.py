"""MessagePack, the form in which values travel to and from the counter store's scripts."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()
_SHORT = 16
"""A list of so many values has a head of three bytes, a shorter one of a single byte."""


def pack(value: object) -> bytes:
    """Return ``value`` (numbers, text, bytes, lists, mappings) as MessagePack."""
    return _encoder.encode(value)


def unpack(data: bytes) -> Any:  # noqa: ANN401 - what a script answers with is known to its caller
    """Return the value that ``data`` holds."""
    return _decoder.decode(data)


def pack_side_by_side(values: list[Any]) -> bytes:
    """Return ``values``, at most 65,535, as MessagePack one after the other."""
    packed = _encoder.encode(values)
    return packed[1:] if len(values) < _SHORT else packed[3:]


def side_by_side(data: bytes) -> list[Any]:
    """Return the values that a script packed one after the other, at most 15.

    Raises: ValueError, where they are more, or none.
    """
    for count in range(1, 16):
        # Read as the array that they would be; of another length it does not end where they do.
        with suppress(msgspec.DecodeError):
            found: list[Any] = _decoder.decode(bytes([0x90 + count]) + data)
            return found
    raise ValueError("not values in MessagePack, side by side")
