-- name: lock :exec
-- One applies at a time. The mode stands in nobody's way who reads, or writes a customer row that
-- refers to a revision.
lock table catalog_revisions in share row exclusive mode;

-- name: newest :one
-- The primary key, read backward.
select revision, body, checksum from catalog_revisions order by revision desc limit 1;

-- name: newest_number :one
-- Null before the first apply.
select max(revision) from catalog_revisions;

-- name: by_number :one
-- The primary key; a revision never changes, so the answer may be kept.
select revision, body, checksum from catalog_revisions where revision = $1;

-- name: history :many
-- Newest first, without the bodies.
select revision, checksum, applied_at, applied_by from catalog_revisions
where $2::integer is null or revision < $2
order by revision desc limit $1;

-- name: add_revision :one
-- The number is the database's to give.
insert into catalog_revisions (body, checksum, applied_at, applied_by)
values ($1, $2, $3, $4)
returning revision;

-- name: add_features :exec
-- Written under the lock of an apply. Not "on conflict", which would burn a number for each feature
-- that is known already: the numbers stand in every counter, and small ones take less room.
insert into features (key)
select wanted.key from unnest($1::text[]) with ordinality as wanted (key, place)
where not exists (select 1 from features where features.key = wanted.key)
order by wanted.place;

-- name: feature_ids :many
-- All that ever were: a revision of last year is judged by the same numbers.
select key, id from features;

-- name: types_in_use :many
-- Customer types outside $1 that somebody has. A scan of all customers, once per apply.
select type, count(*) as customers from customers
where type <> all ($1::text[]) group by type order by type;

-- name: announce :exec
-- Told to every process at commit; a hint, as the number is read from the table.
select pg_notify('headroom_catalog', $1);
