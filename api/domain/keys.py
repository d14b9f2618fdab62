"""Where one customer's state lies in the counter store.

A customer belongs to one of a fixed number of shards; everything of a shard carries one hash tag,
so that one script may touch a customer's keys and its shard's journal in any cluster.
"""

from __future__ import annotations

from zlib import crc32

SHARDS = 256


def shard_of(customer_key: str) -> int:
    """Return the shard, 0 to 255, of the customer with this key; it never changes."""
    return crc32(customer_key.encode()) & (SHARDS - 1)


def marker(shard: int) -> str:
    """Return the key of the shard's epoch marker."""
    return f"{{{shard}}}e"


def journal(shard: int) -> str:
    """Return the key of the shard's journal, a stream."""
    return f"{{{shard}}}j"


def snapshot(shard: int, customer_key: str) -> str:
    """Return the key of the customer's entitlement snapshot, a hash."""
    return f"{{{shard}}}s:{customer_key}"


def counters(shard: int, customer_key: str) -> str:
    """Return the key of the customer's counters, a hash."""
    return f"{{{shard}}}c:{customer_key}"


def answer(shard: int, customer_key: str, operation_key: str) -> str:
    """Return the key of the answer that was given to a named operation."""
    return f"{{{shard}}}i:{customer_key}:{operation_key}"
