"""Bytes as plain files under one folder."""

import asyncio
import errno
import os
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from mediakeep.storage import folders
from mediakeep.storage.base import (
    CHECK_SECONDS,
    CHUNK_BYTES,
    Chunk,
    MissingObject,
    Stored,
    check_key,
    check_prefix,
    is_key,
    unavailable_after,
)
from mediakeep.storage.open_files import OpenFile, OpenFiles

T = TypeVar("T")

_SCRATCH = "tmp"
_BATCH = 1000  # entries of a listing for one trip to a thread
_MOST_FOLDERS = 100_000
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class DiskStore:
    """Files at `root`/key, for this account only. Implements `Store`.

    Other things may lie in `root` itself: a key has at least two segments.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scratch = root / _SCRATCH
        folders.make_private(self.scratch)
        # Of its own, so that a slow disk holds up nothing else that runs in threads.
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="storage")
        self._durable = {root}
        self._open_files = OpenFiles()

    def path_of(self, key: str) -> Path:
        """Where the bytes of this key are, or would be. Raises `ValueError` for a bad key."""
        return self._inside(check_key(key))

    async def put(self, key: str, source: Path, *, media_type: str) -> None:  # noqa: ARG002 the database knows
        target = self.path_of(key)
        if not await self._run(lambda: self._move_durably(source, target)):
            raise FileExistsError(key)

    async def put_bytes(self, key: str, data: bytes, *, media_type: str) -> None:  # noqa: ARG002
        target = self.path_of(key)
        await self._run(lambda: self._replace(target, data))
        self._open_files.forget([key])

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[Chunk, None]:
        file = await self._open(key)
        try:
            while length := max(0, min(CHUNK_BYTES, (sys.maxsize if end is None else end) - start)):
                with unavailable_after(OSError):
                    chunk = file.read_at_once(start, length)
                if chunk is None:
                    chunk = await self._run_on(key, partial(_read_holding, file.hold(), start, length))
                if not chunk:
                    return
                start += len(chunk)
                yield chunk
        finally:
            file.release()

    async def _open(self, key: str) -> OpenFile:
        """The file of this key, held for the caller."""
        if found := self._open_files.find(key):
            return found
        path = self.path_of(key)
        file = await self._run_on(key, lambda: OpenFile(path))
        self._open_files.keep(key, file)
        return file

    async def read_dated(self, key: str) -> tuple[bytes, datetime]:
        path = self.path_of(key)
        return await self._run_on(key, lambda: _read_dated(path))

    async def read_bytes(self, key: str) -> bytes:
        return (await self.read_dated(key))[0]

    async def stat(self, key: str) -> Stored | None:
        path = self.path_of(key)
        try:
            return await self._run_on(key, lambda: _stored(key, path.stat()))
        except MissingObject:
            return None

    async def delete(self, keys: Sequence[str]) -> None:
        paths = [self.path_of(key) for key in keys]
        self._open_files.forget(keys)
        await self._run(lambda: _unlink(paths))

    async def delete_prefix(self, prefix: str) -> None:
        folder = self._inside(check_prefix(prefix))
        await self._run(lambda: _remove_tree(folder))

    async def iter_keys(self, prefix: str) -> AsyncGenerator[Stored, None]:
        self._inside(check_prefix(prefix))
        pending = [prefix]
        while pending:
            for stored in await self._run(lambda: self._list_some(pending)):
                yield stored

    async def sign(self, key: str, *, expires_in_seconds: int) -> str | None:  # noqa: ARG002
        return None

    @asynccontextmanager
    async def local_copy(self, key: str) -> AsyncIterator[Path]:
        path = self.path_of(key)
        await self._run_on(key, lambda: _stored(key, path.stat()))
        yield path

    async def check(self) -> None:
        with unavailable_after(OSError):  # a TimeoutError is one
            async with asyncio.timeout(CHECK_SECONDS):
                await self._run(self._try_writing)

    async def clean_scratch(self, older_than_seconds: float) -> int:
        return await self._run(lambda: folders.clean(self.scratch, older_than_seconds))

    def _inside(self, key: str) -> Path:
        if key.split("/", 1)[0] == _SCRATCH:
            raise ValueError(f"{key!r} is in the scratch folder")
        return self.root / key

    async def _run(self, call: Callable[[], T]) -> T:
        with unavailable_after(OSError):
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _run_on(self, key: str, call: Callable[[], T]) -> T:
        """Run what needs the bytes of `key`. Raises `MissingObject`, unless it is the whole store that is missing."""

        def call_or_explain() -> T:
            try:
                return call()
            except _ABSENT:
                if self.scratch.is_dir():
                    raise MissingObject(key) from None
                raise

        return await self._run(call_or_explain)

    def _move_durably(self, source: Path, target: Path) -> bool:
        if target.exists():
            return False
        with source.open("rb") as file:
            os.fchmod(file.fileno(), 0o600)
            os.utime(file.fileno())  # it is in the store from now on, however long it took to arrive
            self._rename(source, target, self._make_durable)
            try:
                # Nobody knows the name yet. A journaling file system writes both in one go in this order.
                os.fsync(file.fileno())
                folders.sync(target.parent)
            except BaseException:
                target.rename(source)
                raise
        return True

    def _replace(self, target: Path, data: bytes) -> None:
        temporary = folders.scratch_path(self.scratch)
        try:
            with folders.create_private(temporary) as file:
                file.write(data)
            self._rename(temporary, target, folders.make_private_hastily)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _rename(self, source: Path, target: Path, make_folder: Callable[[Path], None]) -> None:
        make_folder(target.parent)
        try:
            source.rename(target)
        except FileNotFoundError:  # `delete_prefix` took the folder away, here or in another process
            self._durable = {self.root}
            make_folder(target.parent)
            source.rename(target)

    def _make_durable(self, folder: Path) -> None:
        """Create `folder` so that it survives a power cut.

        That it is there proves nothing: whoever made it may not have come to the fsync yet. So we trust our own only.
        """
        if folder in self._durable:
            return
        self._make_durable(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        folders.sync(folder.parent)
        if len(self._durable) >= _MOST_FOLDERS:
            self._durable = {self.root}
        self._durable.add(folder)

    def _list_some(self, pending: list[str]) -> list[Stored]:
        """Entries of the last of the `pending` folders, which are removed from it, and their folders added."""
        found: list[Stored] = []
        while pending and len(found) < _BATCH:
            prefix = pending.pop()
            try:
                entries = list(os.scandir(self.root / prefix))
            except _ABSENT:
                self.scratch.stat()  # raises where the whole store is missing
                continue
            for entry in entries:
                key = f"{prefix}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(key)
                elif is_key(key):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        found.append(_stored(key, entry.stat(follow_symlinks=False)))
        return found

    def _try_writing(self) -> None:
        path = folders.scratch_path(self.scratch)
        try:
            path.write_bytes(b"writable")
        finally:
            path.unlink(missing_ok=True)


def _read_dated(path: Path) -> tuple[bytes, datetime]:
    with path.open("rb") as file:
        return file.read(), datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)


def _read_holding(file: OpenFile, position: int, length: int) -> bytes:
    """In a thread, which may outlast whoever asked for it."""
    try:
        return file.read(position, length)
    finally:
        file.release()


def _stored(key: str, facts: os.stat_result) -> Stored:
    if not stat.S_ISREG(facts.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a plain file")
    return Stored(key=key, size=facts.st_size, modified_at=datetime.fromtimestamp(facts.st_mtime, UTC))


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        with suppress(*_ABSENT):
            path.unlink()


def _remove_tree(folder: Path) -> None:
    for path, _, names in os.walk(folder, topdown=False, onerror=_raise_unless_absent):
        _unlink([Path(path, name) for name in names])
        try:
            Path(path).rmdir()
        except OSError as error:
            if error.errno not in {
                errno.ENOTEMPTY,
                errno.EEXIST,
                errno.ENOENT,
            }:  # somebody put something there
                raise


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, _ABSENT):
        raise error
