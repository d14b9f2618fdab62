-- name: positions :many
-- How far these shards are drained under these epochs; a pair never drained has no row.
select p.shard, p.entry_ms, p.entry_seq
from drain_positions as p
join unnest($1::smallint[], $2::bigint[]) as asked (shard, epoch) using (shard, epoch);

-- name: fence :many
-- Those of the shards that are still under the epoch in which their journal was read, held there
-- until the commit: whoever opens the next epoch, to fill counters from the record, waits for it.
select e.shard
from shard_epochs as e
join unnest($1::smallint[], $2::bigint[]) as asked (shard, epoch) using (shard, epoch)
order by e.shard
for share of e;

-- name: make_positions :exec
-- Makes the rows that are missing, in a statement of its own: the one that locks them must see
-- those that another drainer made meanwhile.
insert into drain_positions (shard, epoch)
select * from unnest($1::smallint[], $2::bigint[])
on conflict do nothing;

-- name: claim_positions :many
-- Locks in order of shard, so that two drainers of the same shards take turns and never wait for
-- each other crosswise.
select p.shard, p.entry_ms, p.entry_seq
from drain_positions as p
join unnest($1::smallint[], $2::bigint[]) as asked (shard, epoch) using (shard, epoch)
order by p.shard
for update of p;

-- name: move_positions :exec
-- In the transaction that records the entries, under the lock of claim_positions.
update drain_positions as p
set entry_ms = moved.entry_ms, entry_seq = moved.entry_seq
from unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[])
    as moved (shard, epoch, entry_ms, entry_seq)
where p.shard = moved.shard and p.epoch = moved.epoch;

-- name: record_events :one
-- The one place where usage enters the record. What is there already (a journal read twice, one
-- that came back older) is left out by the primary key, and totals and balances grow by exactly
-- what was inserted. Sorted, so that concurrent writers meet rows in one order: those of one
-- operation may come from its journal and its decision at once (credits_charge, migrations/0007).
with inserted as (
    insert into usage_events (
        customer_id, operation_id, item, at, feature_id, units, kind, charged
    )
    select *
    from unnest(
        $1::bigint[], $2::text[], $3::smallint[], $4::timestamptz[], $5::integer[], $6::bigint[],
        $7::text[], $8::bigint[]
    ) as given (customer_id, operation_id, item, at, feature_id, units, kind, charged)
    order by customer_id, operation_id, item
    on conflict do nothing
    returning customer_id, feature_id, at, units, charged
),
totals as (
    insert into usage_totals as t (customer_id, feature_id, hour, units, charged)
    select customer_id, feature_id, date_trunc('hour', at, 'UTC'), sum(units), sum(charged)
    from inserted
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (customer_id, feature_id, hour) do update
    set units = t.units + excluded.units, charged = t.charged + excluded.charged
),
held as (
    insert into balances as b (customer_id, feature_id, units, charged)
    select customer_id, feature_id, sum(units), sum(charged)
    from inserted
    group by 1, 2
    order by 1, 2
    on conflict (customer_id, feature_id) do update
    set units = b.units + excluded.units, charged = b.charged + excluded.charged
)
select count(*) from inserted;

-- name: record_answers :exec
-- Answers of named operations. A key may be used again once its replay period is over.
insert into operations as o (customer_id, operation_id, at, expires_at, fingerprint, answer)
select distinct on (1, 2) *
from unnest(
    $1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::bytea[]
) as given (customer_id, operation_id, at, expires_at, fingerprint, answer)
order by 1, 2, 3 desc
on conflict (customer_id, operation_id) do update
set at = excluded.at,
    expires_at = excluded.expires_at,
    fingerprint = excluded.fingerprint,
    answer = excluded.answer
where o.expires_at <= excluded.at;

-- name: told_before :many
-- Which of these named operations the record holds from another instant, still to be replayed at
-- the one given. Primary key of operations.
select given.place
from unnest($1::integer[], $2::bigint[], $3::text[], $4::timestamptz[])
    as given (place, customer_id, operation_id, at)
join operations as o using (customer_id, operation_id)
where o.at <> given.at and o.expires_at > given.at;

-- name: find_answer :one
-- The answer of a named operation that is still to be replayed at this instant.
select fingerprint, answer, at from operations
where customer_id = $1 and operation_id = $2 and expires_at > $3;

-- name: answers :many
-- Unexpired answers of one customer, for a counter store that lost them, and what it let pass for
-- those in which credits took part; some at a time, from one name on. Names of our own are not asked
-- again. Primary keys.
select operation_id, expires_at, fingerprint, answer from (
    (
        select o.operation_id, o.expires_at, o.fingerprint, o.answer from operations as o
        where o.customer_id = $1 and o.operation_id > $3 and o.expires_at > $2
        order by o.operation_id
        limit $4
    )
    union all
    (
        select o.operation_id, o.expires_at, o.fingerprint, o.answer from credit_operations as o
        where o.customer_id = $1 and o.operation_id > $3 and o.expires_at > $2
            and o.kind in ('consume', 'hold') and not starts_with(o.operation_id, '~')
        order by o.operation_id
        limit $4
    )
) as known
order by operation_id
limit $4;

-- name: used_since :many
-- Units of each feature from an instant on, or of them those that credits did not pay for: whole
-- hours from the totals, the edge before the first
-- whole hour from the events. Primary key of usage_totals; usage_events_by_feature, with
-- partitions before the edge pruned when it runs.
select
    asked.place,
    coalesce((
        select sum(case when asked.included then t.units - t.charged else t.units end)
        from usage_totals as t
        where t.customer_id = $1 and t.feature_id = asked.feature_id and t.hour >= asked.whole
    ), 0)::bigint
    + case when asked.whole = asked.since then 0 else coalesce((
        select sum(case when asked.included then e.units - e.charged else e.units end)
        from usage_events as e
        where e.customer_id = $1 and e.feature_id = asked.feature_id
            and e.at >= asked.since and e.at < asked.whole
    ), 0)::bigint end as units
from unnest($2::integer[], $3::integer[], $4::timestamptz[], $5::timestamptz[], $6::boolean[])
    as asked (place, feature_id, since, whole, included);

-- name: balances :many
-- What never resets, of one customer. Primary key.
select feature_id, units, charged from balances where customer_id = $1;

-- name: open_holds :many
-- Holds of one customer that the counters show apart. holds_open.
select id, feature_id, units, charged, captured, at, version from holds
where customer_id = $1 and state = 'open' and counted
order by at, id;

-- name: count_holds :exec
-- Holds placed while no limit counted their feature, which one does now. holds_open.
update holds set counted = true
where customer_id = $1 and state = 'open' and not counted and feature_id = any ($2::integer[]);

-- name: record_pending :exec
-- What the counters let pass and the record has yet to decide. Before record_events: what is in the
-- record already was decided, or given up, or is pending from an earlier reading of the journal.
insert into credit_pending (
    customer_id, attempt_id, at, deadline, feature_ids, units, charged
)
select
    p.customer_id, p.attempt_id, p.at, p.at + $7::interval,
    string_to_array(p.feature_ids, ',')::integer[], string_to_array(p.units, ',')::bigint[],
    string_to_array(p.charged, ',')::bigint[]
from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[])
    as p (customer_id, attempt_id, at, feature_ids, units, charged)
where not exists (
    select from usage_events as e
    where e.customer_id = p.customer_id and e.operation_id = p.attempt_id and e.at = p.at
)
on conflict do nothing;

-- name: decided_attempts :many
-- Which of these attempts the record has decided. credit_operations_by_attempt.
select customer_id, attempt_id
from credit_operations
join unnest($1::bigint[], $2::text[]) as undone (customer_id, attempt_id)
    using (customer_id, attempt_id);

-- name: end_pending :exec
-- What the counters took back by themselves: a tombstone, by which another caller that adopted the
-- attempt can no longer have it decided. Sorted, as other drainers may meet the same.
insert into credit_pending as p (
    customer_id, attempt_id, at, deadline, state, told, feature_ids, units, charged
)
select customer_id, attempt_id, at, at, 'void', true, '{}', '{}', '{}'
from unnest($1::bigint[], $2::text[], $3::timestamptz[]) as undone (customer_id, attempt_id, at)
order by customer_id, attempt_id
on conflict (customer_id, attempt_id) do update
set state = 'void', told = true
where p.state = 'open';

-- name: overdue_pending :many
-- Pending units past their deadline, and those voided of which the counters do not know yet.
-- credit_pending_open, credit_pending_untold.
select p.customer_id, p.attempt_id, c.key as customer_key
from credit_pending as p
join customers as c on c.id = p.customer_id
where (p.state = 'open' and p.deadline <= $1) or (p.state = 'void' and not p.told)
order by p.deadline
limit $2;

-- name: take_pending :one
-- One of them, under the lock of the customer's ledger; whether it was decided all the same. Primary
-- key; credit_operations_by_attempt.
select p.at, p.state, p.feature_ids, p.units, p.charged, exists (
    select from credit_operations as o
    where o.customer_id = p.customer_id and o.attempt_id = p.attempt_id
) as decided
from credit_pending as p
where p.customer_id = $1 and p.attempt_id = $2;

-- name: void_pending :one
-- The tombstone: a decision that comes late fails by it. Locked after the usage was taken back, in
-- the order of a drainer that takes it back at the same time; what it ended needs no telling.
update credit_pending set state = 'void'
where customer_id = $1 and attempt_id = $2 and state = 'open'
returning true;

-- name: forget_pending :exec
-- It was decided after all.
delete from credit_pending where customer_id = $1 and attempt_id = $2;

-- name: drop_decided :exec
-- Of what was just read as pending, attempts that were decided meanwhile: record_pending did not see
-- the decision, nor the decision the row. After record_events, which waits for a decision that is
-- under way; one that waits for it finds the row by itself. Primary key; credit_operations_by_attempt.
delete from credit_pending as p
using unnest($1::bigint[], $2::text[]) as awaiting (customer_id, attempt_id)
join credit_operations as o using (customer_id, attempt_id)
where p.customer_id = o.customer_id and p.attempt_id = o.attempt_id and p.state = 'open';

-- name: told_pending :exec
-- The counters know that it was voided.
update credit_pending set told = true where customer_id = $1 and attempt_id = $2;

-- name: old_tombstones :exec
-- No decision is so late.
delete from credit_pending where state = 'void' and told and deadline < $1;

-- name: history :many
-- Units per customer, feature and interval: whole hours from the totals, where a bound cuts an hour
-- its events. The last two arrays say per interval: first and last whole hour inside it.
select
    asked.place,
    case when asked.first_whole < asked.last_whole then
        coalesce((
            select sum(t.units) from usage_totals as t
            where t.customer_id = asked.customer_id and t.feature_id = asked.feature_id
                and t.hour >= asked.first_whole and t.hour < asked.last_whole
        ), 0)::bigint
        + case when asked.starts_at = asked.first_whole then 0 else coalesce((
            select sum(e.units) from usage_events as e
            where e.customer_id = asked.customer_id and e.feature_id = asked.feature_id
                and e.at >= asked.starts_at and e.at < asked.first_whole
        ), 0)::bigint end
        + case when asked.last_whole = asked.ends_at then 0 else coalesce((
            select sum(e.units) from usage_events as e
            where e.customer_id = asked.customer_id and e.feature_id = asked.feature_id
                and e.at >= asked.last_whole and e.at < asked.ends_at
        ), 0)::bigint end
    else coalesce((
        select sum(e.units) from usage_events as e
        where e.customer_id = asked.customer_id and e.feature_id = asked.feature_id
            and e.at >= asked.starts_at and e.at < asked.ends_at
    ), 0)::bigint end as units
from unnest(
    $1::integer[], $2::bigint[], $3::integer[], $4::timestamptz[], $5::timestamptz[],
    $6::timestamptz[], $7::timestamptz[]
) as asked (place, customer_id, feature_id, starts_at, ends_at, first_whole, last_whole)
order by asked.place;

-- name: consumption_items :many
-- The items of one consumption. Primary key; the instant prunes to one partition.
select item, feature_id, units, charged, kind from usage_events
where customer_id = $1 and operation_id = $2 and at = $3 and units > 0
order by item;

-- name: lock_customer_usage :exec
-- Corrections of one customer take turns; held to the end of the transaction.
select pg_advisory_xact_lock(hashtextextended('usage:' || $1::bigint::text, 0));

-- name: lock_customer_releases :exec
-- Releases of one customer's allocations take turns, also while one waits for the counters. A lock
-- of its own: what that one waits for may be a correction.
select pg_advisory_xact_lock(hashtextextended('releases:' || $1::bigint::text, 0));

-- name: counted_releases :many
-- What the counters gave back of one consumption of an allocation, by the beginning of the names.
-- A day for clocks that differ; usage_events_by_feature, older partitions pruned.
select operation_id, -units as units, at from usage_events
where customer_id = $1 and feature_id = $2 and at >= $3::timestamptz - interval '1 day'
    and units < 0 and starts_with(operation_id, $4);

-- name: released_of :one
-- Units already given back of one item of a consumption.
select coalesce(sum(units), 0)::bigint from usage_releases
where customer_id = $1 and consumption_id = $2 and consumed_at in ($3, 'epoch') and item = $4;

-- name: find_release :one
-- A release that was recorded before under the same id.
select consumption_id, item, units from usage_releases
where customer_id = $1 and consumption_id = $2 and consumed_at in ($3, 'epoch')
    and operation_id = $4;

-- name: record_release :exec
-- Unique by consumption and the release's own id.
insert into usage_releases (
    customer_id, consumption_id, consumed_at, operation_id, item, units, at, feature_id, charged
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: counted_groups :many
-- What a reset must take back, at the instants where it was counted: by quarter of an hour, laid
-- from each of $5, and in the present hour by minute. Zones differ by whole quarters, and $5 are the
-- bounds of the present windows: so no group lies on both sides of a window's beginning, and none
-- is left below zero. usage_events_by_feature.
select max(e.at) as at, sum(e.units)::bigint as units, sum(e.charged)::bigint as charged
from usage_events as e
cross join lateral (
    select array_agg(date_bin('15 minutes', e.at, laid.since) order by laid.since) as quarters
    from unnest($5::timestamptz[]) as laid (since)
) as bins
where e.customer_id = $1 and e.feature_id = $2 and e.at >= $3
group by bins.quarters, case when e.at >= $4 then date_trunc('minute', e.at) end
having sum(e.units) <> 0
order by 1;

-- name: drain_lag :one
-- Operations that passed blind and wait for their settling.
select count(*) from blind_operations where state <> 'settled';
