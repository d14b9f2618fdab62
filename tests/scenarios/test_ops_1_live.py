"""OPS-1 with real money: a live key is pushed with only by who says so."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.support.clock import FakeClock
from tests.support.program import CATALOG, HEADROOM, Ran, folder, serving

LIVE = "sk_live_" + "b" * 24
EXECUTE = ("catalog", "push", "--execute", "--reason", "go live")


@dataclass
class Live:
    """A server whose key is live, and the commands of its operator."""

    data_dir: Path
    stripe: SimulatedStripe

    async def push(self, typed: bytes | None, *more: str) -> Ran:
        """Push as somebody who types this at a terminal; None: nobody is there."""
        return await asyncio.to_thread(self._push, typed, more)

    def _push(self, typed: bytes | None, more: tuple[str, ...]) -> Ran:
        terminal, theirs = os.openpty()
        try:
            if typed is not None:
                os.write(terminal, typed)
            ran = subprocess.run(  # noqa: S603 - our own program
                [HEADROOM, *EXECUTE, *more],
                env={
                    **os.environ,
                    "HEADROOM_DATA_DIR": str(self.data_dir),
                    "STRIPE_SECRET_KEY": LIVE,
                    "STRIPE_API_BASE": self.stripe.address,
                },
                stdin=subprocess.DEVNULL if typed is None else theirs,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            os.close(terminal)
            os.close(theirs)
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    @property
    def writes(self) -> int:
        return self.stripe.faults.asked(method="POST")


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    with folder() as data_dir, serving(data_dir, "--catalog", str(CATALOG)):
        async with simulated_stripe(FakeClock(datetime(2026, 3, 1, tzinfo=UTC))) as stripe:
            stripe.door.key = LIVE
            yield Live(data_dir, stripe)


async def test_a_live_key_changes_nothing_before_yes_is_typed_or_given(live: Live) -> None:
    for typed in (b"no\n", b"y\n", b"YES\n", b"\x04"):
        refused = await live.push(typed)
        assert refused.status != 0, typed
        assert "make product  plan:starter" in refused.err
        assert "This key is live" in refused.err
        assert live.writes == 0

    nobody = await live.push(None)
    assert nobody.status != 0
    assert "give --yes" in nobody.err
    assert live.writes == 0

    typed_yes = await live.push(b"yes\n")
    assert typed_yes.status == 0, typed_yes.err
    assert {price["lookup_key"] for price in live.stripe.all("price")} == {
        *("starter", "pro", "firm", "firm_addon")
    }
    assert "STRIPE_PRICE_FIRM_ADDON=price_" in typed_yes.out

    written = live.writes
    again = await live.push(None)
    assert again.status == 0, again.err
    assert live.writes == written


async def test_a_live_key_is_not_asked_about_where_yes_is_given(live: Live) -> None:
    done = await live.push(None, "--yes")
    assert done.status == 0, done.err
    assert "This key is live" not in done.err
    assert "STRIPE_PRODUCT_STARTER=headroom_bookkeeper_plan_starter" in done.out
