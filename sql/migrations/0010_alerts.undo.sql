set local lock_timeout = '5s';

drop index webhook_events_by_arrival;
alter table webhook_events drop column origin;

drop table provider_cursors;
drop table alerts;
