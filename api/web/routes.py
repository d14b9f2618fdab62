"""The whole HTTP application: the hot doors in front, and everything else behind them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from api.web import graphiql
from api.web.access_log import PROBE, AccessLog
from api.web.edge import Edge
from api.web.error_pages import ErrorPages
from api.web.health import Health
from api.web.hold_doors import CaptureDoor, ExtendDoor, PlaceDoor, VoidDoor
from api.web.inputs import (
    CaptureInput,
    CheckInput,
    ConsumeInput,
    ExtendInput,
    PlaceInput,
    ReleaseInput,
    VoidInput,
)
from api.web.parts import Parts
from api.web.quota_doors import CheckDoor, ConsumeDoor, ReleaseDoor
from api.web.webhooks import WebhookDoor
from api.web.wire import Direct

GRAPHQL = "/graphql"


class Application:
    """Looks one path up before any routing; what is not found there is routed.

    Cost beside that: one number goes down, and now and then one request is watched for the log.
    """

    def __init__(
        self, doors: Mapping[str, ASGIApp], others: ASGIApp, log: AccessLog | None = None
    ) -> None:
        self._doors = doors
        self._direct = {
            path.encode(): door for path, door in doors.items() if isinstance(door, Direct)
        }
        self._others = others
        self._log = log
        self._unlogged = 0 if log is None else log.gap()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or speak with one WebSocket."""
        self._unlogged -= 1
        if self._unlogged == 0 and self._log is not None:
            self._unlogged = self._log.gap()
            send = self._log.watched(scope, send)
        door = self._doors.get(scope["path"]) if scope["type"] == "http" else None
        await (door or self._others)(scope, receive, send)

    def direct(self, target: bytes) -> Direct | None:
        """Return what may answer a POST to ``target`` without ASGI's messages.

        None: this one goes the usual way, as it has another path, or is due for the log.
        """
        if self._unlogged == 1:
            return None
        door = self._direct.get(target)
        if door is not None:
            self._unlogged -= 1
        return door

    def leave(self) -> None:
        """Say at ``/readyz``, from here on, that this process was told to stop."""
        leaving = Router([Route(PROBE, Health.leaving, methods=["GET"])])
        self._doors = {**self._doors, PROBE: Edge(leaving)}


def build_app(parts: Parts) -> Application:
    """Return the application over these parts; a route whose part is None does not exist."""
    routes: list[BaseRoute] = [
        *Health(parts.clock, parts.readiness).routes(),
        *ErrorPages().routes(),
    ]
    if parts.inbox is not None:
        routes += WebhookDoor(parts.inbox, parts.clock).routes()
    if parts.graphql is not None and parts.settings.development:
        routes.append(graphiql.files())
    others = Router(routes, redirect_slashes=False)
    doors: dict[str, ASGIApp] = {
        "/v1/check": CheckDoor(CheckInput, parts),
        "/v1/consume": ConsumeDoor(ConsumeInput, parts),
        "/v1/release": ReleaseDoor(ReleaseInput, parts),
        "/v1/hold": PlaceDoor(PlaceInput, parts),
        "/v1/capture": CaptureDoor(CaptureInput, parts),
        "/v1/void": VoidDoor(VoidInput, parts),
        "/v1/extend": ExtendDoor(ExtendInput, parts),
    }
    if parts.graphql is not None:
        # Its WebSockets go to the others, where routing refuses them: none is spoken yet.
        doors[GRAPHQL] = parts.graphql
    log = AccessLog(parts.access, parts.clock, parts.settings.access_log_every)
    return Application(doors, Edge(others), log)
