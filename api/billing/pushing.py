"""Putting the catalog on the provider's shelf, also while somebody else does the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from api.billing import shelf
from api.billing.problems import NotAtProvider, ProviderRefused, Unreadable
from api.billing.shelf import Plan, ShelfKeeper, Step
from api.catalog import audit
from api.catalog.text import require_reason
from api.domain.catalog import Catalog
from api.domain.errors import InvalidInput
from api.infra.postgres import Database

_ROUNDS = 5

Progress = Callable[[int, int, Step], None]


@dataclass(frozen=True, slots=True)
class Pushed:
    """The difference that was found, what was done of it, and the ids there are now."""

    plan: Plan
    done: tuple[Step, ...]
    names: Mapping[str, str]


class Pusher:
    """Makes the provider sell what a catalog sells; ``keeper`` is None where no key is set."""

    def __init__(self, database: Database, keeper: ShelfKeeper | None) -> None:
        self._database = database
        self._keeper = keeper

    @property
    def live(self) -> bool:
        """Whether real money changes hands there."""
        return self._keeper is not None and self._keeper.live

    async def show(self, catalog: Catalog, *, retire: bool = False) -> Pushed:
        """Return the difference, and change nothing. Raises: InvalidInput, where no key is set."""
        now = await self._require().look()
        return Pushed(shelf.planned(catalog, now, retire=retire), (), shelf.names(catalog, now))

    async def push(
        self,
        catalog: Catalog,
        *,
        retire: bool,
        actor: str,
        reason: str,
        at: datetime,
        progress: Progress = lambda _done, _total, _step: None,
    ) -> Pushed:
        """Do what ``show`` says; the audit row is there before the first call is made.

        A step that is refused because somebody else made it meanwhile is planned anew from what is
        there then. Raises: InvalidInput, ProviderRefused, Unreadable, NotAtProvider, Unavailable.
        """
        keeper = self._require()
        require_reason(reason)
        first = await self.show(catalog, retire=retire)
        if not first.plan.steps:
            return first
        async with self._database.transaction() as conn:
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="catalog.push",
                reason=reason,
                detail={
                    "live": keeper.live,
                    "retire": retire,
                    "steps": [str(step) for step in first.plan.steps],
                },
            )
        done: list[Step] = []
        present = first
        for again in range(_ROUNDS):
            try:
                for place, step in enumerate(present.plan.steps, 1):
                    await keeper.do(catalog.product, step)
                    done.append(step)
                    progress(place, len(present.plan.steps), step)
            except (Unreadable, ProviderRefused, NotAtProvider):
                if again == _ROUNDS - 1:
                    raise
                await asyncio.sleep(0.1 * 2**again)  # another push may be in the middle of it
            present = await self.show(catalog, retire=retire)
            if not present.plan.steps:
                return Pushed(first.plan, tuple(done), present.names)
        raise ProviderRefused(
            "What the provider sells still differs; run the push again.", declined=False
        )

    def _require(self) -> ShelfKeeper:
        if self._keeper is None:
            raise InvalidInput(
                "No key of the payment provider is set: set STRIPE_SECRET_KEY, then push again."
            )
        return self._keeper
