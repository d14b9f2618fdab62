set local lock_timeout = '5s';

-- What a person should know of, once for each window: a durable row, and a metric beside it.
create table alerts (
    id bigint generated always as identity primary key,
    kind text not null,
    severity text not null
        constraint alerts_severity check (severity in ('info', 'warning', 'critical')),
    -- What it is about: an address, an object, a customer; empty where it is about everything.
    subject text not null default '',
    period timestamptz not null,
    at timestamptz not null,
    message text not null,
    detail jsonb not null default '{}',
    correlation_id text,
    acknowledged_at timestamptz,
    acknowledged_by text,
    note text,
    constraint alerts_once_per_window unique (kind, subject, period)
);
create index alerts_open on alerts (id) where acknowledged_at is null;

-- How far a list of the provider's was read.
create table provider_cursors (
    provider text not null,
    name text not null,
    -- Everything up to this instant was read.
    reached_at timestamptz not null,
    seen_at timestamptz not null,
    constraint provider_cursors_unique primary key (provider, name)
);

-- How an event came: by the provider's delivery, from its list, or from ourselves, as a look.
alter table webhook_events
    add column origin text not null default 'delivered'
        constraint webhook_events_origin check (origin in ('delivered', 'listed', 'own')),
    -- Nobody waits for it: what a comparison of everything found comes after what happens now.
    add column later boolean not null default false;
drop index webhook_events_due;
create index webhook_events_due on webhook_events (later, next_attempt_at, id)
    where state in ('pending', 'failed');
create index webhook_events_by_arrival on webhook_events (provider, origin, received_at);
