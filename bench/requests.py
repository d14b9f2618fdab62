"""The cost of one request: Headroom's doors beside what others would write, in one run.

Every server runs on one core, each loaded in turn for some seconds, round after round; the loader,
Valkey, PostgreSQL and the worker share the other. Then what limits the rate is taken away: the
worker rests while a server is loaded, and records everything before the next one's turn, as if it
had a core of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from statistics import median

from redis.asyncio import Redis

from api.domain import keys
from api.infra.engines.throwaway import ThrowawayEngines
from bench.machine import OTHER_CORE, SERVER_CORE, Round, load, pin
from bench.rivals import BASE, GRAPHQL, NAMES, V1, Field, Rival, Unexpected, field

ALONE = (BASE, V1, GRAPHQL, "mercurius")
"""Whose rate and latency are also measured while the worker rests."""
RECORDED_SECONDS = 120

Measured = Mapping[str, Sequence[Round]]


def chosen(only: str | None, *, mercurius: bool = False) -> AbstractSet[str]:
    """Return what to measure: all, or what ``only`` names, B always. Raises: ValueError."""
    if only is None:
        return set(NAMES) - (set() if mercurius else {"mercurius"})
    names = {name.strip() for name in only.split(",")}
    unknown = names - set(NAMES)
    if unknown:
        raise ValueError(f"there is no {', '.join(sorted(unknown))}; there is {', '.join(NAMES)}")
    return names | {BASE}


async def run(
    rounds: int, seconds: int, tell: Callable[[str], None], wanted: AbstractSet[str]
) -> dict[str, float]:
    """Load every server in turn, several times; print medians and ratios, and return figures."""
    async with ThrowawayEngines.start(append_only=True) as engines:
        pin([os.getpid()], OTHER_CORE)
        async with (
            field(engines, wanted, tell) as compared,
            Redis.from_url(engines.redis_url) as redis,
        ):
            ordered = sorted(compared.rivals, key=lambda rival: list(NAMES).index(rival.name))
            for rival in ordered:
                await rival.probe()
            settle = partial(recorded, redis)
            tell(f"everything on, {rounds} rounds of {seconds} s each; the first is not counted")
            beside = await rounds_of(ordered, rounds, seconds, compared, settle, tell)
            report(beside, tell)
            alone = [rival for rival in ordered if rival.name in ALONE]
            tell("\nthe same while the worker rests; it records everything after each turn")
            resting = partial(rounds_of, rest=True)
            apart = await resting(alone, rounds, seconds, compared, settle, tell)
            report(apart, tell)
            for rival in ordered:
                await rival.probe()
    return figures(beside, apart)


async def rounds_of(
    rivals: Sequence[Rival],
    rounds: int,
    seconds: int,
    compared: Field,
    settle: Callable[[], Awaitable[None]],
    tell: Callable[[str], None],
    *,
    rest: bool = False,
) -> Measured:
    """Load each of ``rivals`` once a round; ``rest``: while the worker does nothing.

    Raises: Unexpected, where an answer failed.
    """
    measured: dict[str, list[Round]] = {rival.name: [] for rival in rivals}
    worker = compared.beside["worker"]

    async def woken() -> None:
        os.kill(worker, signal.SIGCONT)
        await settle()

    for number in range(rounds + 1):
        for rival in rivals:
            if rest:
                os.kill(worker, signal.SIGSTOP)
            try:
                one = await load(
                    rival.ask,
                    seconds=seconds,
                    server_pid=rival.pid,
                    beside=compared.beside,
                    settle=woken if rest else settle,
                )
            finally:
                os.kill(worker, signal.SIGCONT)
            if one.errors - one.refused or one.refused != (one.answers if rival.refused else 0):
                raise Unexpected(
                    f"{NAMES[rival.name]}: of {one.answers} answers {one.refused} were refusals,"
                    f" {one.errors - one.refused} failed"
                )
            if number:  # the first round warms up
                measured[rival.name].append(one)
        tell(f"round {number} of {rounds}")
    return measured


async def recorded(redis: Redis) -> None:
    """Wait until every journal is in the record."""
    async with asyncio.timeout(RECORDED_SECONDS):
        while True:
            async with redis.pipeline(transaction=False) as pipe:
                for shard in range(keys.SHARDS):
                    pipe.xlen(keys.journal(shard))
                if not any(await pipe.execute()):
                    return
            await asyncio.sleep(0.05)


def ratio(one: Sequence[Round], other: Sequence[Round], of: Callable[[Round], float]) -> float:
    """Return the median over the rounds of the ratio of two figures of one round.

    So what slows a whole round down, as other work on the machine does, counts for neither.
    """
    return median(of(a) / of(b) for a, b in zip(one, other, strict=True))


def cpu(one: Round) -> float:
    """CPU of the server for one decision."""
    return one.cpu_us


def figures(beside: Measured, apart: Measured) -> dict[str, float]:
    """Return what the goals are about, by their names."""
    pairs = {
        "graphql": (GRAPHQL, BASE),
        "v1": (V1, BASE),
        "of mercurius": (GRAPHQL, "mercurius"),
        "of cached": (GRAPHQL, "stock-cached"),
        "item": ("batch", BASE),
        "front end": ("front-end", "front-end-core"),
        "denied graphql": ("denied", GRAPHQL),
        "denied v1": ("denied-v1", V1),
        "named graphql": ("named", GRAPHQL),
        "named v1": ("named-v1", V1),
    }
    found = {
        name: ratio(beside[one], beside[other], cpu)
        for name, (one, other) in pairs.items()
        if one in beside and other in beside
    }
    if GRAPHQL in apart:
        found["rate"] = ratio(apart[GRAPHQL], apart[BASE], lambda r: r.rate)
        found["p99"] = ratio(apart[GRAPHQL], apart[BASE], lambda r: r.p99)
    return found


def report(measured: Measured, tell: Callable[[str], None]) -> None:
    """Print one line a server: medians over the rounds, and the ratio to B.

    CPU is in microseconds a decision. Shares are of the time: of the server, which has its core to
    itself when its share is that of the core; of the loader; and of both cores, whoever used them.
    """
    base = measured[BASE]
    beside = list(base[0].beside)
    tell(
        f"{'':23}{'CPU us':>8}{'of B':>7}{'per s':>9}{'of B':>7}{'1/CPU':>8}{'p50 ms':>8}"
        f"{'p99 ms':>8}{'of B':>7}"
        + "".join(f"{name:>12}" for name in beside)
        + f"{'server':>8}{'loader':>8}{'cores busy':>13}"
    )
    for name, rounds in measured.items():
        own = median(r.cpu_us for r in rounds)
        line = (
            f"{NAMES[name]:23}{own:8.1f}{ratio(rounds, base, cpu):7.2f}"
            f"{median(r.rate for r in rounds):9.0f}{ratio(rounds, base, lambda r: r.rate):7.2f}"
            f"{1e6 / own:8.0f}"
            f"{median(r.p50 for r in rounds) / 1e3:8.2f}{median(r.p99 for r in rounds) / 1e3:8.2f}"
            f"{ratio(rounds, base, lambda r: r.p99):7.2f}"
        )
        for other in beside:
            line += f"{median(r.beside_us(other) for r in rounds):12.1f}"
        server = median(r.cpu / r.seconds for r in rounds)
        loader = median(r.loader_cpu / r.seconds for r in rounds)
        busy = [median(r.busy[core] for r in rounds) for core in (SERVER_CORE, OTHER_CORE)]
        tell(f"{line}{server:8.0%}{loader:8.0%}{busy[0]:7.0%}{busy[1]:6.0%}")
