-- name: lock_blind :exec
-- Bounded features of one customer are admitted one at a time while counters are out of reach.
select pg_advisory_xact_lock(hashtextextended('blind:' || $1::bigint::text || ':' || $2::integer::text, 0));

-- name: find_blind :many
-- What passed blind under this operation id. Primary key.
select feature_id, item, units, at, fingerprint from blind_operations
where customer_id = $1 and operation_id = $2
order by item;

-- name: drop_expired :exec
-- A name may be used again after its replay period; what is not settled yet still stands.
delete from blind_operations
where customer_id = $1 and operation_id = $2 and state = 'settled' and expires_at <= $3;

-- name: blind_units :one
-- Units that passed unseen and are not settled yet. blind_operations_open.
select coalesce(sum(units), 0)::bigint from blind_operations
where customer_id = $1 and feature_id = $2 and state <> 'settled';

-- name: record_blind :exec
-- Unique by the operation's id, so a repeated call changes nothing.
insert into blind_operations
    (customer_id, operation_id, feature_id, item, units, at, fingerprint, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict do nothing;

-- name: unsettled :many
-- Customers with units that the counters may not know, page by page. blind_operations_open.
select distinct customer_id from blind_operations
where state <> 'settled' and customer_id > $1
order by customer_id
limit $2;

-- name: take_unsettled :many
-- Locks what one customer's settling will record, and what an earlier one recorded and did not end.
select operation_id, item, feature_id, units, at, fingerprint, expires_at, state
from blind_operations
where customer_id = $1 and state <> 'settled'
order by operation_id, item
for update;

-- name: counted_before :many
-- Which of these names stand for something that the counters had counted earlier, when the answer
-- was not in the record yet. Primary key of operations.
select o.operation_id
from operations as o
join unnest($2::text[], $3::timestamptz[]) as blind (operation_id, at) using (operation_id)
where o.customer_id = $1 and o.at <> blind.at and o.expires_at > blind.at;

-- name: mark_recorded :exec
-- In the transaction that records them.
update blind_operations set state = 'recorded'
where customer_id = $1 and operation_id = any($2::text[]) and state = 'open';

-- name: mark_settled :exec
-- After the counters were made to forget. Only what was in the record before they did: another
-- settling may have recorded more meanwhile.
update blind_operations set state = 'settled'
where customer_id = $1 and operation_id = any($2::text[]) and state = 'recorded';
