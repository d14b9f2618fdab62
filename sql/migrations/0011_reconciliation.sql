set local lock_timeout = '5s';

-- Differences with the provider that take an act or a person, until they are put right.
create table reconciliation_queue (
    id bigint generated always as identity primary key,
    provider text not null,
    kind text not null,
    object_id text not null,
    customer_id bigint references customers,
    state text not null default 'open'
        constraint reconciliation_queue_state
        check (state in ('open', 'acting', 'resolved', 'given_up')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null,
    last_error text,
    detail jsonb not null default '{}',
    found_at timestamptz not null,
    resolved_at timestamptz,
    resolved_by text,
    resolution text,
    acted_at timestamptz,
    approved_at timestamptz,
    correlation_id text
);
create unique index reconciliation_queue_once on reconciliation_queue (provider, kind, object_id)
    where state <> 'resolved';
create index reconciliation_queue_due on reconciliation_queue (next_attempt_at, id)
    where state in ('open', 'acting');
create index reconciliation_queue_by_object on reconciliation_queue (provider, kind, object_id);
create index reconciliation_queue_acted on reconciliation_queue (provider, acted_at)
    where acted_at is not null;

-- Each comparison with the provider: what was looked at, what differed, what was done.
create table reconciliation_runs (
    id bigint generated always as identity primary key,
    provider text not null,
    scope text not null,
    execute boolean not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    counts jsonb not null default '{}',
    error text,
    actor text not null,
    reason text not null,
    correlation_id text
);

-- Which of the provider's accounts the record was made from.
create table provider_accounts (
    provider text primary key,
    -- Null where the key may not ask for it.
    account_id text,
    live boolean not null,
    since timestamptz not null
);

-- A recurring task that did not end is begun again soon after it was last seen at work.
alter table schedules
    add column alive_at timestamptz not null default 'epoch',
    add column ended boolean not null default true;

-- What a running comparison has seen at the provider; worth nothing after a crash.
create unlogged table reconciliation_seen (
    run_id bigint not null,
    provider_id text not null,
    constraint reconciliation_seen_unique primary key (run_id, provider_id)
);
