-- name: put :one
-- subscriptions_provider_unique. The caller has decided that this is the newer state; the instant
-- of the first writing stays.
insert into subscriptions (
    customer_id, provider, provider_id, status, plan, price, pending_plan, add_ons,
    current_period_start, current_period_end, billing_anchor, trial_ends_at,
    cancel_at_period_end, ends_at, provider_created_at, provider_event_id, created_at, updated_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17)
on conflict on constraint subscriptions_provider_unique do update set
    customer_id = excluded.customer_id, status = excluded.status, plan = excluded.plan,
    price = excluded.price, pending_plan = excluded.pending_plan, add_ons = excluded.add_ons,
    current_period_start = excluded.current_period_start,
    current_period_end = excluded.current_period_end,
    billing_anchor = excluded.billing_anchor, trial_ends_at = excluded.trial_ends_at,
    cancel_at_period_end = excluded.cancel_at_period_end, ends_at = excluded.ends_at,
    provider_created_at = excluded.provider_created_at,
    provider_event_id = excluded.provider_event_id, updated_at = excluded.updated_at
returning id;

-- name: by_customers :many
-- subscriptions_by_customer; every one the customer ever had, as explanations name them all.
select * from subscriptions where customer_id = any ($1::bigint[]) order by customer_id, id;

-- name: by_provider_id :one
-- subscriptions_provider_unique.
select * from subscriptions where provider = $1 and provider_id = $2;

-- name: by_ids :many
-- The primary key; for loaders.
select * from subscriptions where id = any ($1::bigint[]);
