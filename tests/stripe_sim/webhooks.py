"""Webhooks on their way: signed when they leave, retried until they are taken."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from tests.stripe_sim.events import Events
from tests.stripe_sim.signing import SECRET, signature
from tests.stripe_sim.store import Store
from tests.stripe_sim.timeline import Timeline

Json = dict[str, Any]
Taking = Callable[[bytes, str], Awaitable[int]]
"""Takes a body and its signature header, returns a status."""

TRIES = 16


@dataclass(eq=False)
class Webhook:
    """One delivery of one event."""

    event: Json
    not_before: int = 0
    """The second before which it does not leave."""
    attempts: int = 0
    last_status: int | None = None

    @property
    def id(self) -> str:
        """The id of the event."""
        return str(self.event["id"])

    @property
    def type(self) -> str:
        """The type of the event."""
        return str(self.event["type"])

    @property
    def body(self) -> bytes:
        """The bytes as Stripe sends them: indented JSON."""
        return orjson.dumps(self.event, option=orjson.OPT_INDENT_2)


class Webhooks:
    """The deliveries that wait. Nothing leaves before a test says so."""

    def __init__(self, time: Timeline, store: Store, events: Events) -> None:
        self.secret = SECRET
        self.on = True
        """While it is off, events that happen are recorded and never delivered."""
        self.retries = True
        """Whether a delivery that was not taken is tried again."""
        self.pending: list[Webhook] = []
        self.delivered: list[Webhook] = []
        self.given_up: list[Webhook] = []
        self._time = time
        self._store = store
        events.listeners.append(self._happened)

    def _happened(self, event: Json) -> None:
        if self.on:
            self.pending.append(Webhook(event))

    def signed(self, webhook: Webhook) -> tuple[bytes, str]:
        """Return body and signature header, signed at the clock's present second."""
        now = int(self._time.clock.now().timestamp())
        return webhook.body, signature(webhook.body, now, self.secret)

    def of(self, *types: str) -> list[Webhook]:
        """Return the pending deliveries of these types; a type may end in ``*``."""
        return [one for one in self.pending if any(_is(one.type, said) for said in types)]

    def drop(self, *types: str) -> list[Webhook]:
        """Lose the pending deliveries of these types, or all of them."""
        lost = self.of(*types) if types else list(self.pending)
        self.pending = [one for one in self.pending if one not in lost]
        return lost

    def duplicate(self, *types: str, times: int = 1) -> None:
        """Let the pending deliveries of these types, or all, arrive more than once."""
        chosen = self.of(*types) if types else list(self.pending)
        self.pending += [Webhook(one.event, one.not_before) for one in chosen for _ in range(times)]

    def delay(self, *types: str, seconds: int) -> None:
        """Hold the pending deliveries of these types, or all, back by the clock."""
        for one in self.of(*types) if types else self.pending:
            one.not_before = int(self._time.clock.now().timestamp()) + seconds

    def reverse(self) -> None:
        """Let the pending deliveries leave latest first."""
        self.pending.reverse()

    def scramble(
        self,
        rng: random.Random,
        *,
        drop: float = 0,
        duplicate: float = 0,
        delay: float = 0,
        reorder: bool = True,
    ) -> None:
        """Lose, double, delay and reorder pending deliveries by chance, each at its rate."""
        kept = [one for one in self.pending if rng.random() >= drop]
        kept += [Webhook(one.event) for one in kept if rng.random() < duplicate]
        now = int(self._time.clock.now().timestamp())
        for one in kept:
            if rng.random() < delay:
                one.not_before = now + rng.randrange(1, 3600)
        if reorder:
            rng.shuffle(kept)
        self.pending = kept

    def resend(self, event_id: str) -> None:
        """Send an event once more, as an operator does at Stripe."""
        self.pending.append(Webhook(self._store.get("event", event_id)))

    async def deliver_to(self, take: Taking, *types: str) -> list[int]:
        """Hand over all pending deliveries that may leave now, in order; return the statuses.

        One that is not taken with 2xx stays pending while retries are on, with growing distance.
        """
        now = int(self._time.clock.now().timestamp())
        chosen = self.of(*types) if types else self.pending
        leaving = [one for one in chosen if one.not_before <= now]
        self.pending = [one for one in self.pending if one not in leaving]
        statuses = []
        for at, one in enumerate(leaving):
            try:
                status = await take(*self.signed(one))
            except BaseException:
                self.pending = leaving[at:] + self.pending
                raise
            statuses.append(status)
            self._attempted(one, status)
        return statuses

    async def deliver(self, url: str, *types: str) -> list[int]:
        """Post all pending deliveries that may leave now to an address; return the statuses.

        A connection that fails counts as status 0, a delivery that was not taken.
        """
        async with httpx.AsyncClient(timeout=10) as client:

            async def post(body: bytes, header: str) -> int:
                headers = {"Stripe-Signature": header, "Content-Type": "application/json"}
                try:
                    return (await client.post(url, content=body, headers=headers)).status_code
                except httpx.TransportError:
                    return 0

            return await self.deliver_to(post, *types)

    @property
    def next_at(self) -> datetime | None:
        """The instant at which the next pending delivery may leave."""
        if not self.pending:
            return None
        return datetime.fromtimestamp(min(one.not_before for one in self.pending), UTC)

    def _attempted(self, webhook: Webhook, status: int) -> None:
        webhook.attempts += 1
        webhook.last_status = status
        if 200 <= status < 300:
            webhook.event["pending_webhooks"] = 0
            self.delivered.append(webhook)
        elif self.retries and webhook.attempts < TRIES:
            wait = min(60 * 2 ** (webhook.attempts - 1), 12 * 3600)
            webhook.not_before = int(self._time.clock.now().timestamp()) + wait
            self.pending.append(webhook)
        else:
            self.given_up.append(webhook)


def _is(event_type: str, said: str) -> bool:
    return event_type.startswith(said[:-1]) if said.endswith("*") else event_type == said
