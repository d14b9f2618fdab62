-- name: open_all :exec
-- A server that was not registered last opens a new epoch for every shard; the same server changes
-- nothing. The where clause is the whole guard: two processes that meet a new server at once open
-- one epoch between them.
update shard_epochs set epoch = epoch + 1, run_id = $1 where run_id <> $1;

-- name: all_epochs :many
-- 256 rows, read when a connection is made.
select shard, epoch from shard_epochs;

-- name: open_one :one
-- Opens the next epoch only if the caller's is still the newest; answers with the newest either way.
with opened as (
    update shard_epochs set epoch = epoch + 1 where shard = $1 and epoch = $2 returning epoch
)
select coalesce((select epoch from opened), (select epoch from shard_epochs where shard = $1));

-- name: answer :one
-- Asks only whether the record answers.
select 1;
