set local lock_timeout = '5s';

alter table schedules drop column alive_at, drop column ended;
drop table provider_accounts;
drop table reconciliation_seen;
drop table reconciliation_runs;
drop table reconciliation_queue;
