"""MessagePack, the form in which values travel to and from the counter store's scripts."""

from __future__ import annotations

from typing import Any

import msgspec

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


def pack(value: object) -> bytes:
    """Return ``value`` (numbers, text, bytes, lists, mappings) as MessagePack."""
    return _encoder.encode(value)


def unpack(data: bytes) -> Any:  # noqa: ANN401 - what a script answers with is known to its caller
    """Return the value that ``data`` holds."""
    return _decoder.decode(data)
