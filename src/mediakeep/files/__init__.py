"""Stored content: one row for each SHA-256, its bytes in the store, and what is derived from it."""

from mediakeep.files import service

__all__ = ["service"]
