"""Headroom: may this customer do this now, and how do we know."""
