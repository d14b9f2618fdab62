set local lock_timeout = '5s';

alter table subscriptions
    drop column scheduled_plan,
    drop column scheduled_price,
    drop column scheduled_at;

drop table provider_operations;
