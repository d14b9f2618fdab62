"""Who may ask for what: one table, held before every field of it.

Whatever can be reached is stated here. A root field, or a field of its own line, asks for one of
its scopes; the fields of any other type ask for nothing more than the field that led to them. A
field that is not stated cannot be built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from strawberry.extensions import FieldExtension
from strawberry.extensions.field_extension import AsyncExtensionResolver, SyncExtensionResolver
from strawberry.types.base import get_object_definition

from api.domain.errors import Forbidden
from api.gates.principal import Principal, Scope
from api.schema.context import Info

C = TypeVar("C", bound=type)


@dataclass(frozen=True, slots=True)
class Rule:
    """Any of ``scopes`` opens; ``tokens``: also where a customer's token has it."""

    scopes: tuple[Scope, ...]
    tokens: bool = False
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(scope.value for scope in self.scopes))

    def expect(self, principal: Principal) -> None:
        """Go on only where this rule lets ``principal`` pass. Raises: Forbidden."""
        if principal.customer is not None and not self.tokens:
            raise Forbidden("A customer's token does not reach this field.")
        if self.names.isdisjoint(principal.scopes):
            wanted = " or ".join(repr(scope.value) for scope in self.scopes)
            raise Forbidden(f"This needs the scope {wanted}, which this {principal.kind} lacks.")


_READ = Rule((Scope.CHECK,), tokens=True)
_MANAGE = Rule((Scope.MANAGE,), tokens=True)
_USE = Rule((Scope.CONSUME,), tokens=True)
_SERVICE = Rule((Scope.CONSUME,))
_SUPPORT = Rule((Scope.SUPPORT,))
_ADMIN = Rule((Scope.ADMIN,))

FIELDS: Mapping[str, Rule] = {
    "Query.node": _READ,
    "Query.plans": _READ,
    "Query.plan": _READ,
    "Query.me": _READ,
    "Query.customer": _READ,
    "Query.check": _READ,
    "Query.creditCosts": _READ,
    "Query.packs": _READ,
    # What is bought, and what it costs.
    "Query.previewPlanChange": _MANAGE,
    "Mutation.createCheckout": _MANAGE,
    "Mutation.createPortalSession": _MANAGE,
    "Mutation.changePlan": _MANAGE,
    "Mutation.cancelSubscription": _MANAGE,
    "Mutation.resumeSubscription": _MANAGE,
    "Mutation.setAddOnQuantity": _MANAGE,
    "Mutation.applyPromotionCode": _MANAGE,
    "Query.findCustomers": _SUPPORT,
    "Query.billingOperations": _SUPPORT,
    "Mutation.refundPayment": _SUPPORT,
    "Mutation.createCoupon": _SUPPORT,
    "Mutation.resendInvoice": _SUPPORT,
    "Mutation.markInvoicePaid": _SUPPORT,
    "Query.customers": _SUPPORT,
    "Query.explainEntitlement": _SUPPORT,
    "Query.auditLog": _SUPPORT,
    "Query.webhookEvents": _SUPPORT,
    "Query.webhookEvent": _SUPPORT,
    "Query.signatureFailures": _SUPPORT,
    "Query.signatureFailureGroups": _SUPPORT,
    "Query.alerts": _SUPPORT,
    "Query.trace": _SUPPORT,
    "Query.reconciliationFindings": _SUPPORT,
    "Query.reconciliationRuns": _SUPPORT,
    "Query.webhookReport": _SUPPORT,
    "Query.catalogRevisions": _SUPPORT,
    "Query.apiKeys": _ADMIN,
    "Mutation.consume": _USE,
    "Mutation.consumeTogether": _USE,
    "Mutation.consumeEach": _USE,
    "Mutation.release": _USE,
    # Whoever voids a hold gives back what was used, which is never the customer's to do.
    "Mutation.placeHold": _SERVICE,
    "Mutation.captureHold": _SERVICE,
    "Mutation.voidHold": _SERVICE,
    "Mutation.extendHold": _SERVICE,
    "Mutation.endHold": _SUPPORT,
    # What a customer holds is the product's to state, never the customer's.
    "Mutation.stateAllocation": _SERVICE,
    # Whoever signs customers up tells us of them; so may whoever helps them.
    "Mutation.upsertCustomer": Rule((Scope.CONSUME, Scope.SUPPORT)),
    # A product's backend mints for its own front end, and gives no more than it has.
    "Mutation.mintCustomerToken": _SERVICE,
    "Mutation.setOverride": _SUPPORT,
    "Mutation.clearOverride": _SUPPORT,
    "Query.usageExplain": _SUPPORT,
    "Mutation.resetUsage": _SUPPORT,
    "Mutation.rebuildUsage": _SUPPORT,
    "Mutation.rebuildEntitlements": _SUPPORT,
    "Mutation.rebuildAllEntitlements": _ADMIN,
    "Mutation.replayWebhook": _SUPPORT,
    "Mutation.replayWebhooks": _SUPPORT,
    "Mutation.catchUpWebhooks": _SUPPORT,
    "Mutation.acknowledgeAlert": _SUPPORT,
    "Mutation.syncSubscriptions": _ADMIN,
    "Mutation.acceptProviderAccount": _ADMIN,
    "Mutation.retryFinding": _SUPPORT,
    "Mutation.resolveFinding": _SUPPORT,
    "Mutation.applyCatalog": _ADMIN,
    "Mutation.pushCatalog": _ADMIN,
    "Mutation.createApiKey": _ADMIN,
    "Mutation.revokeApiKey": _ADMIN,
    "Query.heavyUsers": _SUPPORT,
    "Query.creditFindings": _SUPPORT,
    "Mutation.grantCredits": _SUPPORT,
    "Mutation.adjustCredits": _SUPPORT,
    "Mutation.voidGrant": _SUPPORT,
    "Mutation.rebuildCreditBalances": _SUPPORT,
    # Not of one customer.
    "Mutation.refundOvercharged": _ADMIN,
    "Customer.overrides": _SUPPORT,
}
"""The rule of each root field, and of those fields that ask for more than their type."""

TYPES: frozenset[str] = frozenset(
    {
        "Alert",
        "AlertConnection",
        "AlertEdge",
        "ReconciliationFinding",
        "ReconciliationDifference",
        "ReconciliationReport",
        "ReconciliationRun",
        "ReconciliationRunConnection",
        "ReconciliationRunEdge",
        "ApiKey",
        "AuditEntry",
        "AuditEntryConnection",
        "AuditEntryEdge",
        "BillingOperation",
        "BillingOperationConnection",
        "BillingOperationEdge",
        "BucketFunding",
        "CatalogApplication",
        "CatalogChange",
        "CatalogPush",
        "CatalogPushStep",
        "CatalogRevision",
        "CatalogRevisionConnection",
        "CatalogRevisionEdge",
        "ConsumeOutcome",
        "Consumption",
        "CreatedApiKey",
        "CreditCost",
        "CreditBucketBalance",
        "CreditChange",
        "CreditDifference",
        "CreditEntry",
        "CreditEntryConnection",
        "CreditEntryEdge",
        "CreditFeatureLine",
        "CreditFigures",
        "CreditFinding",
        "CreditGrant",
        "CreditGrantConnection",
        "CreditGrantEdge",
        "CreditMovement",
        "CreditRefund",
        "CreditStatement",
        "CreditVoid",
        "Credits",
        "HeavyUser",
        "Customer",
        "CustomerConnection",
        "CustomerEdge",
        "CustomerToken",
        "Decision",
        "Denial",
        "Entitlement",
        "EntitlementExplanation",
        "ExplainedCounter",
        "ExplainedLimit",
        "ExplainedUsage",
        "FeatureUsage",
        "UsageExplanation",
        "UsageRepair",
        "ExplainedOffer",
        "ExplainedSubscription",
        "Feature",
        "FoundCustomers",
        "Funding",
        "Hold",
        "Invoice",
        "InvoiceConnection",
        "InvoiceEdge",
        "HoldConnection",
        "HoldEdge",
        "Limit",
        "Override",
        "OverrideLimit",
        "Pack",
        "PageInfo",
        "Plan",
        "PlanConnection",
        "PlanCredits",
        "PlanExcess",
        "PlanPreview",
        "ProviderCustomer",
        "PlanEdge",
        "PlanFeature",
        "Price",
        "SignatureFailure",
        "SignatureFailureGroup",
        "Subscription",
        "SubscriptionChange",
        "SubscriptionChangeConnection",
        "SubscriptionChangeEdge",
        "Trace",
        "TraceEntry",
        "UsagePoint",
        "WebhookCatchUp",
        "WebhookDay",
        "WebhookEvent",
        "WebhookEventConnection",
        "WebhookEventEdge",
        "WebhookRefusals",
        "WebhookReport",
        "WebhookTypeFailure",
        "WebhookTypeOutcome",
        "WindowUsage",
    }
)
"""Types whose fields ask for nothing more than the field that led to them."""


class Guard(FieldExtension):
    """Holds one rule before one field."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def resolve(
        self,
        next_: SyncExtensionResolver,
        source: Any,  # noqa: ANN401 - whatever the field belongs to
        info: Info,
        **kwargs: Any,
    ) -> Any:  # noqa: ANN401 - whatever the field gives
        """Ask the rule, then the field."""
        self.rule.expect(info.context.caller)
        return next_(source, info, **kwargs)

    async def resolve_async(
        self,
        next_: AsyncExtensionResolver,
        source: Any,  # noqa: ANN401 - whatever the field belongs to
        info: Info,
        **kwargs: Any,
    ) -> Any:  # noqa: ANN401 - whatever the field gives
        """Ask the rule, then the field."""
        self.rule.expect(info.context.caller)
        return await next_(source, info, **kwargs)


def guarded(type_: C) -> C:
    """Hold before each field of ``type_`` what the table states.

    Raises: LookupError, for a root field of which nothing is stated.
    """
    definition = get_object_definition(type_, strict=True)
    for own in definition.fields:
        name = own.graphql_name or _camel(own.python_name)
        rule = FIELDS.get(f"{definition.name}.{name}")
        if rule is not None:
            own.extensions.append(Guard(rule))
        elif definition.name in ("Query", "Mutation"):
            raise LookupError(f"scopes.py does not say who may ask for {definition.name}.{name}")
    return type_


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
