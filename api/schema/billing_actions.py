"""What customers, and services for them, ask of the payment provider."""

from __future__ import annotations

import strawberry

from api.billing.actions import By, Ending, When
from api.billing.baskets import Basket
from api.catalog.text import require_reason
from api.gates.principal import Scope
from api.schema.billing_operations import BillingOperation, operation_of
from api.schema.context import Context, Info
from api.schema.described import described
from api.schema.given import given
from api.schema.plan_preview import PlanPreview, previewed

strawberry.enum(When, name="PlanChangeTime", description="When a plan changes.")
strawberry.enum(
    Ending,
    name="SubscriptionEnding",
    description="How a subscription ends. NOW and NOW_PRORATED are for support; the latter gives "
    "unused time back as credit on the customer's balance at Stripe. Neither refunds a payment.",
)

_OWN = "asked by the customer"
_SERVICE = "asked by a service"


@strawberry.input
class AddOnQuantityInput:
    """So many of one add-on."""

    add_on: str
    quantity: int


@strawberry.input(description="A plan with its add-ons, or a number of one pack.")
class CheckoutInput:
    """What is to be bought."""

    customer: str | None = strawberry.UNSET
    plan: str | None = strawberry.UNSET
    price: str | None = strawberry.UNSET
    add_ons: list[AddOnQuantityInput] = strawberry.field(default_factory=list)
    pack: str | None = strawberry.UNSET
    quantity: int = 1
    promotion_code: str | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input
class PortalSessionInput:
    """Whose page is to be opened."""

    customer: str | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input(description="price may be left out where the plan has one of the same interval.")
class PlanPreviewInput:
    """What would be changed."""

    customer: str | None = strawberry.UNSET
    plan: str
    price: str | None = strawberry.UNSET
    when: When = When.NOW
    subscription: str | None = strawberry.UNSET


@strawberry.input(description="price may be left out where the plan has one of the same interval.")
class ChangePlanInput:
    """What is to be changed."""

    customer: str | None = strawberry.UNSET
    plan: str
    price: str | None = strawberry.UNSET
    when: When = When.NOW
    subscription: str | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input(
    description="subscription: the provider's id, where a customer has several. "
    "To end it now, support says a reason."
)
class CancelSubscriptionInput:
    """What is to end."""

    customer: str | None = strawberry.UNSET
    ending: Ending = Ending.PERIOD_END
    subscription: str | None = strawberry.UNSET
    reason: str | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input
class ResumeSubscriptionInput:
    """What is to go on."""

    customer: str | None = strawberry.UNSET
    subscription: str | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input(description="A quantity of 0 gives the add-on up.")
class SetAddOnInput:
    """How many of an add-on."""

    customer: str | None = strawberry.UNSET
    add_on: str
    quantity: int
    subscription: str | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input
class PromotionCodeInput:
    """A discount for a subscription."""

    customer: str | None = strawberry.UNSET
    code: str
    subscription: str | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.type
class BillingQuestions:
    """What a change would cost."""

    @described("What a change of plan would cost, and what would be over its limits.")
    async def preview_plan_change(
        self,
        info: Info,
        input: PlanPreviewInput,  # noqa: A002 - the schema's name
    ) -> PlanPreview | None:
        """Preview a change. Raises: see ``BillingActions``."""
        context = info.context
        return await previewed(
            context,
            context.caller.customer_for(given(input.customer)),
            input.plan,
            given(input.price),
            input.when,
            given(input.subscription),
        )


@strawberry.type
class BillingActs:
    """Buying, changing, ending."""

    @described(
        "Open a page where the customer buys; one of the same that is open is given back. "
        "What was bought arrives by its events. A plan is for who holds none: see changePlan."
    )
    async def create_checkout(self, info: Info, input: CheckoutInput) -> BillingOperation | None:  # noqa: A002 - likewise
        """Open a checkout."""
        context = info.context
        basket = Basket(
            plan=given(input.plan),
            price=given(input.price),
            add_ons=tuple((one.add_on, one.quantity) for one in input.add_ons),
            pack=given(input.pack),
            quantity=input.quantity,
            promotion_code=given(input.promotion_code),
        )
        done = await context.services.billing.checkout(
            context.caller.customer_for(given(input.customer)),
            basket,
            by=_by(context, given(input.idempotency_key)),
            at=context.at,
        )
        return operation_of(done)

    @described("Open the provider's own page: cards, addresses, invoices.")
    async def create_portal_session(
        self,
        info: Info,
        input: PortalSessionInput,  # noqa: A002 - likewise
    ) -> BillingOperation | None:
        """Open the portal."""
        context = info.context
        done = await context.services.billing.portal(
            context.caller.customer_for(given(input.customer)),
            by=_by(context, given(input.idempotency_key)),
            at=context.at,
        )
        return operation_of(done)

    @described(
        "Move to another plan; to the present one takes a scheduled change back. "
        "Add-ons that are not sold beside it are given up: see removedAddOns."
    )
    async def change_plan(self, info: Info, input: ChangePlanInput) -> BillingOperation | None:  # noqa: A002 - likewise
        """Change the plan."""
        context = info.context
        done = await context.services.billing.change_plan(
            context.caller.customer_for(given(input.customer)),
            input.plan,
            price=given(input.price),
            when=input.when,
            subscription=given(input.subscription),
            by=_by(context, given(input.idempotency_key)),
            at=context.at,
        )
        return operation_of(done)

    @described("End a subscription, with its period unless support says otherwise.")
    async def cancel_subscription(
        self,
        info: Info,
        input: CancelSubscriptionInput,  # noqa: A002 - likewise
    ) -> BillingOperation | None:
        """Cancel."""
        context = info.context
        if input.ending is not Ending.PERIOD_END:
            context.caller.expect(Scope.SUPPORT)
            require_reason(given(input.reason) or "")
        done = await context.services.billing.cancel(
            context.caller.customer_for(given(input.customer)),
            ending=input.ending,
            subscription=given(input.subscription),
            by=_by(context, given(input.idempotency_key), given(input.reason)),
            at=context.at,
        )
        return operation_of(done)

    @described("Let a subscription go on that was to end or to change with its period.")
    async def resume_subscription(
        self,
        info: Info,
        input: ResumeSubscriptionInput,  # noqa: A002 - likewise
    ) -> BillingOperation | None:
        """Resume."""
        context = info.context
        done = await context.services.billing.resume(
            context.caller.customer_for(given(input.customer)),
            subscription=given(input.subscription),
            by=_by(context, given(input.idempotency_key)),
            at=context.at,
        )
        return operation_of(done)

    @described("Hold so many of an add-on; none can always be asked for.")
    async def set_add_on_quantity(
        self,
        info: Info,
        input: SetAddOnInput,  # noqa: A002 - likewise
    ) -> BillingOperation | None:
        """Buy or drop add-ons."""
        context = info.context
        done = await context.services.billing.set_add_on(
            context.caller.customer_for(given(input.customer)),
            input.add_on,
            input.quantity,
            subscription=given(input.subscription),
            by=_by(context, given(input.idempotency_key)),
            at=context.at,
        )
        return operation_of(done)

    @described(
        "Put a promotion code's discount beside those of a subscription; for customers, once."
    )
    async def apply_promotion_code(
        self,
        info: Info,
        input: PromotionCodeInput,  # noqa: A002 - likewise
    ) -> BillingOperation | None:
        """Apply a code."""
        context = info.context
        done = await context.services.billing.apply_promotion(
            context.caller.customer_for(given(input.customer)),
            input.code,
            subscription=given(input.subscription),
            by=_by(context, given(input.idempotency_key)),
            at=context.at,
        )
        return operation_of(done)


def _by(context: Context, key: str | None, reason: str | None = None) -> By:
    caller = context.caller
    own = caller.customer is not None
    return By(caller.actor, reason or (_OWN if own else _SERVICE), key, own=own)
