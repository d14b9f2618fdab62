"""The epochs of the shards: which state in the counter store may be believed.

Each shard has a growing epoch in PostgreSQL. State is stamped with the epoch under which it was
written; under any other it is unknown. A server that is not the last one registered, and a server
that lost a shard's marker, open a new epoch, so a restart from an old file is not believed.
"""

from __future__ import annotations

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("epochs")


class Epochs:
    """The register of epochs in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: tuple[str, list[int]] | None = None

    async def register(self, run_id: str) -> list[int]:
        """Return the epoch of every shard on the server ``run_id``, opening new ones if it is new.

        While the record cannot be reached, the server registered last from here keeps its epochs.
        Raises: Unavailable for any other.
        Cost: one statement, writing 256 rows only for a new server.
        """
        try:
            async with self._database.transaction() as conn:
                await conn.execute(_sql.open_all, run_id)
                rows = await conn.fetch(_sql.all_epochs)
        except Unavailable:
            if self._known is not None and self._known[0] == run_id:
                return list(self._known[1])
            raise
        epochs = [0] * keys.SHARDS
        for row in rows:
            epochs[row["shard"]] = row["epoch"]
        self._known = (run_id, list(epochs))
        return epochs

    async def reopen(self, shard: int, epoch: int) -> int:
        """Return the epoch to use after ``epoch`` was not found on the server.

        It is one that somebody else has opened meanwhile, or a new one. Cost: one statement.
        """
        opened = await self._database.fetchval(_sql.open_one, shard, epoch)
        current = int(opened)
        if self._known is not None:
            self._known[1][shard] = current
        return current

    async def reachable(self) -> None:
        """Return when the record answers. Raises: Unavailable."""
        await self._database.fetchval(_sql.answer)
