-- Every statement deletes a bounded number of rows, so that no lock and no transaction lasts; the
-- worker repeats it until fewer come back.

-- name: old_totals :many
-- No index by hour alone: one scan a day, of a table that holds a row per customer and hour.
delete from usage_totals where ctid = any (array(
    select ctid from usage_totals where hour < $1 limit $2
)) returning 1;

-- name: old_releases :many
-- Older than the events that they give back, so nothing can be released against them any more.
delete from usage_releases where ctid = any (array(
    select ctid from usage_releases where at < $1 limit $2
)) returning 1;

-- name: old_answers :many
-- operations_expired.
delete from operations where ctid = any (array(
    select ctid from operations where expires_at < $1 limit $2
)) returning 1;

-- name: old_blind :many
-- Only what is settled: the rest still counts against its bound.
delete from blind_operations where ctid = any (array(
    select ctid from blind_operations where state = 'settled' and at < $1 limit $2
)) returning 1;

-- name: old_positions :many
-- Of epochs that ended: their journals are never read again. The last ended one stays, as a
-- drainer may still be at its last batch.
delete from drain_positions as p where ctid = any (array(
    select d.ctid from drain_positions as d join shard_epochs as e using (shard)
    where d.epoch < e.epoch - 1 limit $1
)) returning 1;

-- name: old_alerts :many
-- As long as the audit log, which says who saw to them; one that nobody acknowledged stays.
delete from alerts where ctid = any (array(
    select ctid from alerts where acknowledged_at < $1 limit $2
)) returning 1;

-- name: old_acts :many
-- The audit log, kept for years.
delete from audit_log where ctid = any (array(
    select ctid from audit_log where at < $1 limit $2
)) returning 1;

-- name: old_webhook_events :many
-- Those that are done; what still waits for somebody stays.
delete from webhook_events where ctid = any (array(
    select ctid from webhook_events
    where received_at < $1 and state in ('applied', 'ignored') limit $2
)) returning 1;

-- name: old_provider_operations :many
-- Those that are over. One that is pending is repeated until it has an answer, and one that has is
-- confirmed by what is read after it. One scan a turn.
delete from provider_operations where ctid = any (array(
    select ctid from provider_operations
    where state in ('confirmed', 'refused', 'unknown') and ended_at < $1 limit $2
)) returning 1;

-- name: old_findings :many
-- Those that were put right; one that was given up waits for a person. What a person resolved is
-- never queued anew, so it stays until its subscription or invoice is over. One scan a turn.
delete from reconciliation_queue where ctid = any (array(
    select q.ctid from reconciliation_queue as q
    where q.state = 'resolved' and q.resolved_at < $1 and (
        q.resolved_by = 'headroom:reconciliation' or q.detail ? 'over'
        or exists (
            select from subscriptions as s
            where s.provider = q.provider and s.provider_id = q.object_id
                and s.status in ('canceled', 'incomplete_expired')
        )
        or exists (
            select from invoices as i
            where i.provider = q.provider and i.provider_id = q.object_id
                and i.status in ('void', 'deleted', 'uncollectible')
        )
    )
    limit $2
)) returning 1;

-- name: old_runs :many
-- Those that died without an end too: none lasts so long. One scan of a short table.
delete from reconciliation_runs where ctid = any (array(
    select ctid from reconciliation_runs where started_at < $1 limit $2
)) returning 1;

-- name: old_signature_failures :many
-- webhook_signature_failures_by_minute.
delete from webhook_signature_failures where ctid = any (array(
    select ctid from webhook_signature_failures where minute < $1 limit $2
)) returning 1;

-- name: old_payments :many
-- Payments for what is no pack, and what was said of them; those for packs are kept beside the
-- ledger. One scan a day.
with old as (
    delete from provider_payments where ctid = any (array(
        select p.ctid from provider_payments as p
        where p.updated_at < $1 and not exists (
            select from pack_purchases as b
            where b.provider = p.provider and b.payment_id = p.payment_id
        )
        limit $2
    )) returning provider, payment_id
), facts as (
    delete from provider_payment_facts as f using old
    where f.provider = old.provider and f.payment_id = old.payment_id
)
select 1 from old;
