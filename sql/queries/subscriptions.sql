-- name: put :one
-- subscriptions_provider_unique. The caller has decided that this is the newer state; the instant
-- of the first writing stays.
insert into subscriptions (
    customer_id, provider, provider_id, status, plan, price, pending_plan, add_ons,
    current_period_start, current_period_end, billing_anchor, trial_ends_at,
    cancel_at_period_end, ends_at, provider_created_at, provider_event_id, paid_until,
    scheduled_plan, scheduled_price, scheduled_at, created_at, updated_at
)
values (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $21
)
on conflict on constraint subscriptions_provider_unique do update set
    customer_id = excluded.customer_id, status = excluded.status, plan = excluded.plan,
    price = excluded.price, pending_plan = excluded.pending_plan, add_ons = excluded.add_ons,
    current_period_start = excluded.current_period_start,
    current_period_end = excluded.current_period_end,
    billing_anchor = excluded.billing_anchor, trial_ends_at = excluded.trial_ends_at,
    cancel_at_period_end = excluded.cancel_at_period_end, ends_at = excluded.ends_at,
    provider_created_at = excluded.provider_created_at,
    provider_event_id = excluded.provider_event_id,
    paid_until = greatest(subscriptions.paid_until, excluded.paid_until),
    scheduled_plan = excluded.scheduled_plan, scheduled_price = excluded.scheduled_price,
    scheduled_at = excluded.scheduled_at, updated_at = excluded.updated_at
returning id;

-- name: by_customers :many
-- subscriptions_by_customer; every one the customer ever had, as explanations name them all.
select * from subscriptions where customer_id = any ($1::bigint[]) order by customer_id, id;

-- name: by_provider_id :one
-- subscriptions_provider_unique.
select * from subscriptions where provider = $1 and provider_id = $2;

-- name: by_provider_ids :many
-- subscriptions_provider_unique, for one page of the provider's list.
select * from subscriptions where provider = $1 and provider_id = any ($2::text[]);

-- name: by_ids :many
-- The primary key; for loaders.
select * from subscriptions where id = any ($1::bigint[]);

-- name: note_paid :exec
-- provider_paid_periods_unique. An invoice may be told before its subscription is, and an older one
-- after a newer.
insert into provider_paid_periods as p (provider, subscription_id, paid_until)
values ($1, $2, $3)
on conflict on constraint provider_paid_periods_unique do update
set paid_until = greatest(p.paid_until, excluded.paid_until);

-- name: paid_until :one
-- provider_paid_periods_unique.
select paid_until from provider_paid_periods where provider = $1 and subscription_id = $2;

-- name: set_paid :exec
-- subscriptions_provider_unique; inside a change, as it brings credits. Never back.
update subscriptions set paid_until = greatest(paid_until, $3), updated_at = $4
where provider = $1 and provider_id = $2;

-- name: plan_grants :many
-- The primary key of credit_grants; of a customer's grants those of slices that had not ended by
-- $2. What was expired of one is left of it as much as what is still there: credit_entries_by_grant.
select
    g.customer_id, g.id, g.source, g.reference, g.units, g.available, g.expires_at,
    (
        select coalesce(sum(e.amount), 0)::bigint from credit_entries as e
        where e.customer_id = g.customer_id and e.grant_id = g.id and e.kind = 'expire'
    ) as expired
from credit_grants as g
where g.customer_id = any ($1::bigint[]) and g.bucket = 'subscription' and g.expires_at >= $2
    and g.source ~ '^(plan|trial|rollover):'
order by g.customer_id, g.id;

-- name: end_grants :exec
-- Grants of a subscription that ended before them, beside the entries that expire what was left:
-- what comes back to them later is expired as well. The primary key.
update credit_grants as g
set expires_at = greatest(given.ended_at, g.effective_at + interval '1 second')
from unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) as given (customer_id, id, ended_at)
where g.customer_id = given.customer_id and g.id = given.id;
