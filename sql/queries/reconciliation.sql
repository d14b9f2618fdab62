-- name: payers :many
-- customer_links_unique, for one page of a list.
select provider_id, customer_id from customer_links
where provider = $1 and provider_id = any ($2::text[]);

-- name: named :many
-- customers_key_unique, for one page of a list.
select key, id from customers where key = any ($1::text[]);

-- name: links_of :many
-- customer_links_by_customer.
select provider_id from customer_links where customer_id = $2 and provider = $1;

-- name: key_of :one
-- How the product calls this customer. Primary key.
select key from customers where id = $1;

-- name: account :one
-- The primary key.
select account_id, live from provider_accounts where provider = $1;

-- name: keep_account :exec
-- The primary key. The first one stays; only what a key was not allowed to tell is added.
insert into provider_accounts as a (provider, account_id, live, since) values ($1, $2, $3, $4)
on conflict (provider) do update set account_id = excluded.account_id
where a.account_id is null and a.live = excluded.live;

-- name: accept_account :exec
-- The primary key; a person said that the record follows this account from now on.
insert into provider_accounts (provider, account_id, live, since) values ($1, $2, $3, $4)
on conflict (provider) do update set
    account_id = excluded.account_id, live = excluded.live, since = excluded.since;

-- name: heard_live :one
-- Whether the last event that the provider told was of live objects; null where none says. The
-- primary key backward.
select payload -> 'livemode' = 'true' as live from webhook_events
where provider = $1 and origin <> 'own' and payload ? 'livemode' order by id desc limit 1;

-- name: begin_run :one
-- Before anything is asked, so that one that died is seen.
insert into reconciliation_runs
    (provider, scope, execute, started_at, actor, reason, correlation_id)
values ($1, $2, $3, $4, $5, $6, $7) returning id;

-- name: end_run :exec
-- The primary key.
update reconciliation_runs set finished_at = $2, counts = $3, error = $4 where id = $1;

-- name: runs :many
-- The primary key backward; the answer is bounded.
select * from reconciliation_runs where id < $1 order by id desc limit $2;

-- name: note_seen :exec
-- What one run has seen, so that what only we have is found without holding a list in memory.
insert into reconciliation_seen (run_id, provider_id)
select $1, unnest($2::text[]) on conflict do nothing;

-- name: forget_seen :exec
-- Of one run, and of those that died long before it.
delete from reconciliation_seen as s
where s.run_id = $1 or s.run_id in (
    select r.id from reconciliation_runs as r where r.started_at < $2
);

-- name: only_here :many
-- The primary key of subscriptions, a page at a time; reconciliation_seen by its own. One that was
-- written after the run had begun was too new for its list.
select s.* from subscriptions as s
where s.provider = $1 and s.id > $2 and s.created_at < $3
    and s.status not in ('canceled', 'incomplete_expired')
    and ($4::bigint is null or s.customer_id = $4)
    and not exists (
        select from reconciliation_seen as r where r.run_id = $5 and r.provider_id = s.provider_id
    )
order by s.id limit $6;

-- name: several :many
-- Customers with several live subscriptions to plans; a pass over the table, twice a minute.
select s.customer_id, c.type from (
    select customer_id from subscriptions
    where provider = $1 and plan is not null
        and status in ('active', 'trialing', 'past_due', 'unpaid', 'paused')
        and customer_id > $2
    group by customer_id having count(*) > 1 order by customer_id limit $3
) as s
join customers as c on c.id = s.customer_id
order by s.customer_id;

-- name: type_of :one
-- What kind of customer this is. Primary key.
select type from customers where id = $1;

-- name: changes_waiting :many
-- Changes that wait for their payment, and are not watched yet; reconciliation_queue_by_object.
select s.customer_id, s.provider_id, s.pending_plan from subscriptions as s
where s.provider = $1 and s.pending_plan is not null
    and s.status not in ('canceled', 'incomplete_expired')
    and not exists (
        select from reconciliation_queue as q
        where q.provider = $1 and q.kind = 'abandoned_change' and q.object_id = s.provider_id
            and (
                q.state <> 'resolved'
                or q.resolved_by <> 'headroom:reconciliation' and not q.detail ? 'over'
            )
    )
order by s.id limit $2;

-- name: not_granted :many
-- Paid checkouts that no purchase stands for: pack_purchases_unique.
select given.id from unnest($2::text[]) as given (id)
where not exists (
    select from pack_purchases as p where p.provider = $1 and p.checkout_id = given.id
);

-- name: payments_unlike :many
-- Payments of which a refund or dispute is not known, or stands otherwise: the primary key of
-- provider_payment_facts, for one page of a list; or only of payments that bought a pack, as those
-- for others are forgotten in time: pack_purchases_by_payment.
select distinct given.payment_id
from unnest($2::text[], $3::text[], $4::bigint[], $5::boolean[])
    as given (payment_id, object_id, amount_minor, stands)
where not exists (
    select from provider_payment_facts as f
    where f.provider = $1 and f.object_id = given.object_id
        and f.amount_minor = given.amount_minor and f.stands = given.stands
)
and (
    not $6::boolean
    or exists (
        select from pack_purchases as p
        where p.provider = $1 and p.payment_id = given.payment_id
    )
);

-- name: invoices_unlike :many
-- Invoices that are not here as they are, or whose payment does not count for their subscription:
-- invoices_unique and provider_paid_periods_unique, for one page of a list. Of a subscription only
-- where it is known whose that is, or it is about to be read; and not again while one is waited
-- for, or is parked for a person: webhook_events_by_object.
select given.id
from unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::integer[], $14::timestamptz[]
) as given (
    id, subscription_id, customer, customer_key, paid_until, status, number,
    total_minor, due_minor, paid_minor, remaining_minor, attempts, next_attempt_at
)
where (
    not exists (
        select from invoices as i
        where i.provider = $1 and i.provider_id = given.id and i.status = given.status
            and i.number is not distinct from given.number
            and i.total_minor = given.total_minor and i.due_minor = given.due_minor
            and i.paid_minor = given.paid_minor and i.remaining_minor = given.remaining_minor
            and i.attempts = given.attempts
            and i.next_attempt_at is not distinct from given.next_attempt_at
    )
    or given.subscription_id is not null and not exists (
        select from provider_paid_periods as p
        where p.provider = $1 and p.subscription_id = given.subscription_id
            and p.paid_until >= given.paid_until
    ) and given.paid_until is not null
)
and (
    given.subscription_id is null
    or exists (
        select from subscriptions as s
        where s.provider = $1 and s.provider_id = given.subscription_id
    )
    or exists (
        select from webhook_events as e
        where e.provider = $1 and e.object_id = given.subscription_id and e.state = 'pending'
    )
    or case
        when given.customer_key is null then exists (
            select from customer_links as l
            where l.provider = $1 and l.provider_id = given.customer
        )
        else exists (select from customers as c where c.key = given.customer_key)
    end
)
and not exists (
    select from webhook_events as e
    where e.provider = $1 and e.object_id in (given.id, given.subscription_id)
        and e.type = 'headroom.look.invoice' and e.payload ->> 'look' = given.id
        and e.state in ('failed', 'parked')
);

-- name: drafts_only_here :many
-- Drafts of the mirror that a run's list did not have, a page at a time by the primary key;
-- reconciliation_seen by its own. One that was written after the run had begun was too new for it.
select i.id, i.provider_id from invoices as i
where i.provider = $1 and i.id > $2 and i.status = 'draft' and i.updated_at < $3
    and ($4::timestamptz is null or i.created_at >= $4)
    and ($5::text is null or i.provider_customer = $5)
    and not exists (
        select from reconciliation_seen as r where r.run_id = $6 and r.provider_id = i.provider_id
    )
order by i.id limit $7;

-- name: queue :one
-- reconciliation_queue_once: what is in the queue is not queued again. reconciliation_queue_by_object:
-- what a person resolved is not either, unless it is over. No row: it was there.
insert into reconciliation_queue
    (provider, kind, object_id, customer_id, next_attempt_at, detail, found_at, correlation_id)
select
    $1::text, $2::text, $3::text, $4::bigint, $5::timestamptz, $6::jsonb, $7::timestamptz, $8::text
where not exists (
    select from reconciliation_queue as q
    where q.provider = $1 and q.kind = $2 and q.object_id = $3 and q.state = 'resolved'
        and q.resolved_by <> 'headroom:reconciliation' and not q.detail ? 'over'
)
on conflict (provider, kind, object_id) where state <> 'resolved' do nothing
returning id;

-- name: left_alone :many
-- Duplicates that a person said to leave as they are. reconciliation_queue_by_object.
select distinct object_id from reconciliation_queue
where provider = $1 and kind = 'duplicate_subscription' and object_id = any ($2::text[])
    and state = 'resolved' and resolved_by <> 'headroom:reconciliation';

-- name: given_up_duplicates :many
-- Of which it is seen whether they are duplicates still. reconciliation_queue_once.
select q.id, q.object_id, q.customer_id, c.type
from reconciliation_queue as q join customers as c on c.id = q.customer_id
where q.provider = $1 and q.kind = 'duplicate_subscription' and q.state = 'given_up' and q.id > $2
order by q.id limit $3;

-- name: changes_over :exec
-- Findings of changes that wait no more, so that the next change is another one, whoever resolved
-- this one. reconciliation_queue_by_object, then subscriptions_unique.
update reconciliation_queue as q
set state = 'resolved', resolved_at = coalesce(q.resolved_at, $2),
    resolved_by = coalesce(q.resolved_by, 'headroom:reconciliation'),
    resolution = coalesce(q.resolution, 'No change waits any more.'),
    detail = q.detail || '{"over": true}'
where q.provider = $1 and q.kind = 'abandoned_change' and not q.detail ? 'over'
    and (q.state <> 'resolved' or q.resolved_by <> 'headroom:reconciliation')
    and not exists (
        select from subscriptions as s
        where s.provider = q.provider and s.provider_id = q.object_id
            and s.pending_plan is not null and s.status not in ('canceled', 'incomplete_expired')
    );

-- name: one_ends_at_a_time :exec
-- Until the transaction ends, so that what is counted is what there is.
select pg_advisory_xact_lock(hashtextextended('ending duplicates:' || $1::text, 0));

-- name: may_end :one
-- reconciliation_queue_acted: a duplicate that was begun with counts once, and one that a person
-- had tried again does not count. No row: too many were begun with since $4, or it was resolved.
update reconciliation_queue as q set acted_at = $3
where q.id = $2 and q.state = 'acting' and (
    q.approved_at is not null or q.acted_at > $4 or $5 > (
        select count(*) from reconciliation_queue as other
        where other.provider = $1 and other.kind = 'duplicate_subscription' and other.acted_at > $4
    )
)
returning q.id;

-- name: claim :many
-- reconciliation_queue_due. Held for a while, so that no two processes act at once; one that dies
-- is followed by another, who reads first what became of it.
update reconciliation_queue as q
set state = 'acting', attempts = q.attempts + 1, next_attempt_at = $3
from (
    select id from reconciliation_queue
    where provider = $1 and state in ('open', 'acting') and next_attempt_at <= $2
    order by next_attempt_at, id limit $4 for update skip locked
) as due
where q.id = due.id returning q.*;

-- name: failed :one
-- The primary key; only as long as this attempt is the last. No row: it is not any more.
update reconciliation_queue set state = $3, next_attempt_at = $4, last_error = $5
where id = $1 and attempts = $2 and state = 'acting' returning id;

-- name: postpone :exec
-- The primary key; as if nothing had been attempted, and only as long as this attempt is the last.
update reconciliation_queue set state = 'open', attempts = 0, next_attempt_at = $3, last_error = $4
where id = $1 and attempts = $2 and state = 'acting';

-- name: resolved :one
-- The primary key. What was resolved stays so.
update reconciliation_queue set state = 'resolved', resolved_at = $2, resolved_by = $3,
    resolution = $4
where id = $1 and state <> 'resolved' returning *;

-- name: retry :one
-- The primary key. From the start, and by a person's word.
update reconciliation_queue
set state = 'open', attempts = 0, next_attempt_at = $2, approved_at = $2
where id = $1 and state <> 'resolved' returning *;

-- name: list :many
-- The primary key backward; the answer is bounded.
select q.*, c.key as customer_key
from reconciliation_queue as q left join customers as c on c.id = q.customer_id
where ($1::text is null or q.state = $1) and q.id < $2 order by q.id desc limit $3;
