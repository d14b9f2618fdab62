-- name: add_key :one
-- Only the digest is kept: whoever reads this table can prove nothing with it.
insert into api_keys (name, digest, prefix, scopes, created_at)
values ($1, $2, $3, $4, $5)
returning id, name, prefix, scopes, created_at, revoked_at, last_used_at;

-- name: live_key :one
-- api_keys_digest_unique finds the one row; asked only for a key that is not in memory.
select id, name, scopes from api_keys where digest = $1 and revoked_at is null;

-- name: live_digests :many
-- Confirms every key in memory at once, by api_keys_digest_unique.
select digest from api_keys where digest = any($1::bytea[]) and revoked_at is null;

-- name: list_keys :many
-- Keys are few and never deleted, so that the audit log can name one of long ago.
select id, name, prefix, scopes, created_at, revoked_at, last_used_at
from api_keys order by id desc limit $1;

-- name: keys_called :many
-- Live keys by number, name or prefix: an operator types what it sees in the list.
select id from api_keys
where revoked_at is null and (id::text = $1 or name = $1 or prefix = $1)
order by id limit 20;

-- name: revoke_key :one
-- Revoked once: the instant of the first time stays.
update api_keys set revoked_at = $2
where id = $1 and revoked_at is null
returning id, name, prefix, scopes, created_at, revoked_at, last_used_at, digest;

-- name: announce :exec
-- Delivered at commit, to every process that keeps keys in memory.
select pg_notify('headroom_api_keys', $1);

-- name: mark_used :exec
-- At most once a minute for each key and process; not every use, but whether it is still in use.
update api_keys set last_used_at = greatest(last_used_at, used.at)
from unnest($1::bytea[], $2::timestamptz[]) as used (digest, at)
where api_keys.digest = used.digest;

-- name: make_secret :exec
-- Of several processes that start at once, one makes it; all then read the same.
insert into secrets (name, value, created_at) values ($1, $2, $3) on conflict do nothing;

-- name: secret :one
-- The primary key.
select value from secrets where name = $1;
