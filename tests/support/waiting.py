"""Waiting for something to become true, for as short as it takes and never for ever."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool], *, patience_seconds: float = 30) -> None:
    """Return once the condition holds; raise TimeoutError where it does not in time."""
    async with asyncio.timeout(patience_seconds):
        while not condition():  # noqa: ASYNC110 - what other processes do sets no event
            await asyncio.sleep(0.002)


async def eventually(
    condition: Callable[[], Awaitable[object]], *, patience_seconds: float = 30
) -> None:
    """Return once the condition, which has to be asked for, holds; raise TimeoutError else."""
    async with asyncio.timeout(patience_seconds):
        while not await condition():  # noqa: ASYNC110 - what others do sets no event
            await asyncio.sleep(0.002)
