"""``kill -9`` of the server between its journal and Stripe's answer: done once, and known.

Stripe has done the work and holds its answer back; who asked is dead. Another server asks again
under the same key once the dead one's lease is over.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx

from api.infra.postgres import Database
from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.support.clock import FakeClock
from tests.support.program import CATALOG, run
from tests.support.server import server
from tests.support.waiting import eventually, until

BUY = 'mutation { createCheckout(input: {customer: "acme", plan: "pro"}) { id state } }'


class _OnceSold(asyncio.Event):
    """Holds answers back from when a page was made; what is read before that is answered."""

    def __init__(self, stripe: SimulatedStripe) -> None:
        super().__init__()
        self.stripe = stripe

    async def wait(self) -> Literal[True]:
        return await super().wait() if pages(self.stripe) else True


def pages(stripe: SimulatedStripe) -> int:
    return len(stripe.all("checkout.session"))


async def test_what_was_asked_by_a_server_that_died_is_done_once_and_confirmed(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with (
        simulated_stripe(FakeClock(datetime.now(UTC))) as stripe,
        await Database.open(database_url) as database,
    ):
        settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "STRIPE_SECRET_KEY": stripe.key,
            "STRIPE_API_BASE": stripe.address,
            "BILLING_RETURN_URL": "https://app.example.com/billing",
        }

        async def do(*said: str) -> str:
            ran = await asyncio.to_thread(lambda: run(*said, data_dir=None, **settings))
            assert ran.status == 0, ran.err
            return ran.out.strip()

        arguments = ("--catalog", CATALOG)
        async with server(tmp_path / "log", *arguments, **settings) as served:
            await do("catalog", "push", "--execute", "--reason", "a test")
            await do("customers", "create", "acme")
            key = await do("keys", "create", "shop", "--scope", "support")
            assert stripe.server is not None
            stripe.server.gate = gate = _OnceSold(stripe)
            async with httpx.AsyncClient(timeout=60) as client:
                asking = asyncio.create_task(
                    client.post(
                        f"{served.address}/graphql",
                        json={"query": BUY},
                        headers={"Authorization": f"Bearer {key}"},
                    )
                )
                await until(lambda: pages(stripe) == 1)
                await served.kill()
                with suppress(httpx.HTTPError):
                    await asking
            state = "select state from provider_operations"
            assert await database.fetchval(state) == "pending"
            gate.set()
            # The dead one's lease, which nobody waits out here.
            await database.execute("update provider_operations set next_attempt_at = created_at")

            await served.start()

            async def confirmed() -> bool:
                return bool(await database.fetchval(state) == "confirmed")

            await eventually(confirmed, patience_seconds=60)
        [row] = await database.fetch("select * from provider_operations")
        assert row["attempts"] > 1
        assert pages(stripe) == 1
        [page] = stripe.all("checkout.session")
        assert row["answer"]["checkout"] == page["id"]
