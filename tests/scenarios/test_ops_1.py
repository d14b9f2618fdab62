"""OPS-1: an operator sets up a Stripe account from the catalog."""

import asyncio
from datetime import UTC, datetime

from tests.stripe_sim import simulated_stripe
from tests.support.clock import FakeClock
from tests.support.program import CATALOG, Ran, folder, run, serving


async def test_a_push_shows_then_does_and_then_has_nothing_to_do() -> None:
    with folder() as data_dir, serving(data_dir, "--catalog", str(CATALOG)):
        async with simulated_stripe(FakeClock(datetime(2026, 3, 1, tzinfo=UTC))) as stripe:

            async def push(*options: str, key: str = stripe.key) -> Ran:
                return await asyncio.to_thread(
                    run,
                    *("catalog", "push", *options),
                    data_dir=data_dir,
                    STRIPE_SECRET_KEY=key,
                    STRIPE_API_BASE=stripe.address,
                )

            keyless = await push(key="")
            assert keyless.status != 0
            assert "STRIPE_SECRET_KEY" in keyless.err

            shown = await push()
            assert shown.status == 0, shown.err
            assert "make product  plan:starter" in shown.err
            assert list(stripe.all("product")) == []

            done = await push("--execute", "--reason", "a new account")
            assert done.status == 0, done.err
            (starter,) = [p["id"] for p in stripe.all("price") if p["lookup_key"] == "starter"]
            assert f"STRIPE_PRICE_STARTER={starter}" in done.out
            assert "STRIPE_PRODUCT_STARTER=headroom_bookkeeper_plan_starter" in done.out

            unsaid = await push("--execute")
            assert unsaid.status != 0
            assert "--reason" in unsaid.err

            again = await push("--execute", "--reason", "to be sure", "--json")
            assert again.said["steps"] == []
            assert again.said["ids"]["STRIPE_PRICE_STARTER"] == starter
