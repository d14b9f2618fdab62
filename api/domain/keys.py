"""Where one customer's state lies in the counter store.

A customer belongs to one of a fixed number of shards; everything of a shard carries one hash tag,
so that one script may touch a customer's keys and its shard's journal in any cluster.
"""

from __future__ import annotations

from zlib import crc32

SHARDS = 256

_TAGS = tuple(f"{{{shard}}}" for shard in range(SHARDS))
_MARKERS = tuple(f"{tag}e" for tag in _TAGS)
_JOURNALS = tuple(f"{tag}j" for tag in _TAGS)


def shard_of(customer_key: str) -> int:
    """Return the shard, 0 to 255, of the customer with this key; it never changes."""
    return crc32(customer_key.encode()) & (SHARDS - 1)


def shard_of_key(key: object) -> int | None:
    """Return the shard whose hash tag this key carries, None where it carries none."""
    if isinstance(key, str) and key.startswith("{"):
        return int(key[1 : key.index("}")])
    return None


def marker(shard: int) -> str:
    """Return the key of the shard's epoch marker."""
    return _MARKERS[shard]


def journal(shard: int) -> str:
    """Return the key of the shard's journal, a stream."""
    return _JOURNALS[shard]


def snapshot(shard: int, customer_key: str) -> str:
    """Return the key of the customer's entitlement snapshot, a hash."""
    return f"{_TAGS[shard]}s:{customer_key}"


def counters(shard: int, customer_key: str) -> str:
    """Return the key of the customer's counters, a hash."""
    return f"{_TAGS[shard]}c:{customer_key}"


def answer(shard: int, customer_key: str, operation_key: str) -> str:
    """Return the key of the answer that was given to a named operation.

    Both names may hold any character, so the first one's length stands before it: no two pairs
    share a key.
    """
    return f"{_TAGS[shard]}i:{len(customer_key)}:{customer_key}:{operation_key}"
