"""SUB-13, asked by the customer: an add-on is bought, changed and given up."""

from tests.support.clock import FakeClock
from tests.support.dealing import dealing


async def test_an_add_on_is_bought_changed_and_given_up(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        await deal.subscribe("firm")
        for quantity, limit in ((2, 12), (3, 13), (0, 10)):
            await deal.done("setAddOnQuantity", addOn="firm_addon", quantity=quantity)
            await deal.work()
            assert await deal.limit("companies") == limit
        assert (await deal.standing())["pendingOperations"] == []
