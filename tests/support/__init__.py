"""Builders and stand-ins for what lies outside Headroom."""
