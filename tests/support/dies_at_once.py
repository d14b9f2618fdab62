"""A process that ends before it did anything: ``python -m tests.support.dies_at_once``."""

raise SystemExit(3)
