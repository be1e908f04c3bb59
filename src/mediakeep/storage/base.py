"""What a store of bytes can do, and the rules that both kinds share."""

import errno
import re
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from mediakeep import metrics
from mediakeep.errors import Unavailable

CHUNK_BYTES = 1024 * 1024  # of a file that is read: a range of the usual size is one write
CHECK_SECONDS = 5

#: Part of a content, as it comes out of a store.
Chunk = bytes | memoryview

_log = structlog.get_logger(__name__)
_SEGMENT = r"[a-z0-9_-][a-z0-9._-]*"
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})+")
_PREFIX = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")


class MissingObject(Exception):
    """There are no bytes under this key."""


@dataclass(frozen=True)
class Stored:
    """Bytes in a store: how many, and when they were put there."""

    key: str
    size: int
    modified_at: datetime


class Store(Protocol):
    """Bytes by key. Keys are those of `check_key`.

    Every call raises `Unavailable` when what lies behind it fails or does not answer.
    """

    scratch: Path
    """Folder for files under way; `put` takes over files from here, and from nowhere else."""

    async def put(self, key: str, source: Path, *, media_type: str) -> None:
        """Take over the file `source` from the scratch folder. It survives a power cut once this returns.

        Raises `FileExistsError` if the key is taken. `source` is left alone if anything is raised.
        """

    async def put_bytes(self, key: str, data: bytes, *, media_type: str) -> None:
        """Store what can be made again, replacing what is there. Readers see all of it or nothing.

        It is not waited for: a power cut may lose it, or leave it cut short, which whoever reads it can tell.
        """

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[Chunk, None]:
        """The bytes from `start` to before `end`, in chunks; none if `start` lies past the last one.

        Raises `MissingObject` before the first chunk. Whoever may stop early closes it (`contextlib.aclosing`).
        """

    async def read_dated(self, key: str) -> tuple[bytes, datetime]:
        """As `read_bytes`, and when the bytes were put there."""

    async def read_bytes(self, key: str) -> bytes:
        """All bytes at once, for small things. Raises `MissingObject`."""

    async def stat(self, key: str) -> Stored | None: ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete these; keys that are not there are fine."""

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything whose key begins with the segments of `prefix`."""

    def iter_keys(self, prefix: str) -> AsyncGenerator[Stored, None]:
        """Everything whose key begins with the segments of `prefix`, in no order, in bounded memory."""

    async def sign(self, key: str, *, expires_in_seconds: int) -> str | None:
        """An address from which anybody can GET the bytes for a while, or None: this store has no such thing."""

    def local_copy(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file with the bytes, only to be read, and only inside the context. Raises `MissingObject`."""

    async def check(self) -> None:
        """Return if the store works; raises `Unavailable` within `CHECK_SECONDS`."""

    async def clean_scratch(self, older_than_seconds: float) -> int:
        """Remove files that nobody has touched for so long from the scratch folder, and say how many."""


def new_key(prefix: str) -> str:
    """A random key that was never used: `files/ab/<uuid>` for the prefix `files`.

    One level of 256 folders: a second one would have nearly every upload make a folder and wait for the disk.
    """
    name = uuid.uuid4()
    return f"{prefix}/{name.hex[:2]}/{name}"


def is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """The key itself. Raises `ValueError` for one that could lead out of the store."""
    if not is_key(key):
        raise ValueError(f"{key!r} is not a storage key")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself. Raises `ValueError` unless it is one or more whole segments of a key."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"{prefix!r} is not a prefix of storage keys")
    return prefix


@contextmanager
def unavailable_after(*errors: type[Exception]) -> Iterator[None]:
    """Turn `errors` of what lies behind a store into `Unavailable`, and log what happened."""
    try:
        yield
    except errors as error:
        metrics.STORAGE_FAILURES.inc()
        # obstore appends the request with all its headers to what it says.
        _log.error(
            "storage_failed", error=type(error).__name__, cause=str(error).partition("\n\nDebug source")[0]
        )
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Unavailable("The file storage is full.", retry_after_seconds=60) from error
        raise Unavailable("The file storage does not answer. Please try again.") from error
