"""GraphiQL, served from our own package: the page, and the files that it loads."""

from __future__ import annotations

from pathlib import Path

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from api.web.wire import HeaderLines

_FILES = Path(__file__).parent / "static" / "graphiql"

PAGE = (_FILES / "page.html").read_bytes()

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing to elsewhere; the editor writes styles into its lines."""

PAGE_LINES: HeaderLines = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", _POLICY.encode()),
    (b"cache-control", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"vary", b"accept"),
]


def files() -> Mount:
    """Return the route of the files that the page loads; only in development."""
    return Mount("/graphiql", StaticFiles(directory=_FILES), name="graphiql")
