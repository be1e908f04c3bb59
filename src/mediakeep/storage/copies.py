"""Local copies of objects: a cache in the scratch folder, for those who need a file."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mediakeep.storage import folders


@dataclass
class _Copy:
    path: Path
    size: int | None = None  # once it is complete
    users: int = 0
    download: asyncio.Task[None] | None = None


class LocalCopies:
    """Files that `download(key, path)` made, kept until `budget_bytes` are exceeded, the least recently used going first.

    Those in use stay, so that the budget may be exceeded while they are. Other processes have copies of their own.
    """

    def __init__(
        self, folder: Path, *, budget_bytes: int, download: Callable[[str, Path], Awaitable[int]]
    ) -> None:
        self._folder = folder
        self._budget_bytes = budget_bytes
        self._download = download
        self._copies: OrderedDict[str, _Copy] = OrderedDict()

    @asynccontextmanager
    async def use(self, key: str) -> AsyncIterator[Path]:
        """The path of a copy, downloaded once for all who want it at the same time."""
        copy = self._find(key)
        copy.users += 1
        try:
            if copy.size is None:
                if copy.download is None:
                    copy.download = asyncio.create_task(self._fill(key, copy))
                await asyncio.shield(copy.download)  # others may go on waiting when this one is cancelled
                self._evict()
            yield copy.path
        finally:
            copy.users -= 1
            if not copy.users and copy.size is None:
                self._drop(key, copy)
            self._evict()

    def _find(self, key: str) -> _Copy:
        copy = self._copies.get(key)
        if copy and copy.size is not None:
            try:
                os.utime(copy.path)  # what was used lately is left alone when the scratch folder is cleaned
            except FileNotFoundError:  # it was cleaned all the same
                copy = None
        if not copy or (
            copy.size is None and copy.download and copy.download.done()
        ):  # the last attempt failed
            copy = self._copies[key] = _Copy(folders.scratch_path(self._folder))
        self._copies.move_to_end(key)
        return copy

    async def _fill(self, key: str, copy: _Copy) -> None:
        copy.size = await self._download(key, copy.path)

    def _evict(self) -> None:
        kept = sum(copy.size or 0 for copy in self._copies.values())
        for key, copy in list(self._copies.items()):
            if kept <= self._budget_bytes:
                return
            if not copy.users:
                kept -= copy.size or 0
                self._drop(key, copy)

    def _drop(self, key: str, copy: _Copy) -> None:
        if copy.download:
            copy.download.cancel()
        copy.path.unlink(missing_ok=True)
        if self._copies.get(key) is copy:
            del self._copies[key]
