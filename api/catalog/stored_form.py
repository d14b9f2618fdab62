"""How a feature of a snapshot lies in the counter store, for ``admit.lua`` to read cheaply.

A feature is MessagePack values side by side: its kind, then for each limit

- the name of its slot;
- as text of MessagePack, copied into answers as they are: window code and units;
- the same: code, status, and 0, 1 shadow or 2 overage;
- start and end of the window at the time of building, in seconds, and 0; or an instant at which one
  begins, 0, and the length of all; or three times 0 of one that never ends;
- all bounds as text of MessagePack, for when that window is over.

``publish.lua`` puts epoch, version, valid until, refresh at and customer id before it. Lists within
lists, the earlier form, took the script eight times as long to read; one that is still stored
begins with a list where an epoch is expected, so it is unknown and published anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from api.domain.snapshot import EncodedFeature, slot_name
from api.infra.packing import pack

ABOUT = 5
"""How many values ``publish.lua`` puts before a feature."""

_LIMIT, _SAID = 7, 3
_WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIGNED = 0xD0
_SMALL_END, _TEXT, _TEXT_END, _LONGER_TEXT, _NEGATIVE = 0x80, 0xA0, 0xC0, 0xD9, 0xE0
"""MessagePack's own: where small numbers end, texts under 32 bytes begin and end, and so on."""


def pack_feature(feature_id: int, feature: EncodedFeature) -> bytes:
    """Return the stored form of ``feature``. Cost: O(limits)."""
    kind, limits = feature
    parts = [pack(kind)]
    for window, units, mark, bounds, code, status in limits:
        fixed = len(bounds) > 0 and bounds[0] == 0
        start, stop, length = (bounds[2], 0, bounds[1]) if fixed else (*(bounds or (0, 0))[:2], 0)
        parts += [
            pack(slot_name(feature_id, window, mark)),
            _text(pack(window) + pack(units)),
            _text(pack(code) + pack(status) + pack(mark)),
            *map(pack, (start, stop, length)),
            _text(b"" if fixed else b"".join(map(pack, bounds))),
        ]
    return b"".join(parts)


def meaning(packed: bytes) -> list[object]:
    """Return what a packed feature says of kind and limits, without their bounds."""
    values = list(values_of(packed))
    return values[:1] + [x for p in range(1, len(values), _LIMIT) for x in values[p : p + _SAID]]


def as_told(stored: bytes) -> bytes:
    """Return a feature as it was told to ``publish.lua``; empty where that is not its form."""
    place = 0
    try:
        for _ in range(ABOUT):
            _, place = _value(stored, place)
    except (IndexError, ValueError):
        return b""
    return stored[place:]


def _text(data: bytes) -> bytes:
    """Return ``data`` as MessagePack's text, which the scripts' library takes for any bytes."""
    if len(data) < _TEXT_END - _TEXT:
        return bytes([_TEXT + len(data)]) + data
    return bytes([_LONGER_TEXT, len(data)]) + data


def values_of(data: bytes) -> Iterator[object]:
    """Yield numbers and texts, as bytes, that lie side by side in ``data``."""
    place = 0
    while place < len(data):
        value, place = _value(data, place)
        yield value


def _value(data: bytes, place: int) -> tuple[object, int]:
    """Read the number or text at ``place``; return it and where it ends."""
    first = data[place]
    place += 1
    if first < _SMALL_END:
        return first, place
    if first >= _NEGATIVE:
        return first - 0x100, place
    if _TEXT <= first < _TEXT_END:
        end = place + first - _TEXT
        return data[place:end], end
    if first == _LONGER_TEXT:
        end = place + 1 + data[place]
        return data[place + 1 : end], end
    if first not in _WIDTHS:
        raise ValueError(f"not a number or text in MessagePack: {first:#x}")
    end = place + _WIDTHS[first]
    return int.from_bytes(data[place:end], signed=first >= _SIGNED), end
