"""Running a coroutine without a task, for as long as it only waits for futures.

A task costs a tenth of what a decision does, and the usual decision waits for one future: the reply
of the counters. So its coroutine is stepped from the callback that brought the request, and then
from the one that brought the reply. What may need more (a time limit, a lock of a library, reading
the record) begins with ``await in_task()``: from there on it is in a task, as anywhere else. Each
step runs in a copy of the context of the one before, so no token of a context variable may be reset
after a wait.
"""

from __future__ import annotations

import asyncio
import types
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class _TaskWanted:
    """What a coroutine yields that needs a task."""

    def __await__(self) -> Generator[Any, None, None]:
        if asyncio.current_task() is None:
            yield self


_TASK_WANTED = _TaskWanted()


def in_task() -> Awaitable[None]:
    """Return what to await before whatever needs a task. In a task that costs next to nothing."""
    return _TASK_WANTED


class Taskless(ABC, Generic[_T]):
    """One coroutine under way; what comes of it is told to ``ended``."""

    _coroutine: Coroutine[Any, Any, _T] | None = None

    @abstractmethod
    def ended(self, value: _T | None, error: BaseException | None) -> None:
        """Take what the coroutine returned, or the ``error`` that it raised."""

    @abstractmethod
    def handed_over(self, task: asyncio.Task[Any]) -> None:
        """Hear that ``task`` runs the rest; whoever stops the process may want to wait for it."""

    @property
    def running(self) -> bool:
        """Whether it was begun and has not ended."""
        return self._coroutine is not None

    def begin(self, coroutine: Coroutine[Any, Any, _T], *, in_task: bool = False) -> None:
        """Run ``coroutine`` until it waits, or have a task run it; context of its own either way.

        It is stepped at once: perhaps it has ended when this returns.
        """
        self._coroutine = coroutine
        if in_task:
            self._hand_over(coroutine)
        else:
            copy_context().run(self._step)

    def _step(self, _waited: asyncio.Future[Any] | None = None) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            raise RuntimeError("nothing was begun")
        try:
            waiting = coroutine.send(None)
        except StopIteration as end:
            self._coroutine = None
            self.ended(end.value, None)
        except BaseException as error:  # noqa: BLE001 - a task, too, keeps whatever is raised
            self._coroutine = None
            self.ended(None, error)
        else:
            if isinstance(waiting, asyncio.Future):
                waiting._asyncio_future_blocking = False  # noqa: SLF001 - as every task does
                waiting.add_done_callback(self._step)
            else:
                self._hand_over(_rest(coroutine, waiting))

    def _hand_over(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(self._task_ended)
        self.handed_over(task)

    def _task_ended(self, task: asyncio.Task[_T]) -> None:
        self._coroutine = None
        if task.cancelled():
            self.ended(None, asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.ended(None, error)
        else:
            self.ended(task.result(), None)


async def _rest(coroutine: Coroutine[Any, Any, _T], waiting: object) -> _T:
    """Go on with what has begun, and yielded ``waiting``."""
    return await _resumed(coroutine, waiting)


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, _T], waiting: object) -> Generator[Any, None, _T]:
    if waiting is not _TASK_WANTED:
        yield waiting
    # Not ``await``: it would refuse a coroutine that somebody else began.
    ended: _T = yield from coroutine
    return ended
