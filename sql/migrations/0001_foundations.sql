set local lock_timeout = '5s';

-- One row per applied catalog, immutable; the newest revision is the one being moved to.
create table catalog_revisions (
    revision integer generated always as identity primary key,
    body jsonb not null,
    checksum text not null,
    applied_at timestamptz not null,
    applied_by text not null
);

-- Small stable numbers that stand for features in counters and events; never reused.
create table features (
    id integer generated always as identity primary key,
    key text not null constraint features_key_unique unique
);

create table customers (
    id bigint generated always as identity primary key,
    key text not null
        constraint customers_key_unique unique
        constraint customers_key_not_empty check (length(key) between 1 and 200),
    type text not null,
    name text,
    email text,
    timezone text not null default 'UTC',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Grows with every change of what the customer may do; see published_version.
    version bigint not null default 1,
    -- The last version that the counter store is known to have taken.
    published_version bigint not null default 0,
    -- The catalog revision by which the customer is judged.
    catalog_revision integer not null references catalog_revisions,
    -- When the meaning of its facts changes by itself next.
    valid_until timestamptz
);
create index customers_unpublished on customers (id) where published_version < version;
create index customers_email on customers (lower(email)) where email is not null;
create index customers_behind on customers (catalog_revision, id);
create index customers_changing on customers (valid_until) where valid_until is not null;

-- The provider's name for a customer; one customer may have several over its life.
create table customer_links (
    provider text not null,
    provider_id text not null,
    customer_id bigint not null references customers,
    created_at timestamptz not null,
    constraint customer_links_unique primary key (provider, provider_id)
);
create index customer_links_by_customer on customer_links (customer_id);

create table subscriptions (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customers,
    provider text not null,
    provider_id text not null,
    status text not null,
    plan text,
    price text,
    pending_plan text,
    -- [[add-on key, quantity], ...]
    add_ons jsonb not null default '[]',
    current_period_start timestamptz,
    current_period_end timestamptz,
    billing_anchor timestamptz,
    trial_ends_at timestamptz,
    cancel_at_period_end boolean not null default false,
    ends_at timestamptz,
    -- Orders objects applied without being read again; see law 6.
    provider_created_at timestamptz,
    provider_event_id text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint subscriptions_provider_unique unique (provider, provider_id)
);
create index subscriptions_by_customer on subscriptions (customer_id, id);

create table overrides (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customers,
    feature text not null,
    enabled boolean,
    value jsonb,
    -- [{"window": ..., "units": ..., "anchor": ..., "code": ..., "status": ...}, ...]
    limits jsonb not null default '[]',
    reason text not null,
    actor text not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    constraint overrides_one_per_feature unique (customer_id, feature)
);

-- Windows that run on after a change of zone, anchor or plan; see domain/windows.py.
create table window_pins (
    customer_id bigint not null references customers,
    feature text not null,
    window_kind text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    primary key (customer_id, feature, window_kind),
    constraint window_pins_not_empty check (starts_at < ends_at)
);

-- Every operator action, who did it and why.
create table audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    actor text not null,
    action text not null,
    customer_id bigint references customers,
    reason text not null,
    detail jsonb not null default '{}',
    correlation_id text
);
create index audit_log_by_customer on audit_log (customer_id, at);

create table api_keys (
    id bigint generated always as identity primary key,
    name text not null,
    -- SHA-256 of a random 256-bit key: nothing to guess, so nothing slow is needed.
    digest bytea not null constraint api_keys_digest_unique unique,
    prefix text not null,
    scopes text[] not null,
    created_at timestamptz not null,
    revoked_at timestamptz,
    last_used_at timestamptz
);

-- Secrets that this installation made for itself: token signing, webhook of the demo.
create table secrets (
    name text primary key,
    value text not null,
    created_at timestamptz not null
);
