"""What reading and writing a request's JSON costs, by itself and after much else ran.

A request is read once in a hundred microseconds, between much other code. What a library takes in
a loop of its own says little of that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import quantiles
from time import process_time_ns

import msgspec
import orjson

from bench.rivals import CONSUME

CALLS = 300
ROUNDS = 25
_ELSE = 600
"""Turns of other work between two calls: some 40 microseconds."""

_ASKED = json.dumps(
    {"query": CONSUME, "variables": {"i": {"customer": "c123", "feature": "calls", "units": 1}}}
).encode()
_WINDOW = {"window": "DAY", "limit": 100, "used": 4, "remaining": 96, "resetsAt": "2026-11-22"}
_ANSWER = {"data": {"consume": {"id": "x" * 40, "replayed": False, "windows": [_WINDOW, _WINDOW]}}}


async def run(tell: Callable[[str], None]) -> None:
    """Measure each beside the others, round after round, and print the lower quartiles."""
    read = msgspec.json.Decoder().decode
    write = msgspec.json.Encoder().encode
    calls: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "orjson.loads": lambda: orjson.loads(_ASKED),
        "msgspec decode": lambda: read(_ASKED),
        "json.loads": lambda: json.loads(_ASKED),
        "orjson.dumps": lambda: orjson.dumps(_ANSWER),
        "msgspec encode": lambda: write(_ANSWER),
    }
    took: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for turns in (0, _ELSE):
            for name, call in calls.items():
                took.setdefault((name, turns), []).append(_took(call, turns))
    least = {key: quantiles(each, n=4)[0] for key, each in took.items()}
    tell(f"{len(_ASKED)} bytes read; µs of CPU, in a loop and with other work between two calls")
    for name in list(calls)[1:]:
        hot, cold = (least[name, t] - least["nothing", t] for t in (0, _ELSE))
        tell(f"{name:16} {hot:6.2f} {cold:6.2f}")


def _took(call: Callable[[], object], turns: int) -> float:
    began = process_time_ns()
    for _ in range(CALLS):
        call()
        _other_work(turns)
    return (process_time_ns() - began) / CALLS / 1000


def _other_work(turns: int) -> int:
    total = 0
    for number in range(turns):
        total += number * number % 7
    return total
