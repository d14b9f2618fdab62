set local lock_timeout = '5s';

-- The epoch of each shard of customers: state in the counter store that is stamped with another
-- is unknown. run_id names the server on which the epoch was opened.
create table shard_epochs (
    shard smallint primary key constraint shard_epochs_in_range check (shard between 0 and 255),
    epoch bigint not null,
    run_id text not null
);
insert into shard_epochs (shard, epoch, run_id)
select s, 0, '' from generate_series(0, 255) as s;

-- How far each shard's journal is in the record, per epoch; moved in the transaction that
-- records the entries.
create table drain_positions (
    shard smallint not null,
    epoch bigint not null,
    entry_ms bigint not null default 0,
    entry_seq bigint not null default 0,
    primary key (shard, epoch)
);

-- What was used, one row per item of an operation; negative units give back. Whatever an
-- operation leaves behind is unique by its id, so a journal entry that is read twice, or that
-- comes back with an older journal, counts once.
create table usage_events (
    customer_id bigint not null,
    operation_id text not null,
    item smallint not null,
    at timestamptz not null,
    feature_id integer not null,
    units bigint not null,
    kind text not null default 'consume',
    constraint usage_events_unique primary key (customer_id, operation_id, item, at)
) partition by range (at);
create index usage_events_by_feature on usage_events (customer_id, feature_id, at);

-- Units per customer, feature and hour (UTC): any window is whole hours plus two edges, so the
-- record can fill a window that nobody had thought of when the units were used.
create table usage_totals (
    customer_id bigint not null,
    feature_id integer not null,
    hour timestamptz not null,
    units bigint not null,
    primary key (customer_id, feature_id, hour)
);

-- What never resets: units held of an allocation, units ever used of a metered feature.
create table balances (
    customer_id bigint not null,
    feature_id integer not null,
    units bigint not null,
    primary key (customer_id, feature_id)
);

-- Operations whose caller named them, with their answers, until the end of the replay period.
create table operations (
    customer_id bigint not null,
    operation_id text not null,
    at timestamptz not null,
    expires_at timestamptz not null,
    fingerprint text not null,
    answer bytea not null,
    primary key (customer_id, operation_id)
);
create index operations_expired on operations (expires_at);

-- Units given back of one consumption, unique by the release's own id.
create table usage_releases (
    customer_id bigint not null,
    consumption_id text not null,
    operation_id text not null,
    item smallint not null,
    units bigint not null,
    at timestamptz not null,
    primary key (customer_id, consumption_id, operation_id)
);

-- Units that passed while the counters could not be reached. 'recorded': in the record, and the
-- counters may not know it yet; 'settled': both agree.
create table blind_operations (
    customer_id bigint not null,
    operation_id text not null,
    feature_id integer not null,
    item smallint not null default 0,
    units bigint not null,
    at timestamptz not null,
    fingerprint text not null default '',
    expires_at timestamptz,
    state text not null default 'open'
        constraint blind_operations_state check (state in ('open', 'recorded', 'settled')),
    primary key (customer_id, operation_id, item)
);
create index blind_operations_open on blind_operations (customer_id, feature_id)
    where state <> 'settled';
