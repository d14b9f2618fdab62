-- name: pages :many
-- Checkouts that were opened lately, the newest first: provider_operations_by_customer.
select operation_id, fingerprint, request, answer from provider_operations
where provider = $1 and customer_id = $2 and created_at > $3
    and action = 'checkout' and state = 'confirmed'
order by id desc limit $4;
