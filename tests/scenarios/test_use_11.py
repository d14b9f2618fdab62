"""USE-11: the record is unreachable.

Hydrated fast features go on until a bounded journal is full, then their policy; journaled ones
refuse.
"""

import pytest

from api.domain import keys
from api.domain.errors import Unavailable
from api.gates.outcome import Consumption, Denied
from tests.conftest import EnginesFactory
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.scene import recorded, used

CATALOG = """
product = "outage"

[customer_types.business]
default_plan = "free"

[features.fast]
name = "Fast"
kind = "metered"

[features.lenient]
name = "Lenient"
kind = "metered"
outage = "open"

[features.careful]
name = "Careful"
kind = "metered"
outage = { bounded = 5 }

[features.sure]
name = "Sure"
kind = "metered"
durability = "journaled"

[features.seats]
name = "Seats"
kind = "allocation"

[plans.free]
name = "Free"
[plans.free.features]
fast.day = 12
lenient.day = 100
careful.day = 100
sure.day = 100
seats = 5
"""
JOURNAL = 20
SHARD = keys.shard_of("acme")


async def test_without_the_record_fast_features_go_on_within_the_journal(
    engines_factory: EnginesFactory, clock: FakeClock
) -> None:
    engines = await engines_factory()
    at = ms(clock.now())
    async with opened(
        engines.database_url,
        engines.redis_url,
        clock,
        CATALOG,
        ("acme", "cold"),
        HEADROOM_JOURNAL_MAX_ENTRIES=str(JOURNAL),
    ) as core:
        consume = core.gate.consume
        for feature in ("fast", "lenient", "careful", "sure", "seats"):
            assert isinstance(await consume("acme", feature, 1, None, at), Consumption)
        await core.drainer.drain([SHARD])
        await engines.kill_postgres()

        # The limit holds as before, and says so; nothing is degraded.
        for _ in range(11):
            passed = await consume("acme", "fast", 1, None, at)
            assert isinstance(passed, Consumption)
            assert not passed.degraded
        denied = await consume("acme", "fast", 1, None, at)
        assert isinstance(denied, Denied)
        assert (denied.decisions[0].status, denied.decisions[0].code) == (429, "DAILY_CAP_EXCEEDED")

        # What must be in the record first, and who is not known yet, is refused.
        for feature in ("sure", "seats"):
            for key in ("k1", "k2"):
                with pytest.raises(Unavailable):
                    await consume("acme", feature, 1, f"{feature}-{key}", at)
        with pytest.raises(Unavailable):
            await consume("cold", "fast", 1, None, at)

        # Until the journal is full; then each feature's own policy holds.
        waiting = int(await core.door.command("XLEN", keys.journal(SHARD)))
        for _ in range(JOURNAL - waiting):
            passed = await consume("acme", "lenient", 1, None, at)
            assert isinstance(passed, Consumption)
            assert not passed.degraded
        assert await core.door.command("XLEN", keys.journal(SHARD)) == JOURNAL
        passed = await consume("acme", "lenient", 1, "blind", at)
        assert isinstance(passed, Consumption)
        assert passed.degraded
        with pytest.raises(Unavailable):
            await consume("acme", "careful", 1, None, at)

        # The record comes back: everything that passed is in it, once, and journaled ones go on.
        await engines.restart_postgres()
        while await core.drainer.drain([SHARD]):
            pass
        assert await recorded(core, "fast") == 12
        assert await recorded(core, "lenient") == 1 + JOURNAL - waiting
        for feature in ("sure", "seats"):
            retried = await consume("acme", feature, 1, f"{feature}-k1", at)
            assert isinstance(retried, Consumption)
            assert await used(core, feature, clock.now()) == [await recorded(core, feature)]
        assert isinstance(await consume("cold", "fast", 1, None, at), Consumption)
        snapshot = await core.holders.snapshot("acme", clock.now())
        assert await core.drift.compare("acme", snapshot, clock.now()) == ()
