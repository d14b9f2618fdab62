set local lock_timeout = '5s';

drop index webhook_events_by_arrival;
drop index webhook_events_due;
alter table webhook_events drop column later, drop column origin;
create index webhook_events_due on webhook_events (next_attempt_at, id)
    where state in ('pending', 'failed');

drop table provider_cursors;
drop table alerts;
