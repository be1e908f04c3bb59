"""Named things that users own."""

from mediakeep.assets import lists, queries, served, service

__all__ = ["lists", "queries", "served", "service"]
