-- name: put :exec
-- invoices_unique. $27: it was read, so it stands; else the newest event's state does, and of one
-- instant the one further on in an invoice's course.
insert into invoices as i (
    provider, provider_id, customer_id, provider_customer, subscription_id, number, status,
    currency, total_minor, due_minor, paid_minor, remaining_minor, period_start, period_end,
    created_at, due_at, paid_at, voided_at, attempts, next_attempt_at, reason, hosted_url, pdf_url,
    told_at, told_by, updated_at
)
values (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
    $22, $23, $24, $25, $26
)
on conflict on constraint invoices_unique do update set
    customer_id = coalesce(excluded.customer_id, i.customer_id),
    provider_customer = excluded.provider_customer, subscription_id = excluded.subscription_id,
    number = excluded.number, status = excluded.status, currency = excluded.currency,
    total_minor = excluded.total_minor, due_minor = excluded.due_minor,
    paid_minor = excluded.paid_minor, remaining_minor = excluded.remaining_minor,
    period_start = excluded.period_start, period_end = excluded.period_end,
    created_at = excluded.created_at, due_at = excluded.due_at, paid_at = excluded.paid_at,
    voided_at = excluded.voided_at, attempts = excluded.attempts,
    next_attempt_at = excluded.next_attempt_at, reason = excluded.reason,
    hosted_url = excluded.hosted_url, pdf_url = excluded.pdf_url,
    told_at = greatest(i.told_at, excluded.told_at), told_by = excluded.told_by,
    updated_at = excluded.updated_at
where $27::boolean
    or (
        excluded.told_at,
        array_position(
            array['draft', 'open', 'uncollectible', 'paid', 'void', 'deleted'], excluded.status
        ),
        excluded.told_by
    ) > (
        i.told_at,
        array_position(
            array['draft', 'open', 'uncollectible', 'paid', 'void', 'deleted'], i.status
        ),
        i.told_by
    );

-- name: find :one
-- invoices_unique.
select * from invoices where provider = $1 and provider_id = $2;

-- name: adopt :exec
-- invoices_of_nobody; inside the link's transaction.
update invoices set customer_id = $3
where provider = $1 and provider_customer = $2 and customer_id is null;

-- name: of_customer :many
-- invoices_by_customer, backwards.
select * from invoices
where customer_id = $1 and id < $2 and status <> 'deleted'
order by id desc
limit $3;

-- name: doubles :many
-- invoices_by_subscription, of the mirror: each invoice that an earlier one of its period stands
-- beside, and that was never queued.
select i.*, other.provider_id as beside
from invoices as i
cross join lateral (
    select e.provider_id from invoices as e
    where e.provider = i.provider and e.subscription_id = i.subscription_id
        and e.period_start = i.period_start and e.period_end = i.period_end
        and (e.created_at, e.provider_id) < (i.created_at, i.provider_id)
        and e.status in ('open', 'paid') and e.total_minor > 0
        and e.reason in ('subscription', 'subscription_create', 'subscription_cycle', 'manual')
    order by e.created_at, e.provider_id
    limit 1
) as other
where i.provider = $1 and i.status in ('open', 'paid') and i.total_minor > 0
    and i.reason in ('subscription', 'subscription_create', 'subscription_cycle', 'manual')
    and not exists (
        select from reconciliation_queue as q
        where q.provider = i.provider and q.kind = 'double_invoice' and q.object_id = i.provider_id
    )
order by i.id
limit $2;

-- name: still_double :one
-- invoices_unique, then invoices_by_subscription.
select exists (
    select from invoices as i join invoices as e
        on e.provider = i.provider and e.subscription_id = i.subscription_id
        and e.period_start = i.period_start and e.period_end = i.period_end and e.id <> i.id
    where i.provider = $1 and i.provider_id = $2 and i.status in ('open', 'paid')
        and e.status in ('open', 'paid') and e.total_minor > 0
);
