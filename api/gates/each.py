"""A batch of independent items: they leave together, and none waits for the trouble of another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from api.domain.errors import HeadroomError, Unavailable
from api.gates.outcome import ConsumeRequest, Consumption, Denied
from api.gates.straight import Asking, Straight

Outcome = Consumption | Denied | HeadroomError
_Begun = Asking | HeadroomError | None
Generally = Callable[[ConsumeRequest, int], Awaitable[Consumption | Denied]]
"""The road that every call may take."""


class Each:
    """Asks all items that go the straight road at once; the others follow side by side."""

    def __init__(self, straight: Straight, generally: Generally) -> None:
        self._straight = straight
        self._generally = generally

    async def consume(self, items: Sequence[ConsumeRequest], at: int) -> list[Outcome]:
        """Return the outcomes in order.

        Cost: one round trip for all that go the straight road, without a task for each.
        """
        begun: list[_Begun] = []
        try:
            self._begin(items, at, begun)
            found = await self._straight_away(begun, at)
        except BaseException:
            for asking in begun:
                if isinstance(asking, Asking):
                    # Nobody waits any more, as this caller went away meanwhile.
                    asking.reply.cancel()
            raise
        odd = [place for place, outcome in enumerate(found) if outcome is None]
        rest = await asyncio.gather(*(self._alone(items[i], begun[i], at) for i in odd))
        for place, outcome in zip(odd, rest, strict=True):
            found[place] = outcome
        return [outcome for outcome in found if outcome is not None]

    def _begin(self, items: Sequence[ConsumeRequest], at: int, begun: list[_Begun]) -> None:
        ask = self._straight.ask
        for customer, feature, units, key, _ in items:
            try:
                begun.append(ask(customer, feature, units, key, at))
            except HeadroomError as error:
                begun.append(error)

    async def _straight_away(self, begun: Sequence[_Begun], at: int) -> list[Outcome | None]:
        """Return the outcomes of items that the straight road answers; None of any other.

        All are read in one coroutine: their replies come together, so it waits but once or twice.
        """
        read = self._straight.read
        found: list[Outcome | None] = []
        for asking in begun:
            if not isinstance(asking, Asking):
                found.append(asking)
                continue
            try:
                found.append(read(asking, await asking.reply, at))
            except Unavailable:
                found.append(None)  # what that means is found out of all of them at once
            except HeadroomError as error:
                found.append(error)
        return found

    async def _alone(self, item: ConsumeRequest, asking: _Begun, at: int) -> Outcome:
        try:
            if isinstance(asking, Asking):
                answer = await self._straight.answer(asking, at)
                if answer is not None:
                    return answer
                at = self._straight.later(asking, at)
            return await self._generally(item, at)
        except HeadroomError as error:
            return error
