"""Named things that users own."""

from mediakeep.assets import queries, service

__all__ = ["queries", "service"]
