"""Requests to an application in this process, by the ways on which the server brings them.

A plain POST that is whole goes to its door directly, without a task, as ``api.app.direct`` has it;
all else goes as ASGI.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp

from api.infra.taskless import Taskless
from api.web.routes import Application
from api.web.wire import Direct, Told


class _Asked(Taskless[Told | None]):
    def __init__(self) -> None:
        super().__init__()
        self.told: asyncio.Future[Told | None] = asyncio.get_running_loop().create_future()

    def ended(self, value: Told | None, error: BaseException | None) -> None:
        if error is None:
            self.told.set_result(value)
        else:
            self.told.set_exception(error)

    def handed_over(self, task: asyncio.Task[Any]) -> None:
        """Let it run."""


class AsServed(httpx.AsyncBaseTransport):
    """Asks ``app``; ``door`` stands for an application that is one door alone."""

    def __init__(self, app: ASGIApp, door: Direct | None = None) -> None:
        self._app = app
        self._door = door
        self._usual = httpx.ASGITransport(app=app, raise_app_exceptions=True)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        door = self._find(request)
        if door is None:
            return await self._usual.handle_async_request(request)
        body = await request.aread()
        if len(body) > door.most_bytes:
            return await self._usual.handle_async_request(request)
        scope = {
            "type": "http",
            "method": "POST",
            "path": request.url.path,
            "query_string": b"",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }
        asked = _Asked()
        call = door.answer(scope, body)
        # In a callback, as requests come: in the task of a test there would be a task.
        asyncio.get_running_loop().call_soon(lambda: asked.begin(call, in_task=not door.taskless))
        told = await asked.told
        assert told is not None
        form, lines, said = told
        headers = [*form.lines, (b"content-length", b"%d" % len(said)), *lines]
        return httpx.Response(form.status, headers=headers, content=said)

    def _find(self, request: httpx.Request) -> Direct | None:
        plain = request.method == "POST" and "content-length" in request.headers
        if not plain:
            return None
        if isinstance(self._app, Application):
            return self._app.direct(request.url.raw_path)
        return None if request.url.query else self._door
