-- name: lock_customers :exec
-- Whoever writes in a customer's ledger waits here for whoever does already, in one order, to the
-- end of the transaction. Advisory: no row is written for it. Statements after this one see all
-- that was committed before the lock was had.
select pg_advisory_xact_lock(1129465172, k.place)
from (
    select distinct (id % 2147483647)::integer as place
    from unnest($1::bigint[]) as given (id)
    order by 1
) as k;

-- name: add_grants :many
-- Grants whose source was not said before; the others are left out.
insert into credit_grants (
    customer_id, source, bucket, priority, units, effective_at, expires_at, features, reason,
    actor, reference, correlation_id, created_at
)
select
    customer_id, source, bucket, priority, units, effective_at, expires_at,
    case when features = '' then null else string_to_array(features, ',')::integer[] end,
    reason, actor, reference, correlation_id, $13
from unnest(
    $1::bigint[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::timestamptz[],
    $7::timestamptz[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[]
) with ordinality as given (
    customer_id, source, bucket, priority, units, effective_at, expires_at, features, reason,
    actor, reference, correlation_id, place
)
order by place
on conflict (customer_id, source) do nothing
returning customer_id, source, id;

-- name: post :exec
-- The one statement that writes entries from Python: what they move is added to the grants they
-- name in the same breath, so the two cannot come apart. Under lock_customers.
with written as (
    insert into credit_entries (
        customer_id, at, kind, debit, credit, amount, grant_id, bucket, feature_id, units,
        operation_id, reason, actor, reference, correlation_id
    )
    select
        m.customer_id, m.at, m.kind, m.debit, m.credit, m.amount, m.grant_id, g.bucket,
        m.feature_id, m.units, m.operation_id, m.reason, m.actor, m.reference, m.correlation_id
    from unnest(
        $1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::bigint[],
        $7::bigint[], $8::integer[], $9::bigint[], $10::text[], $11::text[], $12::text[],
        $13::text[], $14::text[]
    ) with ordinality as m (
        customer_id, at, kind, debit, credit, amount, grant_id, feature_id, units, operation_id,
        reason, actor, reference, correlation_id, place
    )
    join credit_grants as g on g.customer_id = m.customer_id and g.id = m.grant_id
    order by m.place
    returning customer_id, grant_id, debit, credit, amount
)
update credit_grants as g
set available = g.available + moved.available, held = g.held + moved.held
from (
    select
        customer_id, grant_id,
        sum(case 'available' when credit then amount when debit then -amount else 0 end)::bigint
            as available,
        sum(case 'held' when credit then amount when debit then -amount else 0 end)::bigint as held
    from written
    group by customer_id, grant_id
) as moved
where g.customer_id = moved.customer_id and g.id = moved.grant_id;

-- name: find_grant :one
-- One grant of one customer. Primary key.
select * from credit_grants where customer_id = $1 and id = $2;

-- name: revoked_of :one
-- What was taken back of a grant so far, less what was given back of that.
select coalesce(sum(amount) filter (where credit = 'revoked'), 0)::bigint
    - coalesce(sum(amount) filter (where debit = 'revoked'), 0)::bigint as revoked
from credit_entries
where customer_id = $1 and grant_id = $2;

-- name: paid_by :many
-- What one operation paid for one feature, and what of that came back, per grant in the order in
-- which they burned; "corrected" is the part that came back without units, as the cost was wrong.
-- credit_entries_by_operation.
select
    grant_id,
    coalesce(sum(amount) filter (where credit = 'spent'), 0)::bigint as spent,
    coalesce(sum(amount) filter (where debit = 'spent'), 0)::bigint as returned,
    coalesce(sum(amount) filter (where debit = 'spent' and units is null), 0)::bigint as corrected
from credit_entries
where customer_id = $1 and operation_id = $2 and feature_id = $3
group by grant_id
order by min(id);

-- name: mark_voided :exec
-- Under the ledger's lock. Primary key.
update credit_grants set voided_at = coalesce(voided_at, $3) where customer_id = $1 and id = $2;

-- name: voided_with_rest :many
-- Voided grants to which something came back. credit_grants_voided.
select customer_id, id from credit_grants
where voided_at is not null and available > 0
order by customer_id, id
limit $1;
