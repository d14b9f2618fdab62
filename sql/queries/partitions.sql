-- name: lock :exec
-- Only one process at a time makes partitions.
select pg_advisory_xact_lock(hashtextextended('usage_events partitions', 0));

-- name: list_partitions :many
-- The monthly partitions that exist, by their names.
select c.relname as name
from pg_inherits as i
join pg_class as c on c.oid = i.inhrelid
where i.inhparent = 'usage_events'::regclass
order by c.relname;
