set local lock_timeout = '5s';

drop table webhook_signature_failures, webhook_events;
