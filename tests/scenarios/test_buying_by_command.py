"""What is bought at the provider by an operator, each command end to end."""

import asyncio
from datetime import UTC, datetime

from tests.stripe_sim import simulated_stripe
from tests.support.clock import FakeClock
from tests.support.program import CATALOG, Ran, folder, run_here, serving


async def test_an_operator_opens_pages_and_sees_what_was_asked() -> None:
    with folder() as data_dir, serving(data_dir, "--catalog", str(CATALOG)):
        async with simulated_stripe(FakeClock(datetime(2026, 3, 1, tzinfo=UTC))) as stripe:

            async def do(*said: str) -> Ran:
                ran = await asyncio.to_thread(
                    run_here,
                    *said,
                    data_dir=data_dir,
                    STRIPE_SECRET_KEY=stripe.key,
                    STRIPE_API_BASE=stripe.address,
                    BILLING_RETURN_URL="https://app.example.com/billing",
                )
                assert ran.status == 0, ran.err
                return ran

            why = ("--reason", "a test", "--json")
            await do("catalog", "push", "--execute", "--reason", "a test")
            await do("customers", "create", "acme", "--email", "acme@example.com")
            opened = await do(
                *("checkout", "create", "acme", "--plan", "firm", "--add-on", "firm_addon=2"), *why
            )
            assert opened.said["answer"]["url"].startswith("https://checkout.stripe.com/")
            listed = await do("operations", "list", "--customer", "acme", "--json")
            assert [one["id"] for one in listed.said] == [opened.said["id"]]
