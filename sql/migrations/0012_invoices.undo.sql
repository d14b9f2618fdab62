set local lock_timeout = '5s';

drop table subscription_changes;
drop table invoices;
