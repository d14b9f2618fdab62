"""Whatever callers ask at one moment is answered together, and nobody waits for ever."""

import asyncio
from collections.abc import Sequence

from api.ledger.together import Together


async def test_who_asks_right_after_an_answer_is_answered_too() -> None:
    async def ask(questions: Sequence[int]) -> Sequence[int]:
        return [question + 1 for question in questions]

    together = Together[int, int](ask, name=lambda q: q, order=lambda q: q)
    async with asyncio.timeout(5):
        for number in range(50):
            assert await together(number) == number + 1
