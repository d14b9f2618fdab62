set local lock_timeout = '5s';

-- What the provider said of a payment, one row for each of its objects: the payment itself, its
-- charge, its refunds and disputes. What was taken back for it follows from all of them together,
-- whatever came in which order; provider_payments holds what they come to.
create table provider_payment_facts (
    provider text not null,
    object_id text not null,
    payment_id text not null,
    kind text not null
        constraint provider_payment_facts_kind
        check (kind in ('purchase', 'payment', 'charge', 'refund', 'dispute')),
    amount_minor bigint not null,
    refunded_minor bigint not null,
    stands boolean not null,
    -- Order two states of one object, where only events tell of it; see law 6.
    told_at timestamptz not null,
    place smallint not null,
    told_by text not null,
    constraint provider_payment_facts_unique primary key (provider, object_id)
);
create index provider_payment_facts_by_payment on provider_payment_facts (provider, payment_id);
alter table provider_payments drop column dispute_told_at;

-- Until when a subscription is paid for, by its invoices: they may be told before it is.
create table provider_paid_periods (
    provider text not null,
    subscription_id text not null,
    paid_until timestamptz not null,
    constraint provider_paid_periods_unique primary key (provider, subscription_id)
);

-- What became of one grant by itself or by a payment. Spending is left out: it is most of the
-- ledger, and is never asked for by grant.
create index credit_entries_by_grant on credit_entries (customer_id, grant_id)
    where kind in ('expire', 'revoke', 'restore');
