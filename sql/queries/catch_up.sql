-- name: cursor :one
-- provider_cursors_unique.
select reached_at, seen_at from provider_cursors where provider = $1 and name = $2;

-- name: move_cursor :exec
-- Never backward, whoever of several processes is done first.
insert into provider_cursors as c (provider, name, reached_at, seen_at) values ($1, $2, $3, $4)
on conflict on constraint provider_cursors_unique do update
set reached_at = greatest(c.reached_at, excluded.reached_at),
    seen_at = greatest(c.seen_at, excluded.seen_at);

-- name: last_arrival :one
-- webhook_events_by_arrival: when the provider last delivered something by itself.
select max(received_at) from webhook_events where provider = $1 and origin = 'delivered';

-- name: failures_since :many
-- webhook_signature_failures_by_minute; the addresses with most of them first.
select remote_address as address, sum(count)::bigint as count
from webhook_signature_failures where minute >= $1 and minute < $2
group by remote_address order by 2 desc, 1;

-- name: rouse_for_catalog :many
-- webhook_events_parked. What a catalog was missing is tried again once after each newer catalog.
update webhook_events set state = 'pending', attempts = 0, next_attempt_at = $2, handled_at = null
where provider = $1 and state = 'parked' and problem in ('unknown_price', 'unknown_pack')
    and handled_at < (select max(applied_at) from catalog_revisions)
returning event_id;

-- name: outcomes :many
-- webhook_events_by_arrival: what became of the events of a window, by type.
select type, origin, state, count(*) as count, max(received_at) as last_at
from webhook_events
where provider = $1 and origin = any (array['delivered', 'listed'])
    and received_at > $2 and received_at <= $3
group by 1, 2, 3 order by 1, 2, 3;

-- name: refusals :many
-- webhook_signature_failures_by_minute.
select reason, sum(count)::bigint as count from webhook_signature_failures
where minute > $1 and minute <= $2 group by 1 order by 2 desc, 1;

-- name: problems :many
-- webhook_events_by_arrival: what hinders or hindered the events of a window.
select type, problem, count(*) as count from webhook_events
where provider = $1 and origin = any (array['delivered', 'listed'])
    and received_at > $2 and received_at <= $3 and state in ('failed', 'parked')
group by 1, 2 order by 3 desc, 1, 2;

-- name: days :many
-- webhook_events_by_arrival: one row for each UTC day, also where nothing came: a gap is a zero.
select day::date as day,
    count(e.id) filter (where e.origin = 'delivered') as delivered,
    count(e.id) filter (where e.origin = 'listed') as listed
from generate_series(
    date_trunc('day', $2::timestamptz at time zone 'utc'),
    date_trunc('day', $3::timestamptz at time zone 'utc'), interval '1 day'
) as day
left join webhook_events as e
    on e.provider = $1 and e.origin = any (array['delivered', 'listed'])
    and e.received_at >= greatest(day at time zone 'utc', $2)
    and e.received_at < (day + interval '1 day') at time zone 'utc' and e.received_at <= $3
group by 1 order by 1;
