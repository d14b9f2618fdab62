-- name: find :many
-- The *_by_correlation index of each table, so much of each at most.
with found as (
    (
        select 'webhook_event' as source, 1 as place, id, received_at as at, customer_id,
            type || ': ' || state as what, event_id as reference,
            jsonb_build_object('object', object_id, 'attempts', attempts, 'error', error) as detail
        from webhook_events where correlation_id = $1 order by id limit $2
    )
    union all
    (
        select 'provider_operation', 0, id, created_at, customer_id, action || ': ' || state,
            operation_id, jsonb_build_object('object', object_id, 'actor', actor, 'error', error)
        from provider_operations where correlation_id = $1 order by id limit $2
    )
    union all
    (
        select 'subscription_change', 2, id, at, customer_id,
            kind || ': ' || coalesce(plan_before, '-') || ' -> ' || coalesce(plan_after, '-')
            || ', ' || status_after,
            provider_id,
            jsonb_build_object(
                'cause', cause, 'mrr_minor_before', mrr_minor_before,
                'mrr_minor_after', mrr_minor_after
            )
        from subscription_changes where correlation_id = $1 order by id limit $2
    )
    union all
    (
        select 'credit_entry', 3, id, at, customer_id, kind || ' ' || amount || ': ' || reason,
            operation_id, jsonb_build_object('grant', grant_id, 'actor', actor)
        from credit_entries where correlation_id = $1 order by id limit $2
    )
    union all
    (
        select 'audit_entry', 4, id, at, customer_id, action || ': ' || reason, id::text as reference,
            detail || jsonb_build_object('actor', actor)
        from audit_log where correlation_id = $1 order by id limit $2
    )
    union all
    (
        select 'alert', 5, id, at, null, kind || ': ' || message, subject, detail
        from alerts where correlation_id = $1 order by id limit $2
    )
)
select f.source, f.at, c.key as customer, f.what, f.reference, f.detail
from found as f left join customers as c on c.id = f.customer_id
order by f.at, f.place, f.id;
