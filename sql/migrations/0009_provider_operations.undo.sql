set local lock_timeout = '5s';

drop table provider_operations;
