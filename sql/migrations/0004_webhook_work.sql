set local lock_timeout = '5s';

-- The lock on one of the provider's objects, from before it is read until what was read is
-- written, without a transaction standing open meanwhile. The token is the holder's: a lock that
-- was taken over has another, and what the former holder read is not written any more.
create table provider_locks (
    provider text not null,
    object_id text not null,
    token uuid not null,
    held_until timestamptz not null,
    constraint provider_locks_unique primary key (provider, object_id)
);

alter table webhook_events
    -- What hinders it, in one stable word; "error" tells a person.
    add column problem text,
    -- Whom it concerned, known once it was applied.
    add column customer_id bigint references customers;
create index webhook_events_by_customer on webhook_events (customer_id, id)
    where customer_id is not null;
create index webhook_events_parked on webhook_events (id) where state = 'parked';

-- The n-th failure of one address in one minute; the last slot counts whatever comes after it.
alter table webhook_signature_failures
    add column slot smallint not null default 1
        constraint webhook_signature_failures_slot_positive check (slot > 0),
    add constraint webhook_signature_failures_capped
        unique (remote_address, minute, endpoint, slot);
drop index webhook_signature_failures_by_address;
create index webhook_signature_failures_by_minute on webhook_signature_failures (minute);
