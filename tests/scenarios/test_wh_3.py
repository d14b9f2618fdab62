"""WH-3: while the secret is being rotated, both the old one and the new one are accepted."""

from api.infra.settings import Settings
from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Json, Life, body_of, signed

OLD, NEW = "whsec_" + "o" * 32, "whsec_" + "n" * 32


def secrets_of(setting: str) -> tuple[str, ...]:
    return Settings.from_environment({"STRIPE_WEBHOOK_SECRET": setting}).stripe_webhook_secrets


def events(clock: FakeClock, count: int) -> list[Json]:
    life = Life("acme", clock.now(), named=True, prices={"starter": 1})
    return [life.became("active") for _ in range(count)]


async def test_both_secrets_are_accepted_during_the_overlap_and_one_after_it(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    told = events(clock, 4)
    signatures = [
        signed(body_of(one), clock.now(), s) for one, s in zip(told, [OLD, NEW] * 2, strict=True)
    ]
    both = secrets_of(f"{OLD},{NEW}")
    async with paying(database_url, redis_url, clock, secrets=both, reads=False) as books:
        for one, signature in zip(told[:2], signatures[:2], strict=True):
            assert (await books.deliver(one, signature=signature)).status_code == 200
        assert await books.work() == 2
    async with paying(
        database_url, redis_url, clock, secrets=secrets_of(NEW), reads=False
    ) as books:
        statuses = [
            (await books.deliver(one, signature=signature)).status_code
            for one, signature in zip(told[2:], signatures[2:], strict=True)
        ]
        assert statuses == [400, 200]
