set local lock_timeout = '5s';

drop table reconciliation_seen;
drop table reconciliation_runs;
drop table reconciliation_queue;
