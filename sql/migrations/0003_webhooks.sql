set local lock_timeout = '5s';

-- Every event the provider told us, once, before it is acknowledged.
create table webhook_events (
    id bigint generated always as identity primary key,
    provider text not null,
    event_id text not null,
    type text not null,
    api_version text,
    object_id text,
    provider_created_at timestamptz not null,
    received_at timestamptz not null,
    payload jsonb not null,
    state text not null default 'pending'
        constraint webhook_events_state
        check (state in ('pending', 'applied', 'ignored', 'failed', 'parked')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null,
    handled_at timestamptz,
    error text,
    correlation_id text,
    constraint webhook_events_unique unique (provider, event_id)
);
create index webhook_events_due on webhook_events (next_attempt_at, id)
    where state in ('pending', 'failed');
create index webhook_events_by_object on webhook_events (provider, object_id);

-- Deliveries whose signature did not hold: capped per address and minute, then only counted.
create table webhook_signature_failures (
    id bigint generated always as identity primary key,
    endpoint text not null,
    at timestamptz not null,
    minute timestamptz not null,
    remote_address text not null,
    user_agent text,
    payload_id text,
    customer text,
    reason text not null,
    count bigint not null default 1
);
create index webhook_signature_failures_by_address
    on webhook_signature_failures (remote_address, minute);
