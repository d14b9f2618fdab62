-- name: begin_turn :one
-- One row answers the one worker that may begin; no row: the task was begun less than its interval
-- ago. The primary key.
insert into schedules as s (name, begun_at) values ($1, $2)
on conflict (name) do update set begun_at = excluded.begun_at where s.begun_at <= $3
returning position;

-- name: move_turn :exec
-- Where the next turn of a task goes on that does a part each time.
update schedules set position = $2 where name = $1;
