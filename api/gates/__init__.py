"""Decisions: check, consume, hold, release."""
