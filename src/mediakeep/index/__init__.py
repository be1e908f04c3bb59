"""The full-text index and the vocabulary. It knows plain values only: whoever changes an asset tells it."""

from mediakeep.index.service import Document, put, put_all, remove, remove_others

__all__ = ["Document", "put", "put_all", "remove", "remove_others"]
