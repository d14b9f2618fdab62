"""What many callers ask at one moment, answered in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from api.domain.errors import Unavailable

MOST_TOGETHER = 128
"""Keeps one statement short, for callers that wait for the next."""
LANES = 2
"""Statements under way at once: while one is decided the next is made."""
WORTH_A_LANE = 16
"""Fewer wait for the statement under way: each statement costs something for itself."""

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """Batches questions by themselves: whatever comes while an answer is awaited goes next.

    ``ask`` answers questions in their order. ``name`` tells which may not stand beside each other:
    the second waits for the first one's answer. ``order`` sorts a batch.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]],
        name: Callable[[Q], Hashable],
        order: Callable[[Q], int],
    ) -> None:
        self._ask = ask
        self._name = name
        self._order = order
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._lanes: set[asyncio.Task[None]] = set()

    async def __call__(self, question: Q) -> A:
        """Return the answer to ``question``. Raises: whatever ``ask`` raises for it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        crowded = len(self._waiting) >= WORTH_A_LANE and len(self._lanes) < LANES
        if not self._lanes or crowded:
            self._lanes.add(loop.create_task(self._serve(), name="together"))
        return await future

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    await self._answer(batch)
                finally:
                    _fail(batch, Unavailable("the operation was interrupted"))
        finally:
            # In the same breath as the last look at who waits: a callback of the task runs a moment
            # later, and who asked in between would wait for a lane that has ended.
            lane = asyncio.current_task()
            if lane is not None:
                self._lanes.discard(lane)

    def _take(self) -> list[tuple[Q, asyncio.Future[A]]]:
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        later: list[tuple[Q, asyncio.Future[A]]] = []
        named: set[Hashable] = set()
        for one in self._waiting:
            name = self._name(one[0])
            if name in named or len(batch) == MOST_TOGETHER:
                later.append(one)
            else:
                named.add(name)
                batch.append(one)
        self._waiting = later
        batch.sort(key=lambda one: self._order(one[0]))
        return batch

    async def _answer(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        questions = [question for question, _ in batch]
        (answers,) = await asyncio.gather(self._ask(questions), return_exceptions=True)
        if not isinstance(answers, BaseException):
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        elif isinstance(answers, Unavailable) or len(batch) == 1:
            _fail(batch, answers)
        else:
            # One of them is wrong in a way nobody foresaw; the others are not to suffer for it.
            for one in batch:
                await self._answer([one])


def _fail(batch: Iterable[tuple[Q, asyncio.Future[A]]], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
