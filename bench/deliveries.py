"""Deliveries over HTTP as Stripe makes them, and when what they changed could be seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from redis.asyncio import Redis

from api.cli.demo_events import signed
from api.infra.clock import SystemClock

Json = dict[str, Any]
Delivery = tuple[str, bytes, str]
"""Whose subscription it is about, body, signature."""

SECRET = "whsec_bench"  # noqa: S105 - signs nothing but this measurement's own events
CONNECTIONS = 64


def deliveries(template: Json, version: str, names: Sequence[str]) -> list[Delivery]:
    """Return an event for each planted subscription: it was created. ``template`` is one of them.

    Cost: O(n), before anything is measured.
    """
    clock, made = SystemClock(), []
    text = orjson.dumps(template)
    planted = template["id"].removeprefix("sub_").encode()
    for name in names:
        event = {
            "id": f"evt_{name}",
            "object": "event",
            "api_version": version,
            "created": template["created"],
            "data": {"object": orjson.loads(text.replace(planted, name.encode()))},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": "customer.subscription.created",
        }
        made.append((name, *signed(event, SECRET, clock.now())))
    return made


class Sender:
    """Connections to the route that stay open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._free = asyncio.Queue()

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int, connections: int = CONNECTIONS) -> AsyncGenerator[Sender]:
        """Open the connections."""
        sender = cls(port)
        for _ in range(connections):
            sender._free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
        try:
            yield sender
        finally:
            while not sender._free.empty():
                sender._free.get_nowait()[1].close()

    async def at_once(self, given: Sequence[Delivery]) -> tuple[float, list[float]]:
        """Send as fast as answers come; return the seconds in all and those of each."""
        began, took = time.perf_counter(), []

        async def one(delivery: Delivery) -> None:
            took.append(await self._send(delivery))

        await asyncio.gather(*map(one, given))
        return time.perf_counter() - began, took

    async def at_rate(self, given: Sequence[Delivery], per_second: float) -> dict[str, float]:
        """Send one after the other at a rate, whatever the answers do; return when each was due."""
        began, due, tasks = time.perf_counter(), {}, []
        for number, delivery in enumerate(given):
            due[delivery[0]] = at = began + number / per_second
            if (early := at - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.append(asyncio.create_task(self._send(delivery)))
        await asyncio.gather(*tasks)
        return due

    async def _send(self, delivery: Delivery) -> float:
        _, body, signature = delivery
        head = (
            f"POST /webhooks/stripe HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Stripe-Signature: {signature}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await self._free.get()
        since = time.perf_counter()
        if reader.at_eof():  # closed by the server, as it was idle
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        took = time.perf_counter() - since
        length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
        said = await reader.readexactly(length)
        self._free.put_nowait((reader, writer))
        if not answer.startswith(b"http/1.1 200"):
            raise RuntimeError(f"refused: {said!r}")
        return took


class Seen:
    """When the snapshots of customers were written, as Valkey itself tells."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self._lacking: set[str] = set()
        self._all = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def following(cls, redis_url: str, tag: str) -> AsyncGenerator[Seen]:
        """Note from now on each first writing of a customer whose name begins with ``tag``."""
        seen = cls()
        async with Redis.from_url(redis_url) as redis, redis.pubsub() as told:
            await redis.config_set("notify-keyspace-events", "Kh")
            await told.psubscribe(f"__keyspace@*__:*s:{tag}*")
            task = asyncio.create_task(seen._follow(told))
            try:
                yield seen
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def expect(self, names: Iterable[str]) -> None:
        """Forget what was written so far: these are to be written from now on."""
        self.at.clear()
        self._lacking = set(names)
        self._all.clear()

    async def wait(self) -> None:
        """Wait until all that are expected were written."""
        await self._all.wait()

    async def _follow(self, told: Any) -> None:  # noqa: ANN401 - the library's subscription
        async for message in told.listen():
            if message["type"] == "pmessage":
                name = message["channel"].decode().rpartition("s:")[2]
                self.at.setdefault(name, time.perf_counter())
                self._lacking.discard(name)
                if not self._lacking:
                    self._all.set()
