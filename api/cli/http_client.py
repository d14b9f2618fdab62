"""A small HTTP client for one server: one connection, JSON in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import orjson

from api.domain.errors import Unavailable

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers under lower-case names, and what the body says."""

    status: int
    headers: Mapping[str, str]
    said: Any


class Client:
    """Asks one server. Every method may raise ``Unavailable``."""

    def __init__(self, address: str) -> None:
        self.address = address
        parts = urlsplit(address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send ``body`` and return the answer. Raises: Unavailable."""
        try:
            lines = {"Content-Type": "application/json", **headers}
            self._connection.request("POST", path, body, lines)
            response = self._connection.getresponse()
            text = response.read()
        except (HTTPException, OSError) as error:
            self._connection.close()
            raise Unavailable(f"{self.address} does not answer: {error}.") from error
        named = {name.lower(): value for name, value in response.getheaders()}
        try:
            said: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            said = text.decode(errors="replace")
        return Answer(response.status, named, said)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
