set local lock_timeout = '5s';

-- What units cost, in whole credits: units x credits / per, rounded, at least the minimum.
-- Equals cost_of in api/domain/credits.py; numeric, because the product may pass 2^63, and div,
-- because a quotient of numeric is itself rounded.
create function credit_cost(
    units bigint, credits bigint, per bigint, rounding text, minimum bigint
) returns bigint language sql immutable as $$
    select case when units = 0 then 0 else greatest(minimum, (case rounding
        when 'up' then div(units::numeric * credits + per - 1, per)
        when 'down' then div(units::numeric * credits, per)
        else div(2 * units::numeric * credits + per, 2 * per)
    end)::bigint) end
$$;

-- Decide a batch of charges and holds: debit all that fit, each whole or not at all, and record
-- the operation, its entries and its usage. One statement for all callers of the moment.
--
-- Equals Ledger.charge of api/domain/ledger.py, taken in order of the arrays, which are sorted by
-- customer. Judged under the lock of every customer in the batch; each inner statement sees what
-- was committed before the lock was had. An operation id may stand in a batch only once.
--
-- Outcomes: 1 done; 2 credits do not suffice ("balance": what could have paid); 3 done before, the
-- first answer; 4 done before with other contents; 5 rights changed since they were read; 6 the
-- attempt was voided; 7 the counters' epoch has ended.
-- Cost: about twelve statements, whatever the number; O(items x grants of the customer).
create function credits_charge(
    p_customers bigint[], p_operations text[], p_attempts text[], p_kinds text[],
    p_at timestamptz[], p_fingerprints text[], p_expires timestamptz[], p_versions bigint[],
    p_shards smallint[], p_epochs bigint[], p_answers bytea[], p_reasons text[], p_actors text[],
    p_correlations text[], p_until timestamptz[], p_cost_credits bigint[], p_cost_per bigint[],
    p_cost_rounding text[], p_cost_minimum bigint[],
    i_ops integer[], i_places smallint[], i_features integer[], i_units bigint[],
    i_charged bigint[], i_credits bigint[]
) returns table (
    place integer, outcome smallint, credits bigint, balance bigint, first_at timestamptz,
    first_attempt text, first_answer bytea, paid_items integer[], paid_buckets text[],
    paid_credits bigint[]
) language plpgsql
-- Planning anew for the arrays of each batch would cost more than carrying it out.
set plan_cache_mode = force_generic_plan
as $$
declare
    n constant integer := cardinality(p_customers);
    items constant integer := cardinality(i_ops);
    verdicts smallint[] := array_fill(1::smallint, array[n]);
    totals bigint[] := array_fill(0::bigint, array[n]);
    balances_after bigint[] := array_fill(0::bigint, array[n]);
    burns_from integer[] := array_fill(0, array[n]);
    burns_to integer[] := array_fill(-1, array[n]);
    firsts integer[] := '{}';
    g_customers bigint[]; g_ids bigint[]; g_buckets text[]; g_left bigint[];
    g_from timestamptz[]; g_until timestamptz[]; g_features text[];
    b_ops integer[] := '{}'; b_items integer[] := '{}'; b_grants bigint[] := '{}';
    b_buckets text[] := '{}'; b_credits bigint[] := '{}';
    b_places integer[] := '{}';
    burns integer := 0;
    grants integer;
    current_customer bigint := -1;
    head integer := 1;
    total bigint := 0;
    before integer;
    op integer; i integer; j integer; need bigint; take bigint; sought text;
    known record;
    any_done boolean := false;
    any_hold boolean := false;
    recorded bigint;
begin
    perform pg_advisory_xact_lock(1129465172, k.key)
    from (
        select distinct (c % 2147483647)::integer as key from unnest(p_customers) as c order by 1
    ) as k;

    if exists (select from unnest(p_shards) as s where s >= 0) then
        perform from shard_epochs as e where e.shard = any (p_shards) order by e.shard for share;
        for known in
            select a.place from unnest(p_shards, p_epochs) with ordinality as a (shard, epoch, place)
            where a.shard >= 0 and not exists (
                select from shard_epochs as e where e.shard = a.shard and e.epoch = a.epoch
            )
        loop
            verdicts[known.place] := 7;
        end loop;
        for known in
            select a.place from unnest(p_customers, p_attempts) with ordinality
                as a (customer, attempt, place)
            join credit_pending as v on v.customer_id = a.customer and v.attempt_id = a.attempt
            where v.state = 'void'
        loop
            verdicts[known.place] := 6;
        end loop;
    end if;
    for known in
        select a.place from unnest(p_customers, p_versions) with ordinality
            as a (customer, version, place)
        where a.version > 0 and not exists (
            select from customers as c where c.id = a.customer and c.version = a.version
        )
    loop
        verdicts[known.place] := 5;
    end loop;
    for known in
        select a.place, o.fingerprint = a.fingerprint as same
        from unnest(p_customers, p_operations, p_fingerprints, p_at) with ordinality
            as a (customer, operation, fingerprint, at, place)
        join credit_operations as o
            on o.customer_id = a.customer and o.operation_id = a.operation
        where o.expires_at > a.at
    loop
        verdicts[known.place] := case when known.same then 3 else 4 end;
    end loop;

    select
        array_agg(s.customer_id), array_agg(s.id), array_agg(s.bucket), array_agg(s.available),
        array_agg(s.effective_at), array_agg(s.expires_at), array_agg(s.features)
    into g_customers, g_ids, g_buckets, g_left, g_from, g_until, g_features
    from (
        select
            g.customer_id, g.id, g.bucket, g.available, g.effective_at,
            coalesce(g.expires_at, 'infinity') as expires_at,
            ',' || array_to_string(g.features, ',') || ',' as features
        from credit_grants as g
        where g.customer_id = any (p_customers) and g.available > 0
        order by g.customer_id, g.priority, g.expires_at nulls last, g.created_at, g.id
    ) as s;
    grants := coalesce(cardinality(g_ids), 0);

    i := 1;
    for op in 1..n loop
        if p_customers[op] <> current_customer then
            current_customer := p_customers[op];
            while head <= grants and g_customers[head] < current_customer loop
                head := head + 1;
            end loop;
        end if;
        before := burns;
        while i <= items and i_ops[i] = op loop
            need := i_credits[i];
            if verdicts[op] = 1 and need > 0 then
                sought := ',' || i_features[i] || ',';
                j := head;
                while need > 0 and j <= grants and g_customers[j] = current_customer loop
                    if g_left[j] > 0 and g_from[j] <= p_at[op] and g_until[j] > p_at[op]
                        and (g_features[j] is null or strpos(g_features[j], sought) > 0)
                    then
                        take := least(g_left[j], need);
                        g_left[j] := g_left[j] - take;
                        need := need - take;
                        burns := burns + 1;
                        b_ops[burns] := op;
                        b_items[burns] := i;
                        b_places[burns] := j;
                        b_grants[burns] := g_ids[j];
                        b_buckets[burns] := g_buckets[j];
                        b_credits[burns] := take;
                        totals[op] := totals[op] + take;
                    end if;
                    j := j + 1;
                end loop;
                if need > 0 then
                    verdicts[op] := 2;
                    -- Whole or not at all: what was taken for it goes back.
                    while burns > before loop
                        g_left[b_places[burns]] := g_left[b_places[burns]] + b_credits[burns];
                        burns := burns - 1;
                    end loop;
                    b_ops := b_ops[1:burns];
                    b_items := b_items[1:burns];
                    b_places := b_places[1:burns];
                    b_grants := b_grants[1:burns];
                    b_buckets := b_buckets[1:burns];
                    b_credits := b_credits[1:burns];
                    totals[op] := 0;
                end if;
            end if;
            i := i + 1;
        end loop;
        total := 0;
        j := head;
        while j <= grants and g_customers[j] = current_customer loop
            if g_from[j] <= p_at[op] and g_until[j] > p_at[op] then
                total := total + g_left[j];
            end if;
            j := j + 1;
        end loop;
        balances_after[op] := total;
        if verdicts[op] = 1 then
            any_done := true;
            any_hold := any_hold or p_kinds[op] = 'hold';
            burns_from[op] := before + 1;
            burns_to[op] := burns;
        end if;
    end loop;

    if any_done then
        -- A name that is used anew, past its time: what it named before was decided, whatever the
        -- journal still tells of it.
        if exists (
            select from unnest(p_operations, p_attempts) as a (operation, attempt)
            where a.operation <> a.attempt
        ) then
            delete from credit_pending as v
            using unnest(p_customers, p_operations, verdicts) as a (customer, operation, verdict)
            join credit_operations as o
                on o.customer_id = a.customer and o.operation_id = a.operation
            where a.verdict = 1 and v.customer_id = o.customer_id
                and v.attempt_id = o.attempt_id and v.state = 'open';
        end if;

        insert into credit_operations as o (
            customer_id, operation_id, attempt_id, kind, at, expires_at, fingerprint, credits,
            balance, answer
        )
        select
            a.customer, a.operation, case when a.shard >= 0 then a.attempt end, a.kind, a.at,
            a.expires, a.fingerprint, a.credits, a.balance, a.answer
        from unnest(
            p_customers, p_operations, p_attempts, p_kinds, p_at, p_expires, p_fingerprints,
            p_shards, totals, balances_after, p_answers, verdicts
        ) as a (
            customer, operation, attempt, kind, at, expires, fingerprint, shard, credits, balance,
            answer, verdict
        )
        where a.verdict = 1
        on conflict (customer_id, operation_id) do update
        set attempt_id = excluded.attempt_id,
            kind = excluded.kind,
            at = excluded.at,
            expires_at = excluded.expires_at,
            fingerprint = excluded.fingerprint,
            credits = excluded.credits,
            balance = excluded.balance,
            answer = excluded.answer;

        if burns > 0 then
            insert into credit_entries (
                customer_id, at, kind, debit, credit, amount, grant_id, bucket, feature_id, units,
                operation_id, reason, actor, reference, correlation_id
            )
            select
                p_customers[b.op], p_at[b.op],
                case when p_kinds[b.op] = 'hold' then 'hold' else 'spend' end,
                'available', case when p_kinds[b.op] = 'hold' then 'held' else 'spent' end,
                b.credits, b.grant_id, b.bucket, i_features[b.item], i_charged[b.item],
                p_attempts[b.op], p_reasons[b.op], p_actors[b.op],
                nullif(p_operations[b.op], p_attempts[b.op]), p_correlations[b.op]
            from unnest(b_ops, b_items, b_grants, b_buckets, b_credits) with ordinality
                as b (op, item, grant_id, bucket, credits, place)
            order by b.place;

            update credit_grants as g
            set available = g.available - m.credits, held = g.held + m.held
            from (
                select
                    p_customers[b.op] as customer_id, b.grant_id, sum(b.credits)::bigint as credits,
                    coalesce(sum(b.credits) filter (where p_kinds[b.op] = 'hold'), 0)::bigint
                        as held
                from unnest(b_ops, b_grants, b_credits) as b (op, grant_id, credits)
                group by 1, 2
            ) as m
            where g.customer_id = m.customer_id and g.id = m.grant_id;
        end if;

        -- As record_events in queries/usage.sql, which leaves out what is here already.
        with inserted as (
            insert into usage_events (
                customer_id, operation_id, item, at, feature_id, units, kind, charged
            )
            select
                p_customers[x.op], p_attempts[x.op], x.item, p_at[x.op], x.feature, x.units,
                p_kinds[x.op], x.charged
            from unnest(i_ops, i_places, i_features, i_units, i_charged)
                as x (op, item, feature, units, charged)
            where verdicts[x.op] = 1
            order by p_customers[x.op], p_attempts[x.op], x.item
            on conflict do nothing
            returning customer_id, feature_id, at, units, charged
        ),
        totalled as (
            insert into usage_totals as t (customer_id, feature_id, hour, units, charged)
            select
                s.customer_id, s.feature_id, date_trunc('hour', s.at, 'UTC'), sum(s.units),
                sum(s.charged)
            from inserted as s
            group by 1, 2, 3
            order by 1, 2, 3
            on conflict (customer_id, feature_id, hour) do update
            set units = t.units + excluded.units, charged = t.charged + excluded.charged
        ),
        held as (
            insert into balances as b (customer_id, feature_id, units, charged)
            select s.customer_id, s.feature_id, sum(s.units), sum(s.charged)
            from inserted as s
            group by 1, 2
            order by 1, 2
            on conflict (customer_id, feature_id) do update
            set units = b.units + excluded.units, charged = b.charged + excluded.charged
        )
        select count(*) into recorded from inserted;

        if any_hold then
            insert into holds (
                customer_id, id, operation_id, feature_id, units, charged, at, expires_at, credits,
                grant_ids, grant_credits, cost_credits, cost_per, cost_rounding, cost_minimum,
                counted, actor, correlation_id
            )
            select
                p_customers[x.op], p_attempts[x.op], p_operations[x.op], x.feature, x.units,
                x.charged, p_at[x.op], p_until[x.op], totals[x.op],
                coalesce(b_grants[burns_from[x.op]:burns_to[x.op]], '{}'),
                coalesce(b_credits[burns_from[x.op]:burns_to[x.op]], '{}'),
                p_cost_credits[x.op], p_cost_per[x.op], p_cost_rounding[x.op],
                p_cost_minimum[x.op], p_shards[x.op] >= 0, p_actors[x.op], p_correlations[x.op]
            from unnest(i_ops, i_features, i_units, i_charged) as x (op, feature, units, charged)
            where verdicts[x.op] = 1 and p_kinds[x.op] = 'hold';
        end if;

        if exists (select from unnest(p_shards) as s where s >= 0) then
            delete from credit_pending as v
            using unnest(p_customers, p_attempts, verdicts) as a (customer, attempt, verdict)
            where a.verdict = 1 and v.customer_id = a.customer and v.attempt_id = a.attempt;
        end if;
    end if;

    for op in 1..n loop
        place := op;
        outcome := verdicts[op];
        credits := totals[op];
        balance := balances_after[op];
        first_at := null;
        first_attempt := null;
        first_answer := null;
        paid_items := null;
        paid_buckets := null;
        paid_credits := null;
        if outcome = 1 and burns_to[op] >= burns_from[op] then
            paid_items := b_items[burns_from[op]:burns_to[op]];
            paid_buckets := b_buckets[burns_from[op]:burns_to[op]];
            paid_credits := b_credits[burns_from[op]:burns_to[op]];
        elsif outcome = 3 then
            select o.credits, o.balance, o.at, o.attempt_id, o.answer
            into credits, balance, first_at, first_attempt, first_answer
            from credit_operations as o
            where o.customer_id = p_customers[op] and o.operation_id = p_operations[op];
        end if;
        return next;
    end loop;
end
$$;

-- Change holds, each on its own and in order: capture, void, extend, expire. Whole resolutions:
-- entries, usage, the hold's row and the operation's id together.
--
-- Equals Ledger.resolve of api/domain/ledger.py.
-- Outcomes: 1 done; 3 done before; 4 done before with other contents; 8 there is no such hold;
-- 9 it is resolved already; 10 it has expired; 11 more units than are held; 12 not due, or not
-- later than its present end.
-- Cost: about ten statements for each.
create function credits_resolve(
    p_customers bigint[], p_operations text[], p_kinds text[], p_holds text[],
    p_at timestamptz[], p_fingerprints text[], p_expires timestamptz[], p_units bigint[],
    p_final boolean[], p_until timestamptz[], p_reasons text[], p_actors text[],
    p_correlations text[]
) returns table (place integer, outcome smallint, answer jsonb) language plpgsql
set plan_cache_mode = force_generic_plan
as $$
declare
    op integer;
    h holds%rowtype;
    known record;
    take bigint; reached bigint; paid_units bigint; due bigint; ends boolean;
    rest bigint; rest_charged bigint; recorded bigint;
begin
    perform pg_advisory_xact_lock(1129465172, k.key)
    from (
        select distinct (c % 2147483647)::integer as key from unnest(p_customers) as c order by 1
    ) as k;
    for op in 1..cardinality(p_customers) loop
        place := op;
        answer := null;
        select o.fingerprint, o.answer as told into known from credit_operations as o
        where o.customer_id = p_customers[op] and o.operation_id = p_operations[op]
            and o.expires_at > p_at[op];
        if found then
            outcome := case when known.fingerprint = p_fingerprints[op] then 3 else 4 end;
            if outcome = 3 then
                answer := convert_from(known.told, 'UTF8')::jsonb;
            end if;
            return next;
            continue;
        end if;
        select * into h from holds as x
        where x.customer_id = p_customers[op] and x.id = p_holds[op];
        if not found then
            outcome := 8;
            return next;
            continue;
        end if;
        take := coalesce(p_units[op], h.units - h.captured);
        outcome := case
            when h.state <> 'open' then 9
            when p_kinds[op] = 'expire' and h.expires_at > p_at[op] then 12
            when p_kinds[op] in ('capture', 'extend') and h.expires_at <= p_at[op] then 10
            when p_kinds[op] = 'extend' and p_until[op] <= h.expires_at then 12
            when p_kinds[op] = 'capture' and take > h.units - h.captured then 11
            else 1
        end;
        if outcome = 1 and p_kinds[op] = 'extend' then
            h.expires_at := p_until[op];
            update holds as x set expires_at = h.expires_at
            where x.customer_id = h.customer_id and x.id = h.id;
        elsif outcome = 1 then
            if p_kinds[op] <> 'capture' then
                take := 0;
            end if;
            reached := h.captured + take;
            ends := p_kinds[op] <> 'capture' or coalesce(p_final[op], true) or reached = h.units;
            -- What the plan included is used first, so credits pay for the last units.
            paid_units := greatest(0, reached - (h.units - h.charged));
            due := case when paid_units = h.charged then h.credits else least(
                h.credits,
                credit_cost(
                    paid_units, h.cost_credits, h.cost_per, h.cost_rounding, h.cost_minimum
                )
            ) end;
            insert into credit_entries (
                customer_id, at, kind, debit, credit, amount, grant_id, bucket, feature_id, units,
                operation_id, reason, actor, reference, correlation_id
            )
            select
                h.customer_id, p_at[op], w.kind, 'held', w.account,
                least(w.upper, s.upper) - greatest(w.lower, s.lower), s.grant_id, g.bucket,
                h.feature_id, w.units, h.id, p_reasons[op], p_actors[op],
                nullif(p_operations[op], h.id), p_correlations[op]
            from (
                select
                    a.grant_id, a.place,
                    sum(a.credits) over (order by a.place) - a.credits as lower,
                    sum(a.credits) over (order by a.place) as upper
                from unnest(h.grant_ids, h.grant_credits) with ordinality
                    as a (grant_id, credits, place)
            ) as s
            join credit_grants as g on g.customer_id = h.customer_id and g.id = s.grant_id
            join (
                values
                    (
                        1, 'capture', 'spent', h.spent::numeric, due::numeric,
                        paid_units - greatest(0, h.captured - (h.units - h.charged))
                    ),
                    (
                        2, 'release', 'available', due::numeric,
                        (case when ends then h.credits else due end)::numeric,
                        h.charged - paid_units
                    )
            ) as w (turn, kind, account, lower, upper, units)
                on w.lower < s.upper and s.lower < w.upper and w.lower < w.upper
            order by w.turn, s.place;
            update credit_grants as g
            set held = g.held - m.spent - m.released, available = g.available + m.released
            from (
                select
                    s.grant_id,
                    sum(greatest(0, least(due, s.upper) - greatest(h.spent, s.lower)))::bigint
                        as spent,
                    sum(case when ends
                        then greatest(0, least(h.credits, s.upper) - greatest(due, s.lower))
                        else 0 end)::bigint as released
                from (
                    select
                        a.grant_id,
                        sum(a.credits) over (order by a.place) - a.credits as lower,
                        sum(a.credits) over (order by a.place) as upper
                    from unnest(h.grant_ids, h.grant_credits) with ordinality
                        as a (grant_id, credits, place)
                ) as s
                group by s.grant_id
            ) as m
            where g.customer_id = h.customer_id and g.id = m.grant_id
                and m.spent + m.released > 0;
            rest := h.units - reached;
            rest_charged := h.charged - paid_units;
            if ends and rest > 0 then
                with inserted as (
                    insert into usage_events (
                        customer_id, operation_id, item, at, feature_id, units, kind, charged
                    )
                    values (
                        h.customer_id, '~void:' || h.id, 0, h.at, h.feature_id, -rest, 'release',
                        -rest_charged
                    )
                    on conflict do nothing
                    returning customer_id, feature_id, at, units, charged
                ),
                totalled as (
                    insert into usage_totals as t (customer_id, feature_id, hour, units, charged)
                    select
                        s.customer_id, s.feature_id, date_trunc('hour', s.at, 'UTC'), s.units,
                        s.charged
                    from inserted as s
                    on conflict (customer_id, feature_id, hour) do update
                    set units = t.units + excluded.units, charged = t.charged + excluded.charged
                ),
                given_back as (
                    insert into balances as b (customer_id, feature_id, units, charged)
                    select s.customer_id, s.feature_id, s.units, s.charged from inserted as s
                    on conflict (customer_id, feature_id) do update
                    set units = b.units + excluded.units, charged = b.charged + excluded.charged
                )
                select count(*) into recorded from inserted;
            end if;
            h.captured := reached;
            h.spent := due;
            h.version := h.version + 1;
            if ends then
                h.state := case p_kinds[op]
                    when 'capture' then 'captured' when 'void' then 'voided' else 'expired' end;
                h.resolved_at := p_at[op];
            end if;
            update holds as x
            set captured = h.captured,
                spent = h.spent,
                version = h.version,
                state = h.state,
                resolved_at = h.resolved_at
            where x.customer_id = h.customer_id and x.id = h.id;
        end if;
        answer := to_jsonb(h);
        if outcome = 1 then
            insert into credit_operations as o (
                customer_id, operation_id, kind, at, expires_at, fingerprint, credits, balance,
                answer
            )
            values (
                h.customer_id, p_operations[op], p_kinds[op], p_at[op], p_expires[op],
                p_fingerprints[op], h.spent, 0, convert_to(answer::text, 'UTF8')
            )
            on conflict (customer_id, operation_id) do update
            set attempt_id = null,
                kind = excluded.kind,
                at = excluded.at,
                expires_at = excluded.expires_at,
                fingerprint = excluded.fingerprint,
                credits = excluded.credits,
                balance = excluded.balance,
                answer = excluded.answer;
        end if;
        return next;
    end loop;
end
$$;
