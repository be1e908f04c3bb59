"""Small contents at hand: the bytes that were answered with last, up to so many in all."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

#: One content takes at most this share, so that some large ones do not push out everything else.
_LARGEST_SHARE = 32


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes, the SHA-256 of them (hex), which is their ETag, and when they came to be."""

    body: bytes
    sha256: str
    made_at: datetime

    @classmethod
    def of(cls, body: bytes, made_at: datetime | None = None) -> "Content":
        """Made just now, unless `made_at` says when."""
        return cls(body, hashlib.sha256(body).hexdigest(), made_at or datetime.now(UTC))


class Memory:
    """Contents by their storage key, those used last, up to `max_bytes`. What has a key never changes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Content] = OrderedDict()
        self._bytes = 0

    @property
    def largest(self) -> int:
        """The most bytes that one content may have to be kept."""
        return self._max_bytes // _LARGEST_SHARE

    def find(self, key: str) -> Content | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: str, content: Content) -> None:
        if len(content.body) > self.largest:
            return
        self._drop(key)
        self._kept[key] = content
        self._bytes += len(content.body)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        if old := self._kept.pop(key, None):
            self._bytes -= len(old.body)
