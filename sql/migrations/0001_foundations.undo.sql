set local lock_timeout = '5s';

drop table secrets, api_keys, audit_log, window_pins, overrides, subscriptions, customer_links,
    customers, features, catalog_revisions;
