"""Making the payment provider sell what the catalog sells."""

from __future__ import annotations

from collections.abc import Iterable

import strawberry

from api.billing.pushing import Pushed
from api.billing.shelf import Step
from api.catalog.text import require_reason
from api.domain.errors import InvalidInput
from api.schema.context import Info
from api.schema.described import described
from api.schema.scalars import Json


@strawberry.type(description="One call to the provider, of a product or of a price.")
class CatalogPushStep:
    """One step."""

    act: str = strawberry.field(description='As "make_product" or "replace_price".')
    item: str = strawberry.field(description='As "plan:starter".')
    product_id: str
    price_key: str | None
    replaces: str | None = strawberry.field(description="The price that it is about, if any.")
    text: str


@strawberry.type(description="What pushing the catalog does at the provider, or would do.")
class CatalogPush:
    """What came of it."""

    executed: bool
    live: bool = strawberry.field(description="Whether the key is one of real money.")
    steps: list[CatalogPushStep]
    done: list[CatalogPushStep] = strawberry.field(description="Empty on a dry run.")
    sold_no_more: list[CatalogPushStep] = strawberry.field(
        description="What the provider still sells and the catalog does not; it is left alone."
    )
    ids: Json = strawberry.field(description="Ids by name, as STRIPE_PRICE_STARTER.")


@strawberry.type
class PushActions:
    """Selling it at the provider."""

    @described(
        "Make the provider sell what the catalog in force sells; a dry run only shows it. Safe to "
        "repeat. With a live key it is done only if that is confirmed."
    )
    async def push_catalog(
        self,
        info: Info,
        reason: str,
        dry_run: bool = True,  # noqa: FBT001, FBT002 - an argument of the schema
        confirm_live: bool = False,  # noqa: FBT001, FBT002 - an argument of the schema
    ) -> CatalogPush | None:
        """Push. Raises: InvalidInput, ProviderRefused, Unavailable."""
        context = info.context
        pusher = context.services.pusher
        require_reason(reason)
        if not dry_run and pusher.live and not confirm_live:
            raise InvalidInput(
                "This key is live: look at a dry run, then push with confirmLive: true."
            )
        catalog = (await context.services.revisions.current()).catalog
        if dry_run:
            return _push_of(await pusher.show(catalog), executed=False, live=pusher.live)
        pushed = await pusher.push(
            catalog, retire=False, actor=context.caller.actor, reason=reason, at=context.at
        )
        return _push_of(pushed, executed=True, live=pusher.live)


def _push_of(pushed: Pushed, *, executed: bool, live: bool) -> CatalogPush:
    return CatalogPush(
        executed=executed,
        live=live,
        steps=_steps_of(pushed.plan.steps),
        done=_steps_of(pushed.done),
        sold_no_more=_steps_of(pushed.plan.gone),
        ids=Json(dict(pushed.names)),
    )


def _steps_of(steps: Iterable[Step]) -> list[CatalogPushStep]:
    return [
        CatalogPushStep(
            act=step.act.value,
            item=step.item,
            product_id=step.product,
            price_key=step.name or None,
            replaces=step.old,
            text=str(step),
        )
        for step in steps
    ]
