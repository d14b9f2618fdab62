set local lock_timeout = '5s';
drop table provider_payments, pack_purchases, holds, credit_pending, credit_operations;
drop view credit_postings;
drop table credit_entries, credit_grants;
drop function credit_entries_are_kept();
delete from usage_releases as a using usage_releases as b
where a.customer_id = b.customer_id and a.consumption_id = b.consumption_id
    and a.operation_id = b.operation_id and a.consumed_at < b.consumed_at;
alter table usage_releases
    drop column feature_id,
    drop column charged,
    drop column consumed_at,
    add primary key (customer_id, consumption_id, operation_id);
alter table subscriptions drop column paid_until;
alter table balances drop column charged;
alter table usage_totals drop column charged;
alter table usage_events drop column charged;
