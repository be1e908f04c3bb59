"""Small contents at hand: the bytes that were answered with last, up to so many in all."""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime

#: One content takes at most this share, so that some large ones do not push out everything else.
_LARGEST_SHARE = 32

#: Of so many larger ones it is known what they are.
_MOST_LARGE = 4096

#: What takes no longer than going to a thread and back.
_HASHED_AT_ONCE = 256 << 10


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes, or None for those that are too many to be at hand: `size`, SHA-256 (hex), and when they came to be."""

    body: bytes | None
    size: int
    sha256: str
    made_at: datetime

    @classmethod
    async def of(cls, body: bytes, made_at: datetime | None = None) -> "Content":
        """Made just now, unless `made_at` says when."""
        at = made_at or datetime.now(UTC)
        if len(body) <= _HASHED_AT_ONCE:
            return cls(body, len(body), hashlib.sha256(body).hexdigest(), at)
        digest = await asyncio.to_thread(hashlib.sha256, body)
        return cls(body, len(body), digest.hexdigest(), at)


class Memory:
    """Contents by their storage key, those used last, up to `max_bytes`. What has a key never changes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Content] = OrderedDict()
        self._large: OrderedDict[str, Content] = OrderedDict()
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

    def find_large(self, key: str) -> Content | None:
        """What is known of a content that is too large to be kept, without its bytes."""
        found = self._large.get(key)
        if found is not None:
            self._large.move_to_end(key)
        return found

    def forget_large(self, key: str) -> None:
        self._large.pop(key, None)

    def keep(self, key: str, content: Content) -> None:
        if content.size > self.largest:
            self._large[key] = replace(content, body=None)
            if len(self._large) > _MOST_LARGE:
                self._large.popitem(last=False)
            return
        self._drop(key)
        self._kept[key] = content
        self._bytes += content.size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        if old := self._kept.pop(key, None):
            self._bytes -= old.size
