-- name: record :exec
-- Written in the transaction of the act itself: neither is there without the other.
insert into audit_log (at, actor, action, customer_id, reason, detail, correlation_id)
values ($1, $2, $3, $4, $5, $6, $7);

-- name: act_of :one
-- What was recorded of an act under this name. audit_log_by_customer; few rows remain to be read.
select detail from audit_log
where customer_id = $1 and action = $2 and detail ->> 'operation' = $3;

-- name: page :many
-- The primary key, newest first, from before the last one seen.
select * from audit_log where id < $1 order by id desc limit $2;

-- name: page_of_customer :many
-- audit_log_by_customer narrows to the customer; few rows remain to be sorted.
select * from audit_log where customer_id = $1 and id < $2 order by id desc limit $3;

-- name: last_at :one
-- The primary key, backwards over what was recorded last, as no index is by action.
select max(at) from (select at, action from audit_log order by id desc limit 200) as latest
where action = $1;
