"""The schema as one whole."""

from __future__ import annotations

import strawberry
from strawberry.schema.config import StrawberryConfig

from api.schema.alerts import AlertActions, AlertQuestions
from api.schema.audit import AuditQuestions
from api.schema.billing_actions import BillingActs, BillingQuestions
from api.schema.bookkeeping import CreditActions, CreditQuestions
from api.schema.catalogs import CatalogActions, CatalogQuestions
from api.schema.costs import CostQuestions
from api.schema.credentials import CredentialActions, CredentialQuestions
from api.schema.customers import Customer, Subscription
from api.schema.holds import HoldActions
from api.schema.mutations import Actions
from api.schema.overrides import OverrideActions
from api.schema.plans import Plan
from api.schema.pushing import PushActions
from api.schema.queries import Questions
from api.schema.reconciling import ReconciliationActions, ReconciliationQuestions
from api.schema.scalars import SCALARS
from api.schema.scopes import guarded
from api.schema.support import SupportQuestions
from api.schema.support_billing import SupportBillingActs, SupportBillingQuestions
from api.schema.traces import TraceQuestions
from api.schema.usage import UsageActions, UsageQuestions
from api.schema.webhook_report import WebhookReportActions, WebhookReportQuestions
from api.schema.webhooks import WebhookActions, WebhookQuestions


@guarded
@strawberry.type
class Query(
    Questions,
    SupportQuestions,
    UsageQuestions,
    CatalogQuestions,
    CostQuestions,
    CreditQuestions,
    CredentialQuestions,
    WebhookQuestions,
    WebhookReportQuestions,
    BillingQuestions,
    SupportBillingQuestions,
    AuditQuestions,
    AlertQuestions,
    TraceQuestions,
    ReconciliationQuestions,
):
    """Everything that can be asked."""


@guarded
@strawberry.type
class Mutation(
    Actions,
    HoldActions,
    UsageActions,
    OverrideActions,
    CatalogActions,
    PushActions,
    CreditActions,
    CredentialActions,
    WebhookActions,
    WebhookReportActions,
    BillingActs,
    SupportBillingActs,
    AlertActions,
    ReconciliationActions,
):
    """Everything that can be done."""


def build_schema() -> strawberry.Schema:
    """Build the schema. Cost: tens of milliseconds, once per process."""
    return strawberry.Schema(
        query=Query,
        mutation=Mutation,
        types=[Plan, Customer, Subscription],
        config=StrawberryConfig(scalar_map=SCALARS),
    )
