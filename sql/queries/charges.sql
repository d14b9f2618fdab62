-- name: charge :many
-- Decides all charges and holds of the moment; see the function in migrations/0007.
select * from credits_charge(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
    $22, $23, $24, $25
);

-- name: resolve :many
-- Changes holds; see the function in migrations/0007.
select * from credits_resolve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: paid_of :many
-- What an operation of ours took, in the order in which it burned. credit_entries_by_operation.
select feature_id, bucket, amount from credit_entries
where customer_id = $1 and operation_id = $2 and kind in ('spend', 'hold')
order by id;

-- name: find_operation :one
-- A decision that is still to be replayed at this instant. Primary key.
select fingerprint, kind, credits, balance, at, answer from credit_operations
where customer_id = $1 and operation_id = $2 and expires_at > $3;

-- name: live_grants :many
-- Grants with something left, for one customer. Primary key.
select id, bucket, priority, effective_at, created_at, expires_at, features, available
from credit_grants
where customer_id = $1 and available > 0;

-- name: find_hold :one
-- One hold. Primary key.
select * from holds where customer_id = $1 and id = $2;

-- name: holds_of :many
-- Holds of one customer, newest first, from one id on; all of them or the open ones.
-- holds_open, or the primary key.
select * from holds
where customer_id = $1
    and ($2::text is null or state = $2)
    and ($3::timestamptz is null or (at, id) < ($3, $4::text))
order by at desc, id desc
limit $5;

-- name: due_holds :many
-- Open holds past their time. holds_due.
select customer_id, id from holds
where state = 'open' and expires_at <= $1
order by expires_at
limit $2;

-- name: untold_holds :many
-- Holds whose last change the counters may not know. holds_untold.
select h.*, c.key as customer_key from holds as h
join customers as c on c.id = h.customer_id
where h.counted and h.told_version < h.version
limit $1;

-- name: told_holds :exec
-- The counters know these changes.
update holds as h set told_version = greatest(h.told_version, told.version)
from unnest($1::bigint[], $2::text[], $3::integer[]) as told (customer_id, id, version)
where h.customer_id = told.customer_id and h.id = told.id;
