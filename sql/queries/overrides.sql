-- name: by_customers :many
-- overrides_one_per_feature, whose first column is the customer. Also those that have expired: they
-- explain why something ended.
select * from overrides where customer_id = any ($1::bigint[]) order by customer_id, feature;

-- name: put :exec
-- A new promise about a feature replaces the last one whole; the audit log keeps both.
insert into overrides
    (customer_id, feature, enabled, value, limits, reason, actor, created_at, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict on constraint overrides_one_per_feature do update set
    enabled = excluded.enabled, value = excluded.value, limits = excluded.limits,
    reason = excluded.reason, actor = excluded.actor, created_at = excluded.created_at,
    expires_at = excluded.expires_at;

-- name: clear :one
-- Answers with what was promised, for the audit log; no row when nothing was.
delete from overrides where customer_id = $1 and feature = $2 returning *;
