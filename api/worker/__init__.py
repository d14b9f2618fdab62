"""The process that works in the background: draining, webhooks, publishing, housekeeping."""
