"""The servers that are compared, and what each is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import httpx

from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.telemetry import SHARED_METRICS
from bench.machine import HEADROOM, OTHER_CORE, Ask, free_port, pin, server, tree
from bench.peers.general import LISTENS
from bench.setting import CUSTOMERS, FEATURE, FEATURES, SCARCE, prepare, shop

BATCH = 100
PEERS = {
    "B": "handwritten",
    "stock": "stock_strawberry",
    "stock-cached": "stock_strawberry_cached",
}
MERCURIUS = Path(__file__).parent / "peers" / "mercurius"

BASE = "B"
V1, GRAPHQL = "v1", "graphql"
NAMES = {
    BASE: "B, by hand",
    V1: "/v1/consume",
    GRAPHQL: "GraphQL consume",
    "denied-v1": "/v1, denied",
    "denied": "GraphQL, denied",
    "named-v1": "/v1, idempotent",
    "named": "GraphQL, idempotent",
    "batch": "an item of 100",
    "batch-one": "... of 1 customer",
    "front-end": "a front end's query",
    "front-end-core": "... by graphql-core",
    "graphql-core": "consume, graphql-core",
    "stock": "stock Strawberry",
    "stock-cached": "... with both caches",
    "mercurius": "Mercurius, jit",
}
"""What can be measured: the name to choose it by, and that of its line."""

_CONSUMED = "id units replayed windows { window limit used remaining resetsAt }"
CONSUME = f"mutation C($i: ConsumeInput!) {{ consume(input: $i) {{ {_CONSUMED} }} }}"
EACH = (
    "mutation E($i: [ConsumeInput!]!) { consumeEach(inputs: $i)"
    f" {{ consumption {{ {_CONSUMED} }} denial {{ code status message }} }} }}"
)
FRONT_END = (
    "query F($c: String!) { customer(key: $c) { id key name plan { key name } entitlements {"
    " feature { key name kind unit } granted value"
    " windows { window limit used held remaining startsAt resetsAt } } } }"
)
STOCK = (
    "mutation C($c: String!, $f: String!, $u: Int!) { consume(customer: $c, feature: $f, units: $u)"
    " { allowed windows { window used limit } } }"
)


class Unexpected(RuntimeError):
    """A server did not answer as it must, so its cost means nothing."""


@dataclass(frozen=True, slots=True)
class Rival:
    """One server and what it is asked.

    ``says`` stands in the answer once for each item, or ``said`` times; ``refused``: its status is
    400 or more.
    """

    name: str
    pid: int
    ask: Ask
    says: str
    said: int | None = None
    refused: bool = False

    async def probe(self) -> None:
        """Ask once, and look at the answer. Raises: Unexpected."""
        ask = self.ask
        body = ask.template.replace("%d", "7").replace("%k", uuid4().hex)
        headers = {"content-type": "application/json"}
        headers |= dict(line.split(": ", 1) for line in ask.headers)
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(ask.url, content=body, headers=headers)
        said = answer.text.count(self.says)
        if said != (self.said or ask.items) or (answer.status_code >= 400) is not self.refused:
            raise Unexpected(f"{NAMES[self.name]}: {answer.status_code} {answer.text[:500]}")


@dataclass(frozen=True, slots=True)
class Field:
    """Everything that runs: the rivals, and the processes that work beside them."""

    rivals: list[Rival]
    beside: Mapping[str, int]


@asynccontextmanager
async def field(
    engines: ThrowawayEngines, wanted: AbstractSet[str], tell: Callable[[str], None]
) -> AsyncGenerator[Field]:
    """Start what ``wanted`` needs, all servers on the same engines and on one core."""
    environment = {
        "DATABASE_URL": engines.database_url,
        "REDIS_URL": engines.redis_url,
        "HEADROOM_ENV": "production",
        "HEADROOM_LOG_LEVEL": "WARNING",
        "HEADROOM_JOURNAL_MAX_ENTRIES": "1000000",
    }
    beside = {}
    for name, child in (("Valkey", engines.valkey.child), ("PostgreSQL", engines.postgres.child)):
        if child is not None:
            beside[name] = child.pid
            pin(tree(child.pid), OTHER_CORE)
    key = await prepare(engines.database_url, engines.redis_url, catalog=shop())
    bearer = (f"Authorization: Bearer {key}",)
    async with AsyncExitStack() as stack:
        port = free_port()
        serve = (*HEADROOM, "serve", "--port", str(port), "--no-worker")
        own = await stack.enter_async_context(server(serve, environment, "Headroom ready"))
        worker = server((*HEADROOM, "worker"), environment, None, OTHER_CORE)
        beside["worker"] = await stack.enter_async_context(worker)
        base = f"http://127.0.0.1:{port}"
        await _use_up(base, key)
        rivals = own_rivals(base, own, bearer)

        for name, module in PEERS.items():
            if name in wanted:
                port = free_port()
                words = ("-m", "uvicorn", f"bench.peers.{module}:app", "--port", str(port))
                fast = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")
                started = server((*words, *fast), environment, "Uvicorn running")
                rivals.append(peer(name, port, await stack.enter_async_context(started)))
        if wanted & {"front-end-core", "graphql-core"}:
            port = free_port()
            metrics = stack.enter_context(tempfile.TemporaryDirectory())
            general = ("-m", "bench.peers.general", str(port))
            started = server(general, environment | {SHARED_METRICS: metrics}, LISTENS)
            pid = await stack.enter_async_context(started)
            rivals += general_rivals(f"http://127.0.0.1:{port}", pid, bearer)
        if "mercurius" in wanted:
            node = _node(tell)
            if node is not None:
                port = free_port()
                node_words = (str(MERCURIUS / "server.js"), str(port))
                started = server(node_words, environment, "Mercurius ready", program=node)
                rivals.append(peer("mercurius", port, await stack.enter_async_context(started)))
        yield Field([rival for rival in rivals if rival.name in wanted], beside)


def own_rivals(
    base: str, pid: int, bearer: tuple[str, ...], customers: int = CUSTOMERS
) -> list[Rival]:
    """Return everything that Headroom is asked."""
    one = {"customer": "c%d", "feature": FEATURE, "units": 1}
    scarce = one | {"feature": SCARCE}
    named = one | {"idempotencyKey": "%k"}
    many, single = [one] * BATCH, [one | {"customer": "c1"}] * BATCH
    counted, denied = '"replayed":false', '_CAP_EXCEEDED"'

    def v1(given: dict[str, object]) -> Ask:
        return Ask(f"{base}/v1/consume", json.dumps(given), customers, bearer)

    def graphql(query: str, name: str, value: object) -> Ask:
        body = json.dumps({"query": query, "variables": {name: value}})
        return Ask(f"{base}/graphql", body, customers, bearer)

    def batch(items: list[dict[str, object]]) -> Ask:
        return replace(graphql(EACH, "i", items), items=BATCH, connections=4)

    front_end = replace(graphql(FRONT_END, "c", "c%d"), connections=16)
    return [
        Rival(V1, pid, v1(one), counted),
        Rival(GRAPHQL, pid, graphql(CONSUME, "i", one), counted),
        Rival("denied-v1", pid, v1(scarce), denied, refused=True),
        Rival("denied", pid, graphql(CONSUME, "i", scarce), denied),
        Rival("named-v1", pid, v1(named), counted),
        Rival("named", pid, graphql(CONSUME, "i", named), counted),
        Rival("batch", pid, batch(many), counted),
        Rival("batch-one", pid, batch(single), counted),
        Rival("front-end", pid, front_end, '"window":"MONTH"', FEATURES),
    ]


def general_rivals(base: str, pid: int, bearer: tuple[str, ...]) -> list[Rival]:
    """Return what the general executor is asked: the same, word for word."""
    names = {"front-end": "front-end-core", GRAPHQL: "graphql-core"}
    own = own_rivals(base, pid, bearer)
    return [replace(rival, name=names[rival.name]) for rival in own if rival.name in names]


def peer(name: str, port: int, pid: int) -> Rival:
    """Return what a server with the bare check is asked."""
    base = f"http://127.0.0.1:{port}"
    if name == BASE:
        body = json.dumps({"customer": "c%d", "feature": FEATURE, "units": 1})
        return Rival(name, pid, Ask(f"{base}/consume", body, CUSTOMERS), '"allowed":true')
    asked = json.dumps({"query": STOCK, "variables": {"c": "c%d", "f": FEATURE, "u": 1}})
    path = "graphql" if name == "mercurius" else ""
    return Rival(name, pid, Ask(f"{base}/{path}", asked, CUSTOMERS), '"MONTH"')


async def _use_up(base: str, key: str) -> None:
    """Take every customer's one unit of what is scarce."""
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(timeout=60, headers=headers) as client:
        for start in range(0, CUSTOMERS, BATCH):
            inputs = [
                {"customer": f"c{n}", "feature": SCARCE, "units": 1}
                for n in range(start, min(start + BATCH, CUSTOMERS))
            ]
            body = {"query": EACH, "variables": {"i": inputs}}
            answer = await client.post(f"{base}/graphql", json=body)
            if answer.text.count('"denial":null') != len(inputs):
                raise Unexpected(f"{answer.status_code} {answer.text[:500]}")


def _node(tell: Callable[[str], None]) -> str | None:
    """Return the program that runs Mercurius, which is fetched at its first use."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        tell("Mercurius: node and npm are not installed")
        return None
    if not (MERCURIUS / "node_modules").is_dir():
        tell("Mercurius: fetching what package-lock.json names")
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        done = subprocess.run([npm, "ci", *quiet], cwd=MERCURIUS, check=False)  # noqa: S603 - found above
        if done.returncode:
            tell("Mercurius: not installed, as npm ci failed")
            return None
    return node
