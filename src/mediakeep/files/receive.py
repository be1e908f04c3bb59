"""Receiving bytes: to a temporary file in batches, hashed on the way, within a limit."""

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from mediakeep.storage.base import unavailable_after

#: What one hop to a thread writes and hashes; a hop for every network read costs 0.1–0.3 CPU seconds a GB.
BATCH_BYTES = 512 << 10

#: How much of a file the sniffer looks at.
HEAD_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Received:
    """A whole file in the scratch folder: its path, size in bytes, hash (hex) and first bytes."""

    path: Path
    size: int
    sha256: str
    head: bytes


class Receiver:
    """Writes and hashes one file while it arrives. Memory: two batches, whatever the file's size.

    `on_head` is called once with the first `HEAD_BYTES` (or all of a smaller file), `on_size` with the bytes so far
    before any are kept, and after the head, which may say how many there may be; either refuses by raising.
    """

    def __init__(
        self, path: Path, *, on_size: Callable[[int], None], on_head: Callable[[bytes], None]
    ) -> None:
        self._path = path
        self._on_size = on_size
        self._on_head = on_head
        self._file: FileIO | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._head = b""
        self._head_seen = False
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._writing: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        if not self._head_seen:
            self._head += data[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                self._show_head()
        self._on_size(self._size + len(data))
        self._size += len(data)
        self._batch.append(data)
        self._batch_size += len(data)
        if self._batch_size >= BATCH_BYTES:
            await self._flush()

    async def finish(self) -> Received:
        """The received file. It is whole, but not yet durable: the store sees to that."""
        if not self._head_seen:
            self._show_head()
            self._on_size(self._size)
        await self._flush(last=True)
        await self._written()
        return Received(path=self._path, size=self._size, sha256=self._hash.hexdigest(), head=self._head)

    async def close(self) -> None:
        """Let go of the file; what the store has not taken over is removed."""
        if self._writing:
            await asyncio.wait([self._writing])
        if self._file:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def _show_head(self) -> None:
        self._head_seen = True
        self._on_head(self._head)

    async def _flush(self, *, last: bool = False) -> None:
        """Hand the batch to a thread, once the one before is written: the network fills the next meanwhile."""
        await self._written()
        batch, self._batch, self._batch_size = self._batch, [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write_batch, batch, last)

    async def _written(self) -> None:
        if self._writing:
            with unavailable_after(OSError):
                await asyncio.shield(self._writing)
            self._writing = None

    def _write_batch(self, batch: list[bytes], last: bool) -> None:
        if self._file is None:
            self._file = FileIO(self._path, "x", opener=_private)
        for data in batch:
            self._hash.update(data)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        if last:
            self._file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


@asynccontextmanager
async def receiving(
    scratch: Path, *, on_size: Callable[[int], None], on_head: Callable[[bytes], None]
) -> AsyncIterator[Receiver]:
    """A `Receiver` in the scratch folder; however the block ends, nothing stays there."""
    receiver = Receiver(scratch / f"upload-{uuid.uuid4()}", on_size=on_size, on_head=on_head)
    try:
        yield receiver
    finally:
        await receiver.close()
