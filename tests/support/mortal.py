"""Processes that die between two awaits, at a place that a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Counted(Generic[T]):
    """Steps through a coroutine; whoever waits the ``places``-th time is dead."""

    def __init__(self, steps: Coroutine[Any, Any, T], places: int) -> None:
        self._steps = steps
        self._left = places

    def __await__(self) -> Generator[Any, Any, T]:
        """Hand on what is waited for, until it is time to die."""
        going = self._steps.__await__()
        awaited = next_of(going)
        while not isinstance(awaited, _Ended):
            self._left -= 1
            if self._left == 0 and (dying := asyncio.current_task()) is not None:
                dying.cancel()
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001 - handed on as it is
                awaited = next_of(going, error)
            else:
                awaited = next_of(going, sent=sent)
        result: T = awaited.value
        return result


class _Ended:
    def __init__(self, value: Any) -> None:  # noqa: ANN401 - whatever the coroutine returns
        self.value = value


def next_of(
    going: Generator[Any, Any, Any],
    error: BaseException | None = None,
    sent: Any = None,  # noqa: ANN401 - what the loop sends
) -> Any:  # noqa: ANN401 - what the loop gets
    """Return what is awaited next, or that it has ended."""
    try:
        return going.send(sent) if error is None else going.throw(error)
    except StopIteration as stop:
        return _Ended(stop.value)


async def dying(steps: Coroutine[Any, Any, T], places: int) -> T | None:
    """Run until the ``places``-th await and die there; None where it did, 0 never dies."""

    async def run() -> T:
        return await _Counted(steps, places)

    (ended,) = await asyncio.gather(asyncio.ensure_future(run()), return_exceptions=True)
    if isinstance(ended, asyncio.CancelledError):
        return None
    if isinstance(ended, BaseException):
        raise ended
    return ended
