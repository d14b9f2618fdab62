"""The page of an error code, at the address that ``type`` of every problem names."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_OF_THE_CATALOG = "README"
"""Explains the codes that a catalog makes up for its own limits, and lists all others."""


class ErrorPages:
    """Shows ``docs/errors/<code>.md``."""

    def routes(self) -> list[Route]:
        """Return the one route."""
        return [Route("/docs/errors/{code}.md", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        """Show the page of a code; of one that only a catalog knows, the page about those."""
        code = request.path_params["code"]
        if not _CODE.fullmatch(code):
            raise HTTPException(404)
        page = _read(code) or _read(_OF_THE_CATALOG)
        if page is None:
            raise HTTPException(404)
        lines = {"Cache-Control": "public, max-age=3600"}
        return Response(page, headers=lines, media_type="text/markdown; charset=utf-8")


@cache
def _folder() -> Path:
    """Find the pages: in the built package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    packed = package / "_errors"
    return packed if packed.is_dir() else package.parent / "docs" / "errors"


def _read(code: str) -> str | None:
    path = _folder() / f"{code}.md"
    return path.read_text(encoding="utf-8") if path.is_file() else None
