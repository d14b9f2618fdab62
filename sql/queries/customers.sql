-- name: by_key :one
-- customers_key_unique.
select * from customers where key = $1;

-- name: by_id :one
-- The primary key.
select * from customers where id = $1;

-- name: by_ids :many
-- The primary key; for loaders, whose page is bounded.
select * from customers where id = any ($1::bigint[]);

-- name: by_keys :many
-- customers_key_unique; for loaders.
select * from customers where key = any ($1::text[]);

-- name: by_email :many
-- customers_email; an address may belong to several customers, so the answer is bounded.
select * from customers where lower(email) = lower($1) order by id limit $2;

-- name: page :many
-- The primary key, from the last one seen.
select * from customers where id > $1 order by id limit $2;

-- name: add :one
-- No row when the key is taken: the caller then changes what is there.
insert into customers
    (key, type, name, email, timezone, created_at, updated_at, catalog_revision)
values ($1, $2, $3, $4, $5, $6, $6, $7)
on conflict on constraint customers_key_unique do nothing
returning id;

-- name: describe :exec
-- What is null stays. Type and zone change rights, so this runs inside a change, under its lock.
update customers set
    type = coalesce($2, type),
    name = coalesce($3, name),
    email = coalesce($4, email),
    timezone = coalesce($5, timezone),
    updated_at = $6
where id = $1;

-- name: lock :one
-- Every change of a customer's rights begins here. "No key" leaves room for rows that only refer
-- to the customer.
select *, (select max(revision) from catalog_revisions) as newest_revision
from customers where id = $1 for no key update;

-- name: lock_behind :many
-- customers_behind. In the order of the index, so that two walks wait for each other and do not
-- deadlock; rows that the other has moved meanwhile drop out.
select * from customers where catalog_revision < $1
order by catalog_revision, id limit $2 for no key update;

-- name: count_behind :one
-- customers_behind. All that are behind are read, so this is asked once a walk.
select count(*) from customers where catalog_revision < $1;

-- name: any_behind :one
-- customers_behind, its first row.
select exists (select from customers where catalog_revision < $1);

-- name: advance :many
-- The version grows by one for each; the caller holds the row locks.
update customers set
    version = version + 1, catalog_revision = given.revision, valid_until = given.valid_until,
    updated_at = $4
from unnest($1::bigint[], $2::integer[], $3::timestamptz[]) as given (id, revision, valid_until)
where customers.id = given.id
returning customers.id, customers.version;

-- name: unpublished :many
-- customers_unpublished, which holds only the few that a crash or an outage left.
select id from customers where published_version < version order by id limit $1;

-- name: changed_silently :many
-- customers_changing: an override, trial or subscription has ended by itself.
select id from customers where valid_until <= $1 order by valid_until limit $2;

-- name: mark_published :exec
-- Never back: a slow publisher may come after one that published a newer version. The lock reads
-- the row's newest state, and is taken in the order of ids, as by all that lock several customers.
with told as (
    select c.id, given.version from customers c
    join unnest($1::bigint[], $2::bigint[]) as given (id, version) on given.id = c.id
    where c.published_version < given.version
    order by c.id for no key update of c
)
update customers set published_version = told.version from told where customers.id = told.id;

-- name: pins_of :many
-- The primary key of window_pins; few, and only those that still last or have lately ended.
select customer_id, feature, window_kind, starts_at, ends_at from window_pins
where customer_id = any ($1::bigint[]);

-- name: drop_pins :exec
-- Replaced whole with the customers' new ones, under their row locks.
delete from window_pins where customer_id = any ($1::bigint[]);

-- name: add_pins :exec
-- One statement for the pins of a whole batch of customers.
insert into window_pins (customer_id, feature, window_kind, starts_at, ends_at)
select * from unnest(
    $1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[]
);

-- name: link :exec
-- The provider's name for a customer, told again with every event; it never moves to another.
insert into customer_links (provider, provider_id, customer_id, created_at)
values ($1, $2, $3, $4)
on conflict on constraint customer_links_unique do nothing;

-- name: unlink :one
-- A customer that the provider has deleted: the next checkout makes a new one there.
delete from customer_links where provider = $1 and provider_id = $2 returning customer_id;

-- name: by_link :one
-- customer_links_unique.
select customers.* from customer_links join customers on customers.id = customer_links.customer_id
where provider = $1 and provider_id = $2;

-- name: links_of :many
-- customer_links_by_customer.
select provider, provider_id from customer_links where customer_id = $1
order by created_at, provider, provider_id;
