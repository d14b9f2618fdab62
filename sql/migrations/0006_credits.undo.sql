set local lock_timeout = '5s';
drop table provider_payments, pack_purchases, holds, credit_pending, credit_operations;
drop view credit_postings;
drop table credit_entries, credit_grants;
drop function credit_entries_are_kept();
alter table subscriptions drop column paid_until;
alter table balances drop column charged;
alter table usage_totals drop column charged;
alter table usage_events drop column charged;
