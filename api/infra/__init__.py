"""Doors to the outside: PostgreSQL, Redis, the clock, settings, telemetry, embedded engines."""
