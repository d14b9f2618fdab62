"""What Headroom says about itself: JSON lines on stderr, correlation ids, metrics.

A correlation id names everything done for one request, job or command; it is a context variable,
so tasks started on the way inherit it. Metrics live in one registry, without a label that a
customer or a caller chooses: the number of series stays bounded.
"""

import itertools
import json
import logging
import os
import re
import sys
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"

BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_OURS = re.compile(r"[A-Za-z0-9._:\-]{1,64}")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

_correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
_registry = CollectorRegistry()
_process = uuid.uuid4().hex[:16]
_requests = itertools.count(1)


def correlation_id() -> str | None:
    """Return the id of what is being done here and now, if it has one."""
    return _correlation_id.get()


@contextmanager
def correlated(given: str | None = None) -> Generator[str]:
    """Give the block an id: the caller's, where it is short and plain, or a new one."""
    chosen = given if given and _OURS.fullmatch(given) else uuid.uuid4().hex
    token = _correlation_id.set(chosen)
    try:
        yield chosen
    finally:
        _correlation_id.reset(token)


def correlate(given: str | None = None) -> str:
    """Give an id to all that the present task does from here on; cheaper than ``correlated``.

    A new id is unique by this process's random part and a running number.
    """
    chosen = given if given and _OURS.fullmatch(given) else f"{_process}{next(_requests):08x}"
    _correlation_id.set(chosen)
    return chosen


class JsonLines(logging.Formatter):
    """One JSON object for each record, with whatever ``extra`` it was given."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := _correlation_id.get()) is not None:
            line["correlation_id"] = current
        line |= {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        # Not orjson: a line must come out whatever it was given, also integers beyond 64 bits.
        return json.dumps(line, default=str, skipkeys=True)


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everything that is logged, at ``level`` or above, to stderr as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Two lines for each request, at the level of our own decisions: kept for who asks for all.
    logging.getLogger("stripe").setLevel(level if level == "DEBUG" else "WARNING")


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """Register a figure that only grows."""
    return Counter(name, documentation, labels, namespace="headroom", registry=_registry)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """Register a figure that goes up and down; of several processes the newest speaks."""
    return Gauge(
        name,
        documentation,
        labels,
        namespace="headroom",
        registry=_registry,
        multiprocess_mode="mostrecent",
    )


def histogram(
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    *,
    buckets: Sequence[float] = BUCKETS_SECONDS,
) -> Histogram:
    """Register a distribution; of seconds, unless ``buckets`` says otherwise."""
    return Histogram(
        name, documentation, labels, namespace="headroom", registry=_registry, buckets=buckets
    )


def observe_many(metric: Histogram, counts: Sequence[int], total: float) -> None:
    """Add many observations at once: how many fell into each bucket (the last: above all bounds).

    The library has no such call; these are the very steps of its ``observe``.
    """
    for bucket, count in zip(metric._buckets, counts, strict=True):  # noqa: SLF001 - as said
        if count:
            bucket.inc(count)
    metric._sum.inc(total)  # noqa: SLF001 - as said


def exposition() -> bytes:
    """Return every metric in Prometheus' text format, as ``CONTENT_TYPE``.

    Where ``PROMETHEUS_MULTIPROC_DIR`` was set before the first import, of all processes together.
    """
    if SHARED_METRICS not in os.environ:
        return generate_latest(_registry)
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call] # registers itself
    return generate_latest(shared)
