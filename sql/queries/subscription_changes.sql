-- name: last :one
-- subscription_changes_by_subscription, backwards: what the next change is told from. Read under
-- the subscription's lock.
select * from subscription_changes
where provider = $1 and provider_id = $2
order by id desc
limit 1;

-- name: last_of :many
-- subscription_changes_by_subscription, backwards, once for each: what the provider's list is
-- compared with.
select last.* from unnest($2::text[]) as named (provider_id)
cross join lateral (
    select * from subscription_changes as c
    where c.provider = $1 and c.provider_id = named.provider_id
    order by c.id desc
    limit 1
) as last;

-- name: add :exec
-- Beside the subscription's record.
insert into subscription_changes (
    customer_id, provider, provider_id, at, kind, status_before, status_after, plan_before,
    plan_after, price_before, price_after, currency, mrr_minor_before, mrr_minor_after, detail,
    cause, correlation_id
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17);

-- name: of_subscription :many
-- subscription_changes_by_subscription, backwards.
select * from subscription_changes
where provider = $1 and provider_id = $2 and id < $3
order by id desc
limit $4;
