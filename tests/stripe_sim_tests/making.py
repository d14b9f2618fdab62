"""Short ways to what most tests begin with."""

from collections.abc import Callable, Coroutine
from typing import Any

import stripe


async def price_of(
    api: stripe.StripeClient,
    amount: int = 3000,
    *,
    key: str | None = None,
    interval: str = "month",
) -> str:
    product = await api.v1.products.create_async({"name": key or "Plan"})
    said: dict[str, Any] = {
        "product": product.id,
        "currency": "usd",
        "unit_amount": amount,
        "recurring": {"interval": interval},
    }
    if key is not None:
        said["lookup_key"] = key
    return (await api.v1.prices.create_async(said)).id  # type: ignore[arg-type]


async def subscribed(
    api: stripe.StripeClient, customer: str, price: str, **more: Any
) -> stripe.Subscription:
    said: Any = {"customer": customer, "items": [{"price": price}], **more}
    return await api.v1.subscriptions.create_async(said)


def taking(
    taken: list[tuple[bytes, str]], status: int = 200
) -> Callable[[bytes, str], Coroutine[Any, Any, int]]:
    async def take(body: bytes, header: str) -> int:
        taken.append((body, header))
        return status

    return take
