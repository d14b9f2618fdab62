-- name: answers :one
-- Asks for nothing but an answer.
select 1;

-- name: was_migrated :one
-- Null on a database that no migration has met; to_regclass does not fail there.
select to_regclass('schema_migrations')::text;

-- name: applied :many
-- One row per migration, some dozens at most.
select version from schema_migrations;
