"""Named things that users own."""

from mediakeep.assets import queries, served, service

__all__ = ["queries", "served", "service"]
