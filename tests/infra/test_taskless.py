"""A coroutine without a task: what comes of it is what would have come of it in one."""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from api.infra.taskless import Taskless, in_task

_word: ContextVar[str] = ContextVar("_word", default="none")


class Seen(Taskless[object]):
    """Keeps what came of it."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome: tuple[object, BaseException | None] | None = None
        self.task: asyncio.Task[Any] | None = None
        self.over = asyncio.Event()

    def ended(self, value: object, error: BaseException | None) -> None:
        self.outcome = (value, error)
        self.over.set()

    def handed_over(self, task: asyncio.Task[Any]) -> None:
        self.task = task


def begun(coroutine: Coroutine[Any, Any, object], *, in_task: bool = False) -> Seen:
    seen = Seen()
    seen.begin(coroutine, in_task=in_task)
    return seen


async def ended(seen: Seen) -> tuple[object, BaseException | None]:
    async with asyncio.timeout(5):
        await seen.over.wait()
    assert seen.outcome is not None
    assert not seen.running
    return seen.outcome


async def test_what_waits_for_nothing_has_ended_when_it_was_begun() -> None:
    async def ask() -> object:
        return asyncio.current_task(), "said"

    running = asyncio.current_task()
    seen = begun(ask())
    assert seen.outcome == ((running, "said"), None)  # this test's own: it is in its callback
    assert not seen.running
    assert seen.task is None


async def test_it_waits_for_futures_one_after_another_without_a_task() -> None:
    futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
    futures[1].set_result(10)

    async def ask() -> object:
        said = [await one for one in futures]
        return said, asyncio.current_task()

    seen = begun(ask())
    assert seen.running
    futures[0].set_result(1)
    futures[2].set_result(100)
    assert await ended(seen) == (([1, 10, 100], None), None)
    assert seen.task is None


async def test_an_error_of_a_future_is_raised_in_it_and_its_own_is_told() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask() -> object:
        with pytest.raises(ValueError, match="lost"):
            await future
        raise KeyError("mine")

    seen = begun(ask())
    future.set_exception(ValueError("lost"))
    value, error = await ended(seen)
    assert value is None
    assert isinstance(error, KeyError)


async def test_a_future_that_is_cancelled_is_an_error_like_any_other() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask() -> object:
        await future
        return None

    seen = begun(ask())
    future.cancel()
    _, error = await ended(seen)
    assert isinstance(error, asyncio.CancelledError)


async def outside(coroutine: Coroutine[Any, Any, object], *, in_task: bool = False) -> Seen:
    """Begin in a callback, as the event loop brings requests: there is no task then."""
    made: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()

    def call() -> None:
        made.set_result(begun(coroutine, in_task=in_task))

    asyncio.get_running_loop().call_soon(call)
    return await made


async def test_what_needs_a_task_is_in_one_from_where_it_says_so() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ask() -> object:
        first = asyncio.current_task()
        said = await future
        then = asyncio.current_task()
        await in_task()
        task = asyncio.current_task()
        await in_task()
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return first, said, then, task is asyncio.current_task(), task

    seen = await outside(ask())
    assert seen.task is None
    future.set_result("said")
    value, error = await ended(seen)
    assert (value, error) == ((None, "said", None, True, seen.task), None)
    assert seen.task is not None


async def test_without_a_word_a_time_limit_has_no_task() -> None:
    async def ask() -> object:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return None

    _, error = await ended(await outside(ask()))
    assert isinstance(error, RuntimeError)


async def test_what_gives_up_its_turn_goes_on_in_a_task() -> None:
    async def ask() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    seen = await outside(ask())
    assert await ended(seen) == (seen.task, None)


async def test_one_that_wants_a_task_at_once_has_it_from_its_first_step() -> None:
    async def ask() -> object:
        return asyncio.current_task()

    seen = await outside(ask(), in_task=True)
    assert await ended(seen) == (seen.task, None)


async def test_a_task_that_is_cancelled_ends_it() -> None:
    async def ask() -> object:
        await in_task()
        await asyncio.Event().wait()
        return None

    seen = await outside(ask())
    assert seen.task is not None
    await asyncio.sleep(0)
    seen.task.cancel()
    _, error = await ended(seen)
    assert isinstance(error, asyncio.CancelledError)


async def test_each_has_a_context_of_its_own_from_its_beginning_to_its_end() -> None:
    futures = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def ask(word: str, future: asyncio.Future[None], *, task: bool) -> object:
        before = _word.get()
        _word.set(word)
        await future
        if task:
            await in_task()
        return before, _word.get()

    one = await outside(ask("one", futures[0], task=False))
    two = await outside(ask("two", futures[1], task=True))
    for future in futures:
        future.set_result(None)
    assert await ended(one) == (("none", "one"), None)
    assert await ended(two) == (("none", "two"), None)
    assert _word.get() == "none"
