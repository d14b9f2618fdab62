set local lock_timeout = '5s';

-- What somebody asks of the provider, written before it is asked: the operation's id is the
-- idempotency key there, so that an unknown outcome is found out by asking again.
create table provider_operations (
    id bigint generated always as identity primary key,
    operation_id text not null constraint provider_operations_unique unique,
    provider text not null,
    customer_id bigint references customers,
    action text not null,
    object_id text,
    request jsonb not null,
    -- The caller's own name for it, and within what: said again it is the same operation.
    key_scope text not null,
    caller_key text,
    fingerprint text not null,
    state text not null default 'pending'
        constraint provider_operations_state
        check (state in ('pending', 'answered', 'confirmed', 'refused', 'unknown')),
    answer jsonb,
    error text,
    attempts integer not null default 0,
    next_attempt_at timestamptz not null,
    actor text not null,
    reason text not null,
    correlation_id text,
    created_at timestamptz not null,
    answered_at timestamptz,
    ended_at timestamptz
);
create unique index provider_operations_by_key
    on provider_operations (key_scope, caller_key) where caller_key is not null;
-- An older operation is never done after a newer one on the same object.
create unique index provider_operations_one_by_one
    on provider_operations (provider, object_id) where state = 'pending';
create index provider_operations_due on provider_operations (next_attempt_at, id)
    where state = 'pending';
create index provider_operations_unconfirmed on provider_operations (provider, object_id)
    where state = 'answered';
create index provider_operations_by_customer on provider_operations (customer_id, id);

-- A change of plan that the provider makes by itself at an instant. Apart from pending_plan, which
-- waits for its payment and is dropped as abandoned where that never comes.
alter table subscriptions
    add column scheduled_plan text,
    add column scheduled_price text,
    add column scheduled_at timestamptz,
    add constraint subscriptions_scheduled_whole
        check ((scheduled_plan is null) = (scheduled_at is null));
