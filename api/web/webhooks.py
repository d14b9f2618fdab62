"""``POST /webhooks/stripe``: stored before it is acknowledged, handled by a worker later.

The body goes on exactly as it came, as the signature is over its bytes. What is not stored is
refused with a status that has the provider deliver it again.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.billing.inbox import Refused
from api.domain.errors import InvalidInput
from api.infra.clock import Clock
from api.web.parts import Receiving
from api.web.wire import content_length, read_body, read_head, remote_address

PATH = "/webhooks/stripe"


class WebhookDoor:
    """Takes the provider's deliveries in."""

    def __init__(self, inbox: Receiving, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the one route."""
        return [Route(PATH, self.deliver, methods=["POST"])]

    async def deliver(self, request: Request) -> Response:
        """Answer one delivery."""
        length = content_length(read_head(request.scope))
        body = await read_body(request.receive, length, self._inbox.most_bytes)
        outcome = await self._inbox.accept(
            body,
            request.headers.get("stripe-signature"),
            remote_address(request.scope),
            request.headers.get("user-agent"),
            self._clock.now(),
        )
        if isinstance(outcome, Refused):
            raise InvalidInput(outcome.message)
        return Response(b'{"received":true}', media_type="application/json")
