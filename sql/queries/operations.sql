-- name: begin :one
-- Before the provider is asked. Answers with nothing where the caller's key is taken, or another
-- operation on the object is pending: provider_operations_by_key, provider_operations_one_by_one.
insert into provider_operations (
    operation_id, provider, customer_id, action, object_id, request, key_scope, caller_key,
    fingerprint, attempts, next_attempt_at, actor, reason, correlation_id, created_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $11, $12, $13, $14)
on conflict do nothing
returning *;

-- name: by_key :one
-- provider_operations_by_key.
select * from provider_operations where key_scope = $1 and caller_key = $2;

-- name: pending_same :one
-- The very same wish, whose outcome is not known yet; of the few that are pending.
-- provider_operations_due.
select * from provider_operations
where state = 'pending' and provider = $1 and key_scope = $2 and fingerprint = $3
order by id limit 1;

-- name: pending_on :one
-- What waits on an object. provider_operations_one_by_one.
select * from provider_operations
where state = 'pending' and provider = $1 and object_id = $2;

-- name: take_up :one
-- As the worker takes them, by whoever has to know this one's outcome now.
update provider_operations set attempts = attempts + 1, next_attempt_at = $2
where id = $1 and state = 'pending' returning *;

-- name: find :one
-- provider_operations_unique.
select * from provider_operations where operation_id = $1;

-- name: due :many
-- provider_operations_due. Whoever takes one has it until the lease ends; a process that dies
-- leaves it due again.
update provider_operations set attempts = attempts + 1, next_attempt_at = $3
where id in (
    select id from provider_operations where state = 'pending' and provider = $1
        and next_attempt_at <= $2
    order by next_attempt_at, id limit $4 for update skip locked
)
returning *;

-- name: later :one
-- Nothing is known of the outcome: asked again under the same key.
update provider_operations set next_attempt_at = $2, error = $3
where id = $1 and state = 'pending' returning *;

-- name: answered :one
-- Once, however many asked at the same time; 'confirmed' at once where no object is to be read.
update provider_operations set state = $2, answer = $3, answered_at = $4, error = null,
    ended_at = case $2 when 'confirmed' then $4::timestamptz end
where id = $1 and state = 'pending' returning *;

-- name: refused :one
-- For good; the caller's key keeps this answer.
update provider_operations set state = 'refused', error = $2, answer = $3, ended_at = $4
where id = $1 and state = 'pending' returning *;

-- name: given_up :one
-- Never answered, and not to be asked again: it may have been done.
update provider_operations set state = 'unknown', error = $2, ended_at = $3
where id = $1 and state = 'pending' returning *;

-- name: confirm :exec
-- In the transaction that wrote the object as it was read after the answer: the object's own
-- events ($1), also a look's that was handled under another object's lock, and what was answered
-- before they were claimed ($2). provider_operations_unconfirmed.
update provider_operations as o set state = 'confirmed', ended_at = $2
where o.state = 'answered' and o.answered_at <= $2 and (o.provider, o.object_id) in (
    select provider, unnest(array[object_id, payload ->> 'look'])
    from webhook_events where id = any ($1::bigint[])
);

-- name: pending_of :many
-- provider_operations_by_customer; of many customers at once.
select * from provider_operations
where customer_id = any ($1::bigint[]) and state in ('pending', 'answered') order by id;

-- name: page :many
-- The primary key, newest first; a customer and a state narrow it.
select * from provider_operations
where id < $1 and ($2::bigint is null or customer_id = $2) and ($3::text is null or state = $3)
order by id desc limit $4;
