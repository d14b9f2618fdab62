set local lock_timeout = '5s';

drop table provider_cursors;
drop table alerts;
