set local lock_timeout = '5s';

-- When each recurring task of the workers was last begun, and where the next turn goes on: of
-- several workers the one that moves the row does the work.
create table schedules (
    name text primary key,
    begun_at timestamptz not null,
    position bigint not null default 0
);
