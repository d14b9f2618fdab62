set local lock_timeout = '5s';

drop index alerts_by_correlation;
drop index provider_operations_by_correlation;
drop index audit_log_by_correlation;
drop index credit_entries_by_correlation;
drop index webhook_events_by_correlation;
drop table subscription_changes;
drop table invoices;
