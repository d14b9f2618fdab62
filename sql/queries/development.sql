-- name: kept :one
-- The primary key.
select value from secrets where name = $1;

-- name: keep :exec
-- Replaces what no longer works, such as a demo key that somebody has revoked.
insert into secrets (name, value, created_at) values ($1, $2, $3)
on conflict (name) do update set value = excluded.value, created_at = excluded.created_at;
