"""What a decision costs Valkey: its CPU for each call of ``admit.lua``, journal included.

Calls go in pipelined batches over one connection, so that hardly any of it is for sockets; beside
them, in the same rounds, the script that a team writes by hand and scripts that do next to nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from statistics import median

from hiredis import Reader, ReplyError, pack_command

from api.domain import keys
from api.domain.admission import Action
from api.infra.clock import SystemClock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.settings import Settings
from api.metering.counters import ADMIT, Operation, asking, bounds
from api.metering.drainer import CUT
from api.wiring import core
from bench.machine import OTHER_CORE, SERVER_CORE, cpu_ns, pin, tree
from bench.setting import prepare

BATCH, BATCHES, CUSTOMERS = 64, 25, 1_000
ENTRIES = 4_096
FIVE = tuple(f"f{n}" for n in range(5))
CATALOG = """
product = "judge"

[customer_types.business]
default_plan = "free"

[plans.free]
name = "Free"

[plans.free.features]
calls = { day = 1_000_000_000, month = 1_000_000_000 }
none = { day = 0, month = 0 }
"""
EMPTY = "return 1"
GET = "return redis.call('GET', KEYS[1])"
BY_HAND = (Path(__file__).parent / "peers" / "handwritten.lua").read_text()
LARGE = 1_000_000_000

Word = str | bytes | int
Words = tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the calls must say: the number of each feature, and the epoch of each shard."""

    features: Mapping[str, int]
    epochs: Sequence[int]


class Line:
    """One connection on which batches are written whole and their replies read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, batch: bytes, count: int) -> list[object]:
        """Send ``count`` commands and return their replies. Raises: ReplyError."""
        self._writer.write(batch)
        found: list[object] = []
        parser = Reader()
        while len(found) < count:
            parser.feed(await self._reader.read(1 << 18))
            while (reply := parser.gets()) is not False:
                if isinstance(reply, ReplyError):
                    raise reply
                found.append(reply)
        return found

    async def one(self, *words: Word) -> object:
        """Send one command and return its reply."""
        return (await self.ask(pack(*words), 1))[0]


async def run(rounds: int, tell: Callable[[str], None]) -> dict[str, float]:
    """Measure every case in turn, several times, and print medians and ratios."""
    catalog = CATALOG + "".join(f"{f} = {{ day = {LARGE}, month = {LARGE} }}\n" for f in FIVE)
    for feature in ("calls", "none", *FIVE):
        catalog += f'\n[features.{feature}]\nname = "{feature}"\nkind = "metered"\n'
    async with ThrowawayEngines.start(append_only=True) as engines:
        await prepare(engines.database_url, engines.redis_url, CUSTOMERS, catalog)
        clock = SystemClock()
        async with core(Settings(), clock, engines.database_url, engines.redis_url) as built:
            await built.door.command("PING")
            names = ("calls", "none", *FIVE)
            for name in names:
                await built.gate.feature(name)
            known = Known(
                {name: built.gate.feature_id(name) for name in names},
                [built.door.epoch(shard) for shard in range(keys.SHARDS)],
            )
        pid = engines.valkey.child.pid if engines.valkey.child else 0
        pin(tree(pid), OTHER_CORE)
        pin([os.getpid()], SERVER_CORE)
        line = Line(*await asyncio.open_unix_connection(engines.valkey.socket))
        for text in (ADMIT.text, CUT.text, EMPTY, GET, BY_HAND):
            await line.one("SCRIPT", "LOAD", text)
        found = cases(known)
        measured: dict[str, list[float]] = {name: [] for name in found}
        drained: dict[int, list[float]] = {size: [] for size in (64, 256, 1_024)}
        for number in range(rounds + 1):
            for name, words in found.items():
                batches = [b"".join(pack(*words()) for _ in range(BATCH)) for _ in range(BATCHES)]
                before = cpu_ns(pid)
                for batch in batches:
                    await line.ask(batch, BATCH)
                spent = (cpu_ns(pid) - before) / 1e3 / (BATCH * BATCHES)
                await _empty(line)
                if number:  # the first round warms up
                    measured[name].append(spent)
            for size, spans in drained.items():
                spans.append(await _drained(line, pid, known, size, found["consume"]))
            tell(f"round {number} of {rounds}")
        report(measured, drained, tell)
        return {"judge": median(measured["consume"])}


def cases(known: Known) -> dict[str, Callable[[], Words]]:
    """Return what is measured, by name; each call of one makes the words of one command."""
    within = bounds(60_000, 10_000_000)

    def judge(
        action: Action, features: Sequence[str], *, named: bool = False, script: str = ADMIT.sha
    ) -> Callable[[], Words]:
        items = [(known.features[feature], 1) for feature in features]

        def words() -> Words:
            customer = f"c{random.randrange(CUSTOMERS)}"  # noqa: S311 - whom to ask about
            operation = Operation(action, customer, f"~{secrets.token_hex(6)}", items)
            if named:
                operation = operation._replace(
                    fingerprint="c1:1", replay_ms=600_000, record_ms=86_400_000
                )
            place, more, args = asking(operation, time.time_ns() // 1_000_000, within)
            names = (keys.marker(place.shard), *place.names, *more)
            return ("EVALSHA", script, len(names), *names, known.epochs[place.shard], *args)

        return words

    def by_hand() -> Words:
        customer = random.randrange(CUSTOMERS)  # noqa: S311 - whom to ask about
        day, month = f"{{{customer}}}d", f"{{{customer}}}m"
        return ("EVALSHA", _sha(BY_HAND), 2, day, month, 1, LARGE, LARGE)

    empty, calls = _sha(EMPTY), ("calls",)
    return {
        "by hand": by_hand,
        "PING": lambda: ("PING",),
        "empty script": lambda: ("EVALSHA", empty, 0),
        "one GET": lambda: ("EVALSHA", _sha(GET), 1, keys.marker(0)),
        "empty, consume's words": judge(Action.CONSUME, calls, script=empty),
        "consume": judge(Action.CONSUME, calls),
        "consume, named": judge(Action.CONSUME, calls, named=True),
        "denied": judge(Action.CONSUME, ("none",)),
        "check": judge(Action.CHECK, calls),
        "consume, 10 windows": judge(Action.CONSUME, FIVE),
    }


def report(
    measured: Mapping[str, Sequence[float]],
    drained: Mapping[int, Sequence[float]],
    tell: Callable[[str], None],
) -> None:
    """Print one line a case: median and least, and the medians of the ratios in each round."""
    tell(f"{'Valkey CPU, us a call':24}{'median':>8}{'least':>8}{'by hand':>9}{'empty':>7}")
    for name, spans in measured.items():
        hand, empty = (
            median(own / base for own, base in zip(spans, measured[other], strict=True))
            for other in ("by hand", "empty script")
        )
        tell(f"{name:24}{median(spans):8.1f}{min(spans):8.1f}{hand:9.2f}{empty:7.2f}")
    for size, spans in drained.items():
        name = f"reading, cutting {size:,}"
        tell(f"{name:24}{median(spans):8.1f}{min(spans):8.1f} us an entry")


async def _drained(
    line: Line, pid: int, known: Known, size: int, words: Callable[[], Words]
) -> float:
    """Return what Valkey spends on an entry that a drainer reads and cuts, ``size`` at a time."""
    spent = 0
    journals = [keys.journal(shard) for shard in range(keys.SHARDS)]
    for _ in range(ENTRIES // size):
        await line.ask(b"".join(pack(*words()) for _ in range(size)), size)
        before = cpu_ns(pid)
        found = await line.one("XREAD", "COUNT", 250, "STREAMS", *journals, *["0"] * len(journals))
        assert isinstance(found, list)
        cuts = []
        for name, rows in found:
            shard = journals.index(name.decode())
            ms, _, sequence = rows[-1][0].decode().partition("-")
            epoch = known.epochs[shard]
            first = f"{ms}-{int(sequence) + 1}"
            head = ("EVALSHA", CUT.sha, 2, keys.marker(shard), journals[shard])
            cuts.append(pack(*head, epoch, epoch, first))
        await line.ask(b"".join(cuts), len(cuts))
        spent += cpu_ns(pid) - before
    return spent / 1e3 / ENTRIES


async def _empty(line: Line) -> None:
    cuts = [pack("XTRIM", keys.journal(shard), "MAXLEN", 0) for shard in range(keys.SHARDS)]
    await line.ask(b"".join(cuts), len(cuts))


def pack(*words: Word) -> bytes:
    """Return a command in the wire's form."""
    # The stub of hiredis forgets that the tuple may have any length.
    packed: bytes = pack_command(words)  # type: ignore[arg-type]
    return packed


def _sha(text: str) -> str:
    return sha1(text.encode(), usedforsecurity=False).hexdigest()
