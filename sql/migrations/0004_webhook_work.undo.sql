set local lock_timeout = '5s';

drop index webhook_signature_failures_by_minute;
create index webhook_signature_failures_by_address
    on webhook_signature_failures (remote_address, minute);
alter table webhook_signature_failures
    drop constraint webhook_signature_failures_capped,
    drop column slot;

drop index webhook_events_parked;
drop index webhook_events_by_customer;
alter table webhook_events drop column customer_id, drop column problem;

drop table provider_locks;
