-- name: alert :one
-- alerts_once_per_window; answers with nothing where this window has it already.
insert into alerts (kind, severity, subject, period, at, message, detail, correlation_id)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict on constraint alerts_once_per_window do nothing
returning id;

-- name: page :many
-- The primary key, newest first; alerts_open where only those are asked that nobody has seen to.
select * from alerts
where id < $1 and (not $2 or acknowledged_at is null) and ($3::text is null or kind = $3)
order by id desc limit $4;

-- name: lock_alert :one
-- Two who acknowledge it at once take turns, so that the audit log has one act.
select * from alerts where id = $1 for update;

-- name: acknowledge :one
-- The row stays; it is open no more.
update alerts set acknowledged_at = $2, acknowledged_by = $3, note = $4 where id = $1
returning *;
