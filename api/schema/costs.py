"""What actions cost in credits, and the packs that bring more."""

from __future__ import annotations

import strawberry

from api.domain import catalog as domain
from api.domain import funding
from api.gates.principal import Principal
from api.schema.context import Info
from api.schema.described import described
from api.schema.plans import Feature, Price, feature_of, price_of
from api.schema.scalars import ONE, Units
from api.schema.words import CreditBucket, CreditRounding


@strawberry.type(
    description="What a feature costs: units x credits / per, rounded, at least the minimum. The "
    "one source of prices for front ends."
)
class CreditCost:
    """The price of one feature in credits."""

    cost: strawberry.Private[domain.CreditCost]
    feature: Feature
    credits: Units
    per: Units
    rounding: CreditRounding
    minimum: Units

    @described("What so many units cost together, to the credit.")
    def price(self, units: Units = ONE) -> Units:
        """Price units. Raises: InvalidInput."""
        return Units(funding.price(self.cost, units))


@strawberry.type(description="Credits that are bought once.")
class Pack:
    """A pack in the catalog."""

    key: str
    name: str
    credits: Units
    bucket: CreditBucket
    expires_days: int | None = strawberry.field(description="Null: never.")
    prices: list[Price]
    features: list[Feature] = strawberry.field(
        description="What its credits may be spent on; empty: on everything."
    )


@strawberry.type
class CostQuestions:
    """Prices in credits."""

    @described("What features cost in credits, in the catalog's order.")
    async def credit_costs(self, info: Info) -> list[CreditCost]:
        """List every price."""
        catalog = info.context.services.revisions.newest.catalog
        return [
            CreditCost(
                cost=cost,
                feature=feature_of(catalog.features[key]),
                credits=Units(cost.credits),
                per=Units(cost.per),
                rounding=cost.rounding,
                minimum=Units(cost.minimum),
            )
            for key, cost in catalog.costs.items()
        ]

    @described("Packs of credits, in the catalog's order: a customer sees the public ones.")
    async def packs(self, info: Info) -> list[Pack]:
        """List what can be bought."""
        catalog = info.context.services.revisions.newest.catalog
        return [
            _pack_of(catalog, pack)
            for pack in catalog.packs.values()
            if _seen(info.context.caller, pack)
        ]


def _seen(caller: Principal, pack: domain.Pack) -> bool:
    return caller.customer is None or pack.public


def _pack_of(catalog: domain.Catalog, pack: domain.Pack) -> Pack:
    return Pack(
        key=pack.key,
        name=pack.name,
        credits=Units(pack.credits),
        bucket=pack.bucket,
        expires_days=pack.expires_days,
        prices=[price_of(one) for one in pack.prices],
        features=[
            feature_of(catalog.features[key]) for key in catalog.features if key in pack.features
        ],
    )
