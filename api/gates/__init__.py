"""Decisions: check, consume, release."""
