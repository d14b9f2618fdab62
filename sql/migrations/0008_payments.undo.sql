set local lock_timeout = '5s';

drop index credit_entries_by_grant;
drop table provider_paid_periods;
alter table provider_payments add column dispute_told_at timestamptz;
drop table provider_payment_facts;
