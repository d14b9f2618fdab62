"""The epochs of the shards: which state in the counter store may be believed.

Each shard has a growing epoch in PostgreSQL. State is stamped with the epoch under which it was
written; under any other it is unknown. An epoch belongs to one run of one server: one that is not
the last registered for a shard, and one that lost the shard's marker, opens a new epoch. So a
restart from an old file is not believed, nor a replica that was behind; and of two servers that
both think they hold a shard only the one registered last has what it counted recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("epochs")

PATIENCE_SECONDS = 2.0
"""For the record: less than a connection to the counters waits for it."""


class Epochs:
    """The register of epochs in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: list[tuple[str, int]] = [("", 0)] * keys.SHARDS

    async def register(self, server: str, shards: Sequence[int]) -> dict[int, int]:
        """Return the epochs of ``shards`` on ``server``, opening new ones where it is new to them.

        While the record cannot be reached, or does not answer in time, the server registered last
        from here keeps its epochs.
        Raises: Unavailable for any other.
        Cost: one statement; three, writing a row for each shard, for a new server.
        """
        try:
            epochs = await self._in_time(server, shards)
        except Unavailable:
            if all(self._known[shard][0] == server for shard in shards):
                return {shard: self._known[shard][1] for shard in shards}
            raise
        for shard, epoch in epochs.items():
            self._known[shard] = (server, epoch)
        return epochs

    async def reopen(self, server: str, shard: int, epoch: int) -> int | None:
        """Return the epoch to use after ``epoch`` was not found on ``server``.

        It is one that somebody else has opened meanwhile for the same server, or a new one; None
        where another server is registered by now. Cost: one statement or two.
        """
        opened = await self._database.fetchval(_sql.open_one, shard, epoch, server)
        if opened is None:
            rows = await self._database.fetch(_sql.epochs_of, [shard])
            opened = next((row["epoch"] for row in rows if row["run_id"] == server), None)
            if opened is None:
                return None
        self._known[shard] = (server, int(opened))
        return int(opened)

    async def reachable(self) -> None:
        """Return when the record answers. Raises: Unavailable."""
        await self._database.fetchval(_sql.answer)

    async def _in_time(self, server: str, shards: Sequence[int]) -> dict[int, int]:
        asking = asyncio.create_task(self._epochs_on(server, shards))
        asking.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            # Not ``timeout``: to take back a statement from a server that hangs takes time as well.
            await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
            if not asking.done():
                raise Unavailable("The record (PostgreSQL) did not answer in time; try again.")
            return asking.result()
        finally:
            asking.cancel()

    async def _epochs_on(self, server: str, shards: Sequence[int]) -> dict[int, int]:
        rows = await self._database.fetch(_sql.epochs_of, shards)
        if any(row["run_id"] != server for row in rows):
            async with self._database.transaction() as conn:
                await conn.execute(_sql.lock_epochs, shards)
                await conn.execute(_sql.open_for, server, shards)
                rows = await conn.fetch(_sql.epochs_of, shards)
        return {row["shard"]: row["epoch"] for row in rows}
