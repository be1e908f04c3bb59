"""The full-text index and the vocabulary. It knows plain values only: whoever changes an asset tells it."""

from mediakeep.index.service import Document, put_all, remove

__all__ = ["Document", "put_all", "remove"]
