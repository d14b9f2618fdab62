-- name: epochs_of :many
-- At most 256 rows, read when a connection is made or shards come over to one. Primary key.
select shard, epoch, run_id from shard_epochs where shard = any ($1::smallint[]);

-- name: lock_epochs :exec
-- In order of shard, as drainers lock them, so that processes that meet new servers of overlapping
-- shards at once take turns and never wait for each other crosswise.
select shard from shard_epochs where shard = any ($1::smallint[]) order by shard for update;

-- name: open_for :exec
-- A server that was not registered last for a shard opens a new epoch of it; the same server changes
-- nothing. The where clause is the whole guard: two processes that meet a new server at once open one
-- epoch between them.
update shard_epochs set epoch = epoch + 1, run_id = $1
where shard = any ($2::smallint[]) and run_id <> $1;

-- name: open_one :one
-- Opens the next epoch only if the caller's is still the newest and of its server, so that no epoch
-- is ever used on two servers.
update shard_epochs set epoch = epoch + 1
where shard = $1 and epoch = $2 and run_id = $3
returning epoch;

-- name: answer :one
-- Asks only whether the record answers.
select 1;
