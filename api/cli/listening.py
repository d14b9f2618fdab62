"""The socket that a server answers on, bound before anything slow is begun."""

from __future__ import annotations

import errno
import socket

from api.domain.errors import Unavailable

_BACKLOG = 2048


class CannotListen(Unavailable):
    """The address cannot be listened on; the message says which and why."""


def listen(host: str, port: int, *, reuse: bool = False) -> socket.socket:
    """Return a socket that listens there; with ``reuse`` beside others of this user that do too.

    Raises: CannotListen.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise CannotListen(f"There is no address {host!r}: {error.strerror}.") from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
        bound.setblocking(False)  # noqa: FBT003 - the library's own
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"Port {port} of {host} is in use. Stop what listens there, or choose another "
                "with --port."
            ) from None
        raise CannotListen(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
    return bound


def address_of(bound: socket.socket) -> str:
    """Return where it answers, as a URL."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if bound.family == socket.AF_INET6 else host
    return f"http://{shown}:{port}"
