set local lock_timeout = '5s';

-- Of the units counted, those that credits paid for: what a plan includes is not used up by them.
alter table usage_events add column charged bigint not null default 0;
alter table usage_totals add column charged bigint not null default 0;
alter table balances add column charged bigint not null default 0;

-- Until when the subscription is paid for, by the latest invoice that was.
alter table subscriptions add column paid_until timestamptz;

-- Credits given. "available" and "held" are what its entries sum to, kept for speed: derived,
-- checked, and repairable from the entries.
create table credit_grants (
    customer_id bigint not null references customers,
    id bigint generated always as identity,
    -- What it was given for, said once: a paid month, a purchase, an operator's act.
    source text not null,
    bucket text not null
        constraint credit_grants_bucket
        check (bucket in ('subscription', 'permanent', 'promotional')),
    priority integer not null,
    units bigint not null constraint credit_grants_units_positive check (units > 0),
    effective_at timestamptz not null,
    expires_at timestamptz,
    -- Numbers of the features that it pays for; null: all.
    features integer[],
    reason text not null,
    actor text not null,
    reference text,
    correlation_id text,
    created_at timestamptz not null,
    -- Since when nothing of it is to be spent any more, whatever comes back.
    voided_at timestamptz,
    available bigint not null default 0
        constraint credit_grants_never_negative check (available >= 0),
    held bigint not null default 0
        constraint credit_grants_held_never_negative check (held >= 0),
    primary key (customer_id, id),
    constraint credit_grants_source_unique unique (customer_id, source),
    constraint credit_grants_expire_later check (expires_at > effective_at)
) with (fillfactor = 80);
create index credit_grants_expiring on credit_grants (expires_at) where expires_at is not null;
create index credit_grants_voided on credit_grants (customer_id, id)
    where voided_at is not null and available > 0;

-- The ledger: one row moves an amount out of one account into another, so the two sides of a row
-- always balance, and a balance is a sum of rows. Accounts of a customer: issued, available, held,
-- spent, expired, revoked.
-- No foreign keys: each would lock a row of another table for every entry; checks.sql looks for
-- entries without a grant instead.
create table credit_entries (
    customer_id bigint not null,
    id bigint generated always as identity,
    at timestamptz not null,
    kind text not null,
    debit text not null,
    credit text not null,
    amount bigint not null constraint credit_entries_amount_positive check (amount > 0),
    grant_id bigint not null,
    bucket text not null,
    feature_id integer,
    units bigint,
    -- The consumption, hold or act that it belongs to.
    operation_id text not null,
    reason text not null,
    actor text not null,
    reference text,
    correlation_id text,
    primary key (customer_id, id),
    constraint credit_entries_two_sides check (debit <> credit)
);
create index credit_entries_by_operation on credit_entries (customer_id, operation_id);
-- Rows come in the order of time, so ranges of blocks say enough, and cost next to nothing to keep.
create index credit_entries_by_time on credit_entries using brin (at);

create function credit_entries_are_kept() returns trigger language plpgsql as $$
begin
    raise exception 'credit_entries is append-only: a correction is a new entry'
        using errcode = 'restrict_violation';
end
$$;
create trigger credit_entries_append_only
    before update or delete or truncate on credit_entries
    for each statement execute function credit_entries_are_kept();
revoke update, delete, truncate on credit_entries from public;
revoke update, delete, truncate on credit_entries from current_user;

-- Every posting of the ledger, both sides: sums to zero whatever is left out by whole rows.
create view credit_postings as
select customer_id, id, at, grant_id, bucket, operation_id, debit as account, -amount as amount
from credit_entries
union all
select customer_id, id, at, grant_id, bucket, operation_id, credit as account, amount
from credit_entries;

-- Decisions in which credits or holds took part: the row is the decision. Keyed by the caller's
-- name for the operation, or by our own.
create table credit_operations (
    customer_id bigint not null,
    operation_id text not null,
    -- The name under which the counters know it; null where they took no part.
    attempt_id text,
    kind text not null,
    at timestamptz not null,
    expires_at timestamptz not null,
    fingerprint text not null,
    credits bigint not null,
    -- Credits available right after.
    balance bigint not null,
    answer bytea not null,
    primary key (customer_id, operation_id)
);
create index credit_operations_by_attempt on credit_operations (customer_id, attempt_id)
    where attempt_id is not null;
create index credit_operations_expired on credit_operations using brin (expires_at);

-- What the counters let pass and credits have not decided yet. 'open' past its deadline is voided;
-- 'void' is the tombstone that makes a late decision fail, and is kept for a while.
create table credit_pending (
    customer_id bigint not null,
    attempt_id text not null,
    at timestamptz not null,
    deadline timestamptz not null,
    state text not null default 'open'
        constraint credit_pending_state check (state in ('open', 'void')),
    -- Whether the counters know that it was voided.
    told boolean not null default false,
    feature_ids integer[] not null,
    units bigint[] not null,
    charged bigint[] not null,
    primary key (customer_id, attempt_id)
);
create index credit_pending_open on credit_pending (deadline) where state = 'open';
create index credit_pending_untold on credit_pending (deadline) where state = 'void' and not told;

-- Units and credits set aside. Units are counted as used from the start; "held" is what of them is
-- neither captured nor given back yet.
create table holds (
    -- No foreign key: it would lock the customer's row for every hold.
    customer_id bigint not null,
    id text not null,
    operation_id text not null,
    feature_id integer not null,
    units bigint not null constraint holds_units_positive check (units > 0),
    charged bigint not null,
    captured bigint not null default 0,
    at timestamptz not null,
    expires_at timestamptz not null,
    state text not null default 'open'
        constraint holds_state check (state in ('open', 'captured', 'voided', 'expired')),
    resolved_at timestamptz,
    -- Credits set aside, and of them spent; per grant in burn order.
    credits bigint not null,
    spent bigint not null default 0,
    grant_ids bigint[] not null,
    grant_credits bigint[] not null,
    -- The price it was placed at.
    cost_credits bigint not null,
    cost_per bigint not null,
    cost_rounding text not null,
    cost_minimum bigint not null,
    -- Whether the counters know it, how often it changed, and up to which change they were told.
    counted boolean not null,
    version integer not null default 0,
    told_version integer not null default 0,
    actor text not null,
    correlation_id text,
    primary key (customer_id, id),
    constraint holds_capture_within check (captured between 0 and units),
    constraint holds_spend_within check (spent between 0 and credits)
);
create index holds_due on holds (expires_at) where state = 'open';
create index holds_open on holds (customer_id, at) where state = 'open';
create index holds_untold on holds (customer_id, id) where counted and told_version < version;

-- Of the units given back those that credits had paid for, and of which feature. A name that is
-- used anew names another consumption: which of them tells the instant. Of those from before that
-- is not known.
alter table usage_releases
    add column feature_id integer,
    add column charged bigint not null default 0,
    add column consumed_at timestamptz not null default 'epoch',
    drop constraint usage_releases_pkey,
    add primary key (customer_id, consumption_id, consumed_at, operation_id);
alter table usage_releases alter column consumed_at drop default;

-- Packs that were bought, unique by the provider's checkout; what became of the payment is kept
-- apart, as it may be told first.
create table pack_purchases (
    provider text not null,
    checkout_id text not null,
    customer_id bigint not null references customers,
    payment_id text,
    pack text not null,
    quantity integer not null constraint pack_purchases_quantity_positive check (quantity > 0),
    grant_id bigint,
    -- What is to be taken back of the grant, and was spent or held when that was tried last.
    owed bigint not null default 0 constraint pack_purchases_owed_never_negative check (owed >= 0),
    at timestamptz not null,
    constraint pack_purchases_unique primary key (provider, checkout_id)
);
create index pack_purchases_by_payment on pack_purchases (provider, payment_id);
create index pack_purchases_by_customer on pack_purchases (customer_id);
create index pack_purchases_owing on pack_purchases (customer_id, grant_id) where owed > 0;
create table provider_payments (
    provider text not null,
    payment_id text not null,
    amount_minor bigint not null default 0,
    refunded_minor bigint not null default 0,
    disputed boolean not null default false,
    -- Orders what was told of the dispute without reading it again; see law 6.
    dispute_told_at timestamptz,
    updated_at timestamptz not null,
    constraint provider_payments_unique primary key (provider, payment_id)
);
