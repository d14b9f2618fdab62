set local lock_timeout = '5s';
drop function credits_resolve(
    bigint[], text[], text[], text[], timestamptz[], text[], timestamptz[], bigint[], boolean[],
    timestamptz[], text[], text[], text[]
);
drop function credits_charge(
    bigint[], text[], text[], text[], timestamptz[], text[], timestamptz[], bigint[], smallint[],
    bigint[], bytea[], text[], text[], text[], timestamptz[], bigint[], bigint[], text[], bigint[],
    integer[], smallint[], integer[], bigint[], bigint[], bigint[]
);
drop function credit_cost(bigint, bigint, bigint, text, bigint);
