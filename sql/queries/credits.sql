-- Reading the ledger, and what operators and the audit need of it. Debits are in charges.sql, the
-- one statement that writes entries from Python in ledger.sql.

-- name: balances :many
-- Balances of these customers now, from the grants: what has expired counts zero, also before its
-- entry says so, and what is not effective yet counts nothing. What is held counts until it is
-- resolved, whatever became of its grant. Primary key.
select
    customer_id, bucket,
    coalesce(sum(available) filter (
        where effective_at <= $2 and (expires_at is null or expires_at > $2)
    ), 0)::bigint as available,
    sum(held)::bigint as held
from credit_grants
where customer_id = any ($1::bigint[])
group by customer_id, bucket
order by customer_id, bucket;

-- name: balance_at :many
-- The same of one customer at any instant, from the entries up to it. Primary key.
select
    g.bucket,
    coalesce(sum(e.available) filter (
        where g.effective_at <= $2 and (g.expires_at is null or g.expires_at > $2)
    ), 0)::bigint as available,
    sum(e.held)::bigint as held
from (
    select
        grant_id,
        sum(case 'available' when credit then amount when debit then -amount else 0 end)
            as available,
        sum(case 'held' when credit then amount when debit then -amount else 0 end) as held
    from credit_entries
    where customer_id = $1 and at <= $2
    group by grant_id
) as e
join credit_grants as g on g.customer_id = $1 and g.id = e.grant_id
group by g.bucket
order by g.bucket;

-- name: grants :many
-- Grants of one customer, newest first, from before the last one seen. Primary key.
select
    g.*,
    (
        select array_agg(f.key order by f.key) from features as f where f.id = any (g.features)
    ) as feature_keys
from credit_grants as g
where g.customer_id = $1 and g.id < $2
order by g.id desc
limit $3;

-- name: entries :many
-- Entries of one customer, newest first, from before the last one seen; a filter that is null
-- lets all pass. $8 are names of one operation: ours, or the caller's, which stands only with what
-- was asked under it; what came back or was corrected later is of the same operation. Primary key.
select e.*, f.key as feature
from credit_entries as e
left join features as f on f.id = e.feature_id
where e.customer_id = $1
    and e.id < $2
    and ($4::text[] is null or e.kind = any ($4))
    and ($5::text is null or e.bucket = $5)
    and ($6::text is null or f.key = $6)
    and ($7::bigint is null or e.grant_id = $7)
    and (
        $8::text[] is null
        or e.operation_id = any ($8)
        or e.reference = any ($8)
        or e.operation_id in (
            select a.operation_id from credit_entries as a
            where a.customer_id = $1 and a.reference = any ($8) and a.kind in ('spend', 'hold')
        )
    )
    and ($9::text is null or e.reference = $9)
    and ($10::text is null or e.correlation_id = $10)
    and ($11::timestamptz is null or e.at >= $11)
    and ($12::timestamptz is null or e.at < $12)
order by e.id desc
limit $3;

-- name: statement_buckets :many
-- What moved in [$2, $3) by bucket, with what stood before and after; all entries up to its end are
-- summed, so that the closing figures rest on nothing else. Primary key.
select
    bucket,
    coalesce(sum(available) filter (where at < $2), 0)::bigint as opening,
    coalesce(sum(held) filter (where at < $2), 0)::bigint as opening_held,
    coalesce(sum(amount) filter (where at >= $2 and kind = 'grant'), 0)::bigint as granted,
    coalesce(sum(amount) filter (where at >= $2 and credit = 'spent'), 0)::bigint as spent,
    coalesce(sum(amount) filter (where at >= $2 and debit = 'spent'), 0)::bigint as returned,
    coalesce(sum(held) filter (where at >= $2), 0)::bigint as held_net,
    coalesce(sum(amount) filter (where at >= $2 and kind = 'expire'), 0)::bigint as expired,
    coalesce(sum(amount) filter (where at >= $2 and kind = 'revoke'), 0)::bigint as revoked,
    coalesce(sum(amount) filter (where at >= $2 and kind = 'restore'), 0)::bigint as restored,
    sum(available)::bigint as closing,
    sum(held)::bigint as closing_held
from (
    select
        bucket, at, kind, debit, credit, amount,
        case 'available' when credit then amount when debit then -amount else 0 end as available,
        case 'held' when credit then amount when debit then -amount else 0 end as held
    from credit_entries
    where customer_id = $1 and at < $3
) as e
group by bucket
order by bucket;

-- name: statement_features :many
-- What each feature took in [$2, $3), less what was given back in it. All entries of one operation
-- at one instant say the same units, once for each grant: the greatest is the operation's. Primary
-- key.
select
    f.key as feature,
    coalesce(sum(o.units), 0)::bigint as units,
    sum(o.spent)::bigint as spent,
    sum(o.returned)::bigint as returned
from (
    select
        feature_id,
        coalesce(max(units) filter (where credit = 'spent'), 0)
            - coalesce(max(units) filter (where debit = 'spent'), 0) as units,
        coalesce(sum(amount) filter (where credit = 'spent'), 0) as spent,
        coalesce(sum(amount) filter (where debit = 'spent'), 0) as returned
    from credit_entries
    where customer_id = $1 and at >= $2 and at < $3 and 'spent' in (debit, credit)
    group by feature_id, operation_id, at, reference
) as o
left join features as f on f.id = o.feature_id
group by f.key
order by f.key;

-- name: heavy_users :many
-- Who spent most in [$1, $2), less what was returned in it, feature by feature; "everything" is
-- what all customers spent. By credit_entries_by_time: costs as many entries as the window has.
with spent as (
    select customer_id, feature_id, sum(units) as units, sum(credits) as credits
    from (
        select
            customer_id, feature_id,
            coalesce(max(units) filter (where credit = 'spent'), 0)
                - coalesce(max(units) filter (where debit = 'spent'), 0) as units,
            sum(case when credit = 'spent' then amount else -amount end) as credits
        from credit_entries
        where at >= $1 and at < $2 and 'spent' in (debit, credit)
        group by customer_id, feature_id, operation_id, at, reference
    ) as o
    group by customer_id, feature_id
),
heaviest as (
    select customer_id, sum(credits) as credits
    from spent
    group by customer_id
    having sum(credits) > 0
    order by 2 desc, 1
    limit $3
)
select
    h.customer_id, c.key as customer, h.credits::bigint as credits, f.key as feature,
    coalesce(s.units, 0)::bigint as feature_units, s.credits::bigint as feature_credits,
    (select sum(credits)::bigint from spent) as everything
from heaviest as h
join spent as s on s.customer_id = h.customer_id
join customers as c on c.id = h.customer_id
left join features as f on f.id = s.feature_id
order by h.credits desc, h.customer_id, s.credits desc, f.key;

-- name: due_to_expire :many
-- Grants past their time of which something is left, in the order of their ends; with $3, only of
-- those that ended since. By credit_grants_expiring; no lock: expire_due looks again under it.
select customer_id, id
from credit_grants
where expires_at <= $1 and expires_at > coalesce($3, '-infinity'::timestamptz) and available > 0
order by expires_at, customer_id, id
limit $2;

-- name: expire_due :many
-- What is left of these grants now, and how often each was expired before: what came back to one
-- since is expired under a name of its own. Under lock_customers.
select
    g.customer_id, g.id, g.available,
    (
        select count(*) from credit_entries as e
        where e.customer_id = g.customer_id and e.grant_id = g.id and e.kind = 'expire'
    ) as before
from credit_grants as g
join unnest($1::bigint[], $2::bigint[]) as asked (customer_id, id) using (customer_id, id)
where g.available > 0 and g.expires_at <= $3
order by g.customer_id, g.id;

-- name: usable :many
-- What could be taken of a customer's grants at an instant, in burn order. Primary key.
select id, available
from credit_grants
where customer_id = $1
    and available > 0
    and effective_at <= $2
    and (expires_at is null or expires_at > $2)
order by priority, expires_at nulls last, created_at, id;

-- name: entries_of_act :many
-- What one act of an operator wrote, in order. By credit_entries_by_operation.
select kind, grant_id, amount from credit_entries
where customer_id = $1 and operation_id = $2
order by id;

-- name: grant_of_source :one
-- The grant that was given for this. By credit_grants_source_unique.
select * from credit_grants where customer_id = $1 and source = $2;

-- name: accounts_of_grant :one
-- What became of a grant so far. Primary key.
select
    coalesce(sum(case 'spent' when credit then amount when debit then -amount end), 0)::bigint
        as spent,
    coalesce(sum(case 'expired' when credit then amount end), 0)::bigint as expired,
    coalesce(sum(case 'held' when credit then amount when debit then -amount end), 0)::bigint
        as held
from credit_entries
where customer_id = $1 and grant_id = $2;

-- name: outstanding :one
-- Credits that a customer has, whenever they may be used. Primary key.
select coalesce(sum(available + held), 0)::bigint from credit_grants where customer_id = $1;

-- name: spenders :many
-- Customers who paid for a feature in [$2, $3), from one number on. By credit_entries_by_time.
select e.customer_id as id, c.key
from (
    select distinct customer_id from credit_entries
    where at >= $2 and at < $3 and feature_id = $1 and credit = 'spent' and customer_id > $4
) as e
join customers as c on c.id = e.customer_id
order by e.customer_id
limit $5;

-- name: paid_operations :many
-- Operations of a customer that paid for a feature in [$3, $4), whole, some at a time from one name
-- on: what each grant paid, in burn order, and what of that came back. "units" are those that the
-- payment was for: the hold's own figure where it is one, as a part that cost nothing has no entry;
-- "released" those of them that were given back. Primary key, credit_entries_by_operation,
-- usage_releases' key.
with operations as (
    select distinct operation_id from credit_entries
    where customer_id = $1 and feature_id = $2 and credit = 'spent' and at >= $3 and at < $4
        and operation_id > $5
    order by operation_id
    limit $6
),
paid as (
    select
        e.operation_id, e.grant_id, min(e.id) as place,
        sum(case when e.credit = 'spent' then e.amount else 0 end) as spent,
        sum(case when e.debit = 'spent' then e.amount else 0 end) as returned
    from credit_entries as e
    join operations as o using (operation_id)
    where e.customer_id = $1 and e.feature_id = $2 and 'spent' in (e.debit, e.credit)
    group by e.operation_id, e.grant_id
),
told as (
    select operation_id, sum(units) as units
    from (
        select e.operation_id, max(e.units) as units
        from credit_entries as e
        join operations as o using (operation_id)
        where e.customer_id = $1 and e.feature_id = $2 and e.credit = 'spent'
        group by e.operation_id, e.at, e.reference
    ) as parts
    group by operation_id
),
released as (
    select o.operation_id, sum(r.charged) as units
    from usage_releases as r
    join operations as o on o.operation_id = r.consumption_id
    where r.customer_id = $1 and r.feature_id = $2
    group by o.operation_id
)
select
    p.operation_id, p.grant_id, p.spent::bigint as spent, p.returned::bigint as returned,
    g.bucket, g.priority, g.features, g.effective_at, g.expires_at,
    coalesce(
        case
            when h.id is null then t.units
            else greatest(0, h.captured - (h.units - h.charged))
        end,
        0
    )::bigint as units,
    coalesce(r.units, 0)::bigint as released
from paid as p
join told as t using (operation_id)
join credit_grants as g on g.customer_id = $1 and g.id = p.grant_id
left join released as r on r.operation_id = p.operation_id
left join holds as h on h.customer_id = $1 and h.id = p.operation_id
order by p.operation_id, p.place;

-- name: last_customer :one
-- The end of a page of customers, for what must look at all of them a few at a time.
select max(id) from (
    select id from customers where id > $1 order by id limit $2
) as page;

-- name: grants_beside_entries :many
-- Grants whose kept balance is not what their entries sum to. Primary keys.
select
    g.customer_id, g.id, g.available, g.held, g.expires_at,
    coalesce(e.available, 0)::bigint as sum_available, coalesce(e.held, 0)::bigint as sum_held
from credit_grants as g
left join (
    select
        customer_id, grant_id,
        sum(case 'available' when credit then amount when debit then -amount else 0 end)
            as available,
        sum(case 'held' when credit then amount when debit then -amount else 0 end) as held
    from credit_entries
    where customer_id > $1 and customer_id <= $2
    group by customer_id, grant_id
) as e on e.customer_id = g.customer_id and e.grant_id = g.id
where g.customer_id > $1 and g.customer_id <= $2
    and (g.available, g.held) is distinct from
        (coalesce(e.available, 0)::bigint, coalesce(e.held, 0)::bigint)
order by g.customer_id, g.id;

-- name: entries_without_grant :many
-- Entries of a grant that there is not: their balance is in no bucket. Primary keys.
select e.customer_id, e.grant_id, sum(e.amount)::bigint as amount, count(*) as entries
from credit_entries as e
where e.customer_id > $1 and e.customer_id <= $2
    and not exists (
        select from credit_grants as g where g.customer_id = e.customer_id and g.id = e.grant_id
    )
group by e.customer_id, e.grant_id
order by e.customer_id, e.grant_id;

-- name: issues_beside_units :many
-- Grants that were not entered as what they were given for. Primary keys.
select g.customer_id, g.id, g.units, coalesce(e.issued, 0)::bigint as issued
from credit_grants as g
left join (
    select customer_id, grant_id, sum(amount) as issued
    from credit_entries
    where customer_id > $1 and customer_id <= $2 and kind = 'grant'
    group by customer_id, grant_id
) as e on e.customer_id = g.customer_id and e.grant_id = g.id
where g.customer_id > $1 and g.customer_id <= $2 and g.units <> coalesce(e.issued, 0)
order by g.customer_id, g.id;

-- name: impossible_accounts :many
-- Grants of which an account other than "issued" sums below zero: more left it than came.
-- Primary key.
select customer_id, grant_id, account, sum(amount)::bigint as amount
from credit_postings
where customer_id > $1 and customer_id <= $2 and account <> 'issued'
group by customer_id, grant_id, account
having sum(amount) < 0
order by customer_id, grant_id, account;

-- name: unbalanced_customers :many
-- Customers whose postings do not sum to zero: a side of some entry is missing. Primary key.
select customer_id, sum(amount)::bigint as amount
from credit_postings
where customer_id > $1 and customer_id <= $2
group by customer_id
having sum(amount) <> 0
order by customer_id;

-- name: misplaced_entries :many
-- Entries that move between other accounts than their kind does, or name another bucket than their
-- grant's. The first three arrays say which kind moves what. Primary keys.
select
    e.customer_id, e.id, e.grant_id, e.operation_id, e.amount, e.kind, e.debit, e.credit, e.bucket,
    k.debit as kind_debit, k.credit as kind_credit, g.bucket as grant_bucket
from credit_entries as e
left join unnest($3::text[], $4::text[], $5::text[]) as k (kind, debit, credit) using (kind)
left join credit_grants as g on g.customer_id = e.customer_id and g.id = e.grant_id
where e.customer_id > $1 and e.customer_id <= $2
    and (
        (e.debit, e.credit) is distinct from (k.debit, k.credit)
        or e.bucket <> coalesce(g.bucket, e.bucket)
    )
order by e.customer_id, e.id;

-- name: operations_beside_entries :many
-- Charges whose recorded credits are not what their entries took. An entry's reference is the
-- caller's name for the operation, where that is not our own. Primary keys.
select o.customer_id, o.operation_id, o.credits, coalesce(e.credits, 0)::bigint as entered
from credit_operations as o
left join (
    select
        customer_id, coalesce(reference, operation_id) as operation_id, at, sum(amount) as credits
    from credit_entries
    where customer_id > $1 and customer_id <= $2 and kind in ('spend', 'hold')
    group by 1, 2, 3
) as e on e.customer_id = o.customer_id and e.operation_id = o.operation_id and e.at = o.at
where o.customer_id > $1 and o.customer_id <= $2
    and o.kind not in ('capture', 'void', 'extend', 'expire')
    and o.credits <> coalesce(e.credits, 0)
order by o.customer_id, o.operation_id;

-- name: holds_beside_entries :many
-- Holds whose credits, set aside, spent or still held, are not what their entries say. Primary keys.
select
    h.customer_id, h.id, h.credits, h.spent,
    case when h.state = 'open' then h.credits - h.spent else 0 end as held,
    coalesce(e.placed, 0)::bigint as entered_credits,
    coalesce(e.spent, 0)::bigint as entered_spent,
    coalesce(e.held, 0)::bigint as entered_held
from holds as h
left join (
    select
        customer_id, operation_id,
        sum(amount) filter (where kind = 'hold') as placed,
        sum(amount) filter (where kind = 'capture') as spent,
        sum(case 'held' when credit then amount when debit then -amount else 0 end) as held
    from credit_entries
    where customer_id > $1 and customer_id <= $2 and 'held' in (debit, credit)
    group by customer_id, operation_id
) as e on e.customer_id = h.customer_id and e.operation_id = h.id
where h.customer_id > $1 and h.customer_id <= $2
    and (h.credits, h.spent, case when h.state = 'open' then h.credits - h.spent else 0 end)
        is distinct from
        (
            coalesce(e.placed, 0)::bigint, coalesce(e.spent, 0)::bigint, coalesce(e.held, 0)::bigint
        )
order by h.customer_id, h.id;

-- name: rebuild_balances :many
-- Makes the kept balances of a customer what its entries sum to. A sum below zero cannot be a
-- balance: that grant is left, as its fault is the ledger's. Under lock_customers.
update credit_grants as g
set available = s.available, held = s.held
from (
    select
        k.id,
        coalesce(sum(case 'available' when e.credit then e.amount when e.debit then -e.amount end),
            0)::bigint as available,
        coalesce(sum(case 'held' when e.credit then e.amount when e.debit then -e.amount end),
            0)::bigint as held
    from credit_grants as k
    left join credit_entries as e on e.customer_id = k.customer_id and e.grant_id = k.id
    where k.customer_id = $1
    group by k.id
) as s
where g.customer_id = $1
    and g.id = s.id
    and (g.available, g.held) is distinct from (s.available, s.held)
    and s.available >= 0
    and s.held >= 0
returning g.id, g.available, g.held;
