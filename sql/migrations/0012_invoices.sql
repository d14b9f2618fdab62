set local lock_timeout = '5s';

-- The provider's invoices as they were last read or told, for the customer's page and for reports.
create table invoices (
    id bigint generated always as identity primary key,
    provider text not null,
    provider_id text not null,
    customer_id bigint references customers,
    provider_customer text,
    subscription_id text,
    number text,
    status text not null,
    currency text not null,
    total_minor bigint not null,
    due_minor bigint not null,
    paid_minor bigint not null,
    remaining_minor bigint not null,
    period_start timestamptz,
    period_end timestamptz,
    created_at timestamptz not null,
    due_at timestamptz,
    paid_at timestamptz,
    voided_at timestamptz,
    attempts integer not null default 0,
    next_attempt_at timestamptz,
    reason text,
    hosted_url text,
    pdf_url text,
    -- Order two states of one invoice, where only events tell of it; see law 6.
    told_at timestamptz not null,
    told_by text not null,
    updated_at timestamptz not null,
    constraint invoices_unique unique (provider, provider_id)
);
create index invoices_by_customer on invoices (customer_id, id) where customer_id is not null;
create index invoices_of_nobody on invoices (provider, provider_customer)
    where customer_id is null;
create index invoices_by_subscription on invoices (provider, subscription_id, period_start)
    where subscription_id is not null;

-- What each change of a subscription came to, in the money of a month, so that history can be told.
create table subscription_changes (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customers,
    provider text not null,
    provider_id text not null,
    at timestamptz not null,
    kind text not null,
    status_before text,
    status_after text not null,
    plan_before text,
    plan_after text,
    price_before text,
    price_after text,
    currency text,
    -- Null where the provider did not tell what a price comes to.
    mrr_minor_before bigint,
    mrr_minor_after bigint,
    detail jsonb not null default '{}',
    cause text not null,
    correlation_id text
);
create index subscription_changes_by_subscription
    on subscription_changes (provider, provider_id, id);
create index subscription_changes_by_customer on subscription_changes (customer_id, id);
create index subscription_changes_by_time on subscription_changes (at);

-- Whatever carries a correlation id can be found by it.
create index subscription_changes_by_correlation on subscription_changes (correlation_id)
    where correlation_id is not null;
create index webhook_events_by_correlation on webhook_events (correlation_id)
    where correlation_id is not null;
create index credit_entries_by_correlation on credit_entries (correlation_id)
    where correlation_id is not null;
create index audit_log_by_correlation on audit_log (correlation_id)
    where correlation_id is not null;
create index provider_operations_by_correlation on provider_operations (correlation_id)
    where correlation_id is not null;
create index alerts_by_correlation on alerts (correlation_id) where correlation_id is not null;
