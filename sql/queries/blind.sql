-- name: lock_blind :exec
-- Bounded features of one customer are admitted one at a time while counters are out of reach.
select pg_advisory_xact_lock(hashtextextended('blind:' || $1::bigint::text || ':' || $2::integer::text, 0));

-- name: find_blind :many
-- What passed blind under this operation id. Primary key.
select feature_id, item, units, at, fingerprint from blind_operations
where customer_id = $1 and operation_id = $2
order by item;

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
-- Customers with units that the counters may not know. blind_operations_open.
select distinct customer_id from blind_operations where state <> 'settled' limit $1;

-- name: take_open :many
-- Locks what one customer's settling will record.
select operation_id, item, feature_id, units, at, fingerprint, expires_at from blind_operations
where customer_id = $1 and state = 'open'
order by operation_id, item
for update;

-- name: mark_recorded :exec
-- In the transaction that records them.
update blind_operations set state = 'recorded' where customer_id = $1 and state = 'open';

-- name: mark_settled :exec
-- After the counters were made to forget; rows that came meanwhile are still open.
update blind_operations set state = 'settled' where customer_id = $1 and state = 'recorded';
