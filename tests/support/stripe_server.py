"""A small stateful Stripe on loopback, reached through the real package.

It holds objects in their present shapes and answers the reads that Headroom makes of them. It can
fail, be slow (``pass_gate`` lets a read through only when the test says so), refuse keys, and cut
lists as Stripe does. Every request is kept in ``requests``.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from tests.support.stripe_events import Buying, Life, customer

KEY = "sk_test_" + "b" * 24
ITEMS_SHOWN = 10

_OBJECT = re.compile(
    r"/v1/(subscriptions|customers|invoices|checkout/sessions|payment_intents|charges|refunds"
    r"|disputes)/([^/?]+)"
)
_LINES = re.compile(r"/v1/invoices/([^/?]+)/lines")
_KINDS = {
    "payment_intents": "payment_intent",
    "charges": "charge",
    "refunds": "refund",
    "disputes": "dispute",
    "subscriptions": "subscription",
    "customers": "customer",
    "invoices": "invoice",
    "checkout/sessions": "checkout.session",
}


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class StripeServer:
    """The simulated Stripe; ``address`` goes into ``STRIPE_API_BASE``."""

    address: str = ""
    key: str = KEY
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Statuses with which the next requests are answered."""
    gate: asyncio.Event | None = None
    """While set to an event, an answer is decided at once and sent when the event happens."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, obj: dict[str, Any]) -> None:
        """Hold this object, as it is now."""
        self.objects[obj["id"]] = copy.deepcopy(obj)

    def holds(self, life: Life) -> Self:
        """Hold the subscription of this life, as it is now, and its customer."""
        self.put(life.state)
        self.objects.setdefault(life.customer, customer(life.customer))
        return self

    def holds_payment(self, buying: Buying) -> Self:
        """Hold the checkout and the payment of this purchase, as they are now."""
        for obj in buying.objects:
            self.put(obj)
        return self

    def reads_of(self, object_id: str) -> int:
        """Count how often an object was read."""
        return sum(urlsplit(r.path).path.endswith(f"/{object_id}") for r in self.requests)

    def answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        """Return status and body."""
        if self.failures:
            status = self.failures.pop(0)
            return status, _error("api_error", "Something went wrong on our side.")
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return 401, _error("invalid_request_error", "Invalid API Key provided.")
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        if (page := self._listed(parts.path, query)) is not None:
            return 200, page
        found = _OBJECT.fullmatch(parts.path)
        if found is None:
            return 404, _error("invalid_request_error", f"Unrecognized URL ({parts.path}).")
        kind, object_id = _KINDS[found[1]], found[2]
        obj = self.objects.get(object_id)
        if obj is None or obj["object"] != kind:
            return 404, _error(
                "invalid_request_error", f"No such {kind}: '{object_id}'", code="resource_missing"
            )
        return 200, self._expanded(_cut(obj), query)

    def _expanded(self, obj: dict[str, Any], query: dict[str, list[str]]) -> dict[str, Any]:
        """Write out what a request asks to have written out, as deep as it says."""
        for path in (
            one for key, said in query.items() if key.startswith("expand") for one in said
        ):
            self._expand(obj, path.split("."))
        return obj

    def _expand(self, within: object, names: list[str]) -> None:
        if isinstance(within, list):
            for one in within:
                self._expand(one, names)
        if not names or not isinstance(within, dict):
            return
        name, *deeper = names
        if isinstance(within.get(name), str):
            within[name] = copy.deepcopy(self.objects[within[name]])
        self._expand(within.get(name), deeper)

    def _listed(self, path: str, query: dict[str, list[str]]) -> dict[str, Any] | None:
        if path == "/v1/subscription_items":
            return _page(self.objects[query["subscription"][0]]["items"]["data"], query, path)
        if path in ("/v1/refunds", "/v1/disputes"):
            payment, kind = query["payment_intent"][0], _KINDS[path[4:]]
            found = [o for o in self.objects.values() if o["object"] == kind]
            return _page([o for o in found if o["payment_intent"] == payment], query, path)
        if (lines := _LINES.fullmatch(path)) is not None:
            return _page(self.objects[lines[1]]["lines"]["data"], query, path)
        return None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                method, path, _ = first.split(" ")
                pairs = (line.split(": ", 1) for line in lines if line)
                headers = {name.lower(): value for name, value in pairs}
                await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(method, path, headers)
                status, answer = self.answer(request)
                self.requests.append(request)
                self.arrived.set()
                if self.gate is not None:
                    await self.gate.wait()
                body = orjson.dumps(answer)
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
                    f"request-id: req_{len(self.requests)}\r\n"
                    f"content-length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def stripe_server() -> AsyncGenerator[StripeServer]:
    """Run a simulated Stripe on a free port of this machine."""
    simulated = StripeServer()
    server = await asyncio.start_server(simulated.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    simulated.address = f"http://127.0.0.1:{port}"
    try:
        yield simulated
    finally:
        server.close()


def _page(data: list[dict[str, Any]], query: dict[str, list[str]], url: str) -> dict[str, Any]:
    after = query.get("starting_after", [None])[0]
    begin = 0 if after is None else [one["id"] for one in data].index(after) + 1
    limit = int(query.get("limit", ["10"])[0])
    more = begin + limit < len(data)
    return {"object": "list", "data": data[begin : begin + limit], "has_more": more, "url": url}


def _cut(obj: dict[str, Any]) -> dict[str, Any]:
    shown = copy.deepcopy(obj)
    for items in (shown.get("items"), shown.get("lines")):
        if isinstance(items, dict) and len(items["data"]) > ITEMS_SHOWN:
            items |= {"data": items["data"][:ITEMS_SHOWN], "has_more": True}
    return shown


def _error(kind: str, message: str, **more: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, **more}}
