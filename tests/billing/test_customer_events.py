"""Events of customers: what their metadata says links them, and rouses what waited for it."""

from typing import Any

from api.billing.looks import Look, look
from tests.support.clock import FakeClock
from tests.support.reconciling import paired


async def test_metadata_that_is_set_later_tells_who_waited(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        pair.customers["acme"] = pair.stripe.customer()
        await pair.subscribe("acme")
        await pair.hear()
        assert await pair.desk.plan("acme") == "free"
        api = pair.desk.door.api
        link: Any = {"metadata": {"headroom_customer": "acme"}}
        await api.ask(api.v1.customers.update_async(pair.customers["acme"], link))
        await pair.hear()
        assert await pair.desk.plan("acme") == "starter"
        assert await pair.desk.count("customer_links") == 1


async def test_a_look_at_a_customer_links_it_as_its_event_would(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        pair.stripe.webhooks.on = False
        name = pair.stripe.customer(metadata={"headroom_customer": "acme"})
        async with pair.desk.core.database.transaction() as conn:
            await look(conn, "stripe", Look.CUSTOMER, [name], clock.now())
        await pair.desk.work()
        assert await pair.desk.states() == ["applied"]
        assert await pair.desk.count("customer_links") == 1
