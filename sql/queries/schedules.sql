-- name: begin_turn :one
-- One row answers the one worker that may begin; no row: the task was begun less than its interval
-- ago, and has ended or was at work a moment ago. The primary key.
insert into schedules as s (name, begun_at, alive_at, ended) values ($1, $2, $2, false)
on conflict (name) do update set
    begun_at = excluded.begun_at, alive_at = excluded.alive_at, ended = false
where s.begun_at <= $3 or not s.ended and s.alive_at <= $4
returning position;

-- name: alive :exec
-- Whoever has the turn is at work on it. The primary key.
update schedules set alive_at = $3 where name = $1 and begun_at = $2 and not ended;

-- name: end_turn :exec
-- Where the next turn of a task goes on that does a part each time. The primary key.
update schedules set position = $3, ended = true where name = $1 and begun_at = $2;
