"""One call on the counter store, and what may become of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from api.domain.errors import Unavailable
from api.infra.few_lines import FewLines
from api.infra.forms import Arg, Place, by_digest, by_text, command
from api.infra.lua import Script

log = logging.getLogger(__name__)
_refusals = FewLines()

REPLACED = ("LOADING", "READONLY", "MASTERDOWN")
"""Refusals after which the address may lead to another server."""
_REFUSING = ("OOM", "BUSY", "MISCONF", "NOREPLICAS", *REPLACED)


class NotSent(Unavailable):
    """The call never left, or was refused; nothing happened."""


class OutcomeUnknown(Unavailable):
    """The call was sent, and whether it was carried out is not known."""


class Overloaded(Unavailable):
    """Too many calls wait for one server; nothing happened, and the counters are not lost."""


class ScriptFailed(Exception):
    """The server refused a script: a defect in it, or a server that is set up wrongly."""


@dataclass(slots=True, eq=False)
class Call:
    """One command that waits for its reply.

    ``head`` are its words; of a script the keys besides those of its ``place``, and ``known`` tells
    whether its server is thought to have it. ``shard`` -1 is meant for one server. ``asking``: its
    key is just being given to the server that it goes to. ``until``: when to give up sending it on,
    by the loop's time.
    """

    reply: asyncio.Future[Any]
    head: Sequence[Arg]
    args: Sequence[Arg] = ()
    shard: int = -1
    script: Script | None = None
    place: Place | None = None
    known: bool = True
    asking: bool = False
    until: float = 0.0

    def form(self, epoch: int) -> bytes:
        """Return what goes over the wire. Raises: TypeError or ValueError, of what is no word."""
        if self.script is None or self.place is None:
            return command(self.head)
        form = by_digest if self.known else by_text
        return form(self.script, self.place, self.head, epoch, self.args)

    def refuse(self, error: Unavailable) -> None:
        """End the call, if somebody waits for it still."""
        if not self.reply.done():
            self.reply.set_exception(error)

    def refused(self, text: str) -> None:
        """End it by the server's refusal, and say so in the log, unless many were said just now."""
        name = self.script.name if self.script else str(self.head[0])
        if self.reply.done():
            return
        untold = _refusals.untold()
        if untold is not None:
            without = {"refusals_without_a_line": untold} if untold else {}
            log.error("the counter store refused %s: %s", name, text, extra=without)
        if text.startswith(_REFUSING):
            self.reply.set_exception(NotSent(f"the counter store refuses writes: {text}"))
        else:
            self.reply.set_exception(ScriptFailed(f"{name}: {text}"))


async def outcomes(
    calls: Iterable[Awaitable[Any]], *, patience_seconds: float
) -> list[Any | BaseException]:
    """Return what became of each call; of one that is late, ``OutcomeUnknown``.

    For calls to several servers, where one that hangs shall not keep back the others.
    """
    waiting = [asyncio.ensure_future(call) for call in calls]
    if not waiting:
        return []
    try:
        await asyncio.wait(waiting, timeout=patience_seconds)
    finally:
        late = {call for call in waiting if not call.done()}
        for call in late:
            call.cancel()
    unknown = OutcomeUnknown("the counter store is late")
    return [unknown if c in late else c.exception() or c.result() for c in waiting]


def unheeded() -> asyncio.Future[Any]:
    """Return a future whose outcome nobody reads, and nobody is warned of."""
    reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    reply.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return reply
