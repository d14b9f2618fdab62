-- name: take_in :one
-- Once per event, before it is acknowledged: webhook_events_unique. The notice goes out with the
-- commit, so whoever is woken finds the row. Answers with nothing where the event was known.
with stored as (
    insert into webhook_events (
        provider, event_id, type, api_version, object_id, provider_created_at, received_at, payload,
        state, next_attempt_at, handled_at, correlation_id, origin
    )
    values (
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $7,
        case $9::text when 'ignored' then $7::timestamptz end, $10, $11
    )
    on conflict on constraint webhook_events_unique do nothing
    returning id, state
)
select id, case state when 'pending' then pg_notify('headroom_webhooks', '') end from stored;

-- name: look :exec
-- Events of our own, one for each object; workers hear of them with the caller's commit. Where one
-- for the same object waits that was left no earlier, and not for later than this one may, that one
-- will see what this one would: an earlier one may be about to be read, or was, by a pass that began
-- before. What waits for a person, or for a later attempt, is tried once more by a comparison,
-- instead of beside it.
with again as (
    update webhook_events set
        state = case state when 'parked' then 'pending' else state end,
        attempts = case state when 'parked' then 0 else attempts end,
        next_attempt_at = $5, handled_at = null
    where $7 and provider = $1 and object_id = any ($4::text[]) and type = $3
        and state in ('failed', 'parked')
    returning object_id
),
stored as (
    insert into webhook_events (
        provider, event_id, type, object_id, provider_created_at, received_at, payload,
        next_attempt_at, correlation_id, origin, later
    )
    select
        $1, event_id, $3, object_id, $5, $5, jsonb_build_object('look', object_id), $5, $6, 'own', $7
    from unnest($2::text[], $4::text[]) as given (event_id, object_id)
    where not exists (
        select from webhook_events as e
        where e.provider = $1 and e.object_id = given.object_id and e.type = $3
            and e.state = 'pending' and e.attempts = 0 and e.received_at >= $5
            and (not e.later or $7)
    )
    and not exists (select from again where again.object_id = given.object_id)
    returning id
)
select pg_notify('headroom_webhooks', '')
from (select (select count(*) from stored) + (select count(*) from again)) as told;

-- name: parked_looks :many
-- webhook_events_by_object, for one batch: objects whose reading a person has to see to.
select distinct object_id from webhook_events
where provider = $1 and object_id = any ($2::text[]) and type = $3 and state = 'parked';

-- name: wake :exec
-- Tells every worker that there is something to do.
select pg_notify('headroom_webhooks', '');

-- name: due :many
-- webhook_events_due. Another worker's events are passed over, and so are those whose object
-- somebody holds: its holder looks again when it is done. What nobody waits for comes last.
select id, event_id, type, api_version, object_id, provider_created_at, attempts, correlation_id,
    payload, later
from webhook_events as e
where provider = $1 and state in ('pending', 'failed') and next_attempt_at <= $2
    and not exists (
        select from provider_locks as l
        where l.provider = e.provider and l.object_id = e.object_id and l.held_until > $2
    )
order by later, next_attempt_at, id
limit $3
for update of e skip locked;

-- name: lock_objects :many
-- Takes the objects that nobody holds, in one order, so that two workers do not wait for each other
-- crosswise. A lock that its holder let run out is taken over, under another token.
insert into provider_locks (provider, object_id, token, held_until)
select $1, object_id, gen_random_uuid(), $4 from unnest($2::text[]) as given (object_id)
order by object_id
on conflict on constraint provider_locks_unique do update
set token = excluded.token, held_until = excluded.held_until
where provider_locks.held_until <= $3
returning object_id, token;

-- name: claim :exec
-- In the transaction that took the locks. A worker that dies leaves its events due again when its
-- locks have run out.
update webhook_events set attempts = attempts + 1, next_attempt_at = $2
where id = any ($1::bigint[]);

-- name: still_held :one
-- The lock stays this holder's until the transaction ends: nobody can take it over in between.
select true from provider_locks where provider = $1 and object_id = $2 and token = $3 for update;

-- name: unlock :exec
-- Gives back the holder's own lock, not one that was taken over.
delete from provider_locks where provider = $1 and object_id = $2 and token = $3;

-- name: payer :one
-- Whom a subscription belongs to: by the product's own name, by the provider's name for the
-- customer, and by what is held already. All three by unique index.
select
    (select id from customers where key = $3) as named,
    (select customer_id from customer_links where provider = $1 and provider_id = $2) as linked,
    (select customer_id from subscriptions where provider = $1 and provider_id = $4) as holding;

-- name: lock_name :exec
-- Linking the provider's name for a customer, and failing for want of that link or writing what it
-- will adopt, take turns.
select pg_advisory_xact_lock(hashtextextended('provider customer:' || $1 || ':' || $2, 0));

-- name: linked :one
-- customer_links_unique; a statement of its own, as it must see what was committed before the lock.
select customer_id from customer_links where provider = $1 and provider_id = $2;

-- name: rouse :exec
-- Events that waited for somebody to say who this customer is; few, as only those that failed.
-- webhook_events_due and webhook_events_parked.
update webhook_events set state = 'pending', attempts = 0, next_attempt_at = $3
where provider = $1 and state in ('failed', 'parked') and problem = 'unknown_customer'
    and payload #>> '{data,object,customer}' = $2 and id <> all ($4::bigint[]);

-- name: redirect :exec
-- The event is about another object than its words could tell: it waits for that one's lock.
update webhook_events set object_id = $2, state = 'pending', attempts = attempts - 1,
    next_attempt_at = $3
where id = any ($1::bigint[]) and state in ('pending', 'failed');

-- name: applied :exec
-- In the transaction that wrote what followed from these events.
update webhook_events set state = 'applied', handled_at = $2, error = null, problem = null,
    customer_id = $3
where id = any ($1::bigint[]);

-- name: failed :exec
-- Kept with what hinders it: 'failed' is tried again when due, 'parked' waits for a person. What a
-- holder who took the lock over has applied meanwhile stays so.
update webhook_events as e
set state = g.state, problem = $4, error = $5, next_attempt_at = g.next_attempt_at,
    handled_at = case g.state when 'parked' then $6::timestamptz end
from unnest($1::bigint[], $2::text[], $3::timestamptz[]) as g (id, state, next_attempt_at)
where e.id = g.id and e.state in ('pending', 'failed');

-- name: release :exec
-- The lock was lost before anything was written: try again at once, as if it had not been tried.
update webhook_events set attempts = attempts - 1, next_attempt_at = $2
where id = any ($1::bigint[]) and state in ('pending', 'failed');

-- name: find :one
-- webhook_events_unique.
select * from webhook_events where provider = $1 and event_id = $2;

-- name: page :many
-- The primary key, newest first; a state, a type and a customer narrow it.
select * from webhook_events
where id < $1 and ($2::text is null or state = $2) and ($3::text is null or type = $3)
    and ($4::bigint is null or customer_id = $4)
order by id desc limit $5;

-- name: parked :many
-- webhook_events_parked.
select * from webhook_events where provider = $1 and state = 'parked' order by id for update;

-- name: of_type :many
-- webhook_events_due and webhook_events_parked: what of one type waits or was given up.
select * from webhook_events
where provider = $1 and state in ('failed', 'parked') and type = $2 order by id for update;

-- name: named :many
-- webhook_events_unique; locked, so that a worker does not finish one of them in between.
select * from webhook_events where provider = $1 and event_id = any ($2::text[])
order by id for update;

-- name: replay :exec
-- A fresh start; what follows is unique by facts of the object, so one that was applied may go too.
update webhook_events set state = 'pending', attempts = 0, next_attempt_at = $2, handled_at = null
where id = any ($1::bigint[]);

-- name: count_signature_failure :exec
-- webhook_signature_failures_capped. A minute has $9 slots per address: each failure takes the
-- next, and when all are taken, or another took the same at the same instant, it is only counted.
insert into webhook_signature_failures as f (
    endpoint, at, minute, remote_address, user_agent, payload_id, customer, reason, count, slot
)
select $1::text, $2, $3::timestamptz, $4::text, $5, $6, $7, $8, $10, least((
    select count(*) + 1 from webhook_signature_failures
    where remote_address = $4 and minute = $3 and endpoint = $1
), $9)
on conflict on constraint webhook_signature_failures_capped do update
set count = f.count + excluded.count;

-- name: signature_failures :many
-- The newest first; an address or a customer's key narrows it.
select * from webhook_signature_failures
where id < $1 and ($2::text is null or remote_address = $2) and ($3::text is null or customer = $3)
order by id desc limit $4;

-- name: signature_failures_by_address :many
-- webhook_signature_failures_by_minute.
select remote_address as name, sum(count)::bigint as count, max(at) as last_at
from webhook_signature_failures where minute >= $1
group by remote_address order by 2 desc, 1 limit $2;

-- name: signature_failures_by_customer :many
-- webhook_signature_failures_by_minute. The customer is what the delivery claimed, unproven.
select customer as name, sum(count)::bigint as count, max(at) as last_at
from webhook_signature_failures where minute >= $1 and customer is not null
group by customer order by 2 desc, 1 limit $2;

-- name: purchased :one
-- pack_purchases_unique.
select grant_id from pack_purchases where provider = $1 and checkout_id = $2;

-- name: note_purchase :exec
-- pack_purchases_unique; under the lock on the checkout, in the transaction that gave the grant.
insert into pack_purchases (
    provider, checkout_id, customer_id, payment_id, pack, quantity, grant_id, at
)
values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: hold_payment :exec
-- provider_payments_unique: whoever writes of a payment, or of what it bought, waits here for
-- whoever does already, so that neither overlooks the other.
insert into provider_payments (provider, payment_id, updated_at) values ($1, $2, $3)
on conflict on constraint provider_payments_unique do update set updated_at = excluded.updated_at;

-- name: drop_facts :exec
-- What the provider holds was read whole, and replaces what was heard; the purchase is our own.
delete from provider_payment_facts
where provider = $1 and payment_id = $2 and kind <> 'purchase';

-- name: note_facts :exec
-- provider_payment_facts_unique. The newest state of each object stays, by instant, then what is
-- final, then the greater refund, then the event's id: a total order of facts of the events.
insert into provider_payment_facts as f (
    provider, payment_id, object_id, kind, amount_minor, refunded_minor, stands, told_at, place,
    told_by
)
select $1, $2, * from unnest(
    $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::timestamptz[],
    $9::smallint[], $10::text[]
)
on conflict on constraint provider_payment_facts_unique do update set
    payment_id = excluded.payment_id, kind = excluded.kind,
    amount_minor = excluded.amount_minor, refunded_minor = excluded.refunded_minor,
    stands = excluded.stands, told_at = excluded.told_at, place = excluded.place,
    told_by = excluded.told_by
where (f.told_at, f.place, f.refunded_minor, f.told_by collate "C")
    < (excluded.told_at, excluded.place, excluded.refunded_minor, excluded.told_by collate "C");

-- name: facts_of :many
-- provider_payment_facts_by_payment.
select * from provider_payment_facts where provider = $1 and payment_id = $2;

-- name: stand_payment :many
-- What the facts come to, beside the payment; answers with what it bought, in order of customers.
-- pack_purchases_by_payment.
with stands as (
    update provider_payments
    set amount_minor = $3, refunded_minor = $4, disputed = $5, updated_at = $6
    where provider = $1 and payment_id = $2
)
select customer_id, grant_id from pack_purchases
where provider = $1 and payment_id = $2 and grant_id is not null
order by customer_id, grant_id;

-- name: note_owed :exec
-- What is still to be taken back of a purchase, once it comes back. pack_purchases_by_payment.
update pack_purchases set owed = $5
where provider = $1 and payment_id = $2 and customer_id = $3 and grant_id = $4 and owed <> $5;

-- name: owing :many
-- Payments for which something is to be taken back that came back meanwhile. pack_purchases_owing.
select distinct p.provider, p.payment_id from pack_purchases as p
join credit_grants as g on g.customer_id = p.customer_id and g.id = p.grant_id
where p.owed > 0 and g.available > 0
limit $1;

-- name: taken_for :one
-- What of a grant is taken back on account of one payment now. credit_entries_by_operation.
select coalesce(sum(case kind when 'revoke' then amount when 'restore' then -amount end), 0)::bigint
    as taken
from credit_entries
where customer_id = $1 and operation_id = $2 and grant_id = $3;
