set local lock_timeout = '5s';

drop table blind_operations, usage_releases, operations, balances, usage_totals, usage_events,
    drain_positions, shard_epochs;
