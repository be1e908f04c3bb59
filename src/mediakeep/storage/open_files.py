"""Files that are being read, or were lately: kept open, and read without waiting for the disk where that can be."""

import asyncio
import errno
import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

import numpy as np

from mediakeep.storage.base import Chunk

_MOST_OPEN = 256
_IDLE_SECONDS = 5.0

# Only Linux can be asked for what is in memory alone (preadv2(2)); elsewhere every read takes a thread.
_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)
_CANNOT = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class OpenFile:
    """A file that stays open while somebody holds it: a thread may read on after its reader has left."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._holders = 1
        self._lock = Lock()
        self._can_refuse_to_wait = bool(_NO_WAIT)

    def __del__(self) -> None:
        # Whoever was cancelled while a thread opened it never came to hold it.
        if getattr(self, "_holders", 0):
            os.close(self._descriptor)

    def hold(self) -> "OpenFile":
        with self._lock:
            self._holders += 1
        return self

    def release(self) -> None:
        """Give back what `hold` or the constructor gave; the last one closes it."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                os.close(self._descriptor)

    def read(self, position: int, length: int) -> bytes:
        """At most `length` bytes, empty past the end; waits for the disk."""
        return os.pread(self._descriptor, length, position)

    def read_at_once(self, position: int, length: int) -> Chunk | None:
        """At most `length` bytes that are in memory already, empty past the end; None if the disk has to be waited for."""
        if not self._can_refuse_to_wait:
            return None
        buffer = np.empty(length, np.uint8).data  # a bytearray would be written over with zeros first
        try:
            count = os.preadv(self._descriptor, [buffer], position, _NO_WAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            self._can_refuse_to_wait = False
            return None
        return buffer[:count]


class OpenFiles:
    """The files read last, by key. Opening one costs as much as sending a small one.

    Serves one event loop. What is deleted elsewhere keeps its room on the disk for `_IDLE_SECONDS` at most.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[float, OpenFile]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def find(self, key: str) -> OpenFile | None:
        """The file, held for the caller, if it is open."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept[key] = (time.monotonic(), found[1])
        self._kept.move_to_end(key)
        return found[1].hold()

    def keep(self, key: str, file: OpenFile) -> None:
        """Hold `file`, which the caller goes on holding as well, for whoever reads it next."""
        self.forget([key])
        self._kept[key] = (time.monotonic(), file.hold())
        while len(self._kept) > _MOST_OPEN:
            self._kept.popitem(last=False)[1][1].release()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._close_idle)

    def forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            if found := self._kept.pop(key, None):
                found[1].release()

    def _close_idle(self) -> None:
        limit = time.monotonic() - _IDLE_SECONDS
        self.forget([key for key, (used_at, _) in self._kept.items() if used_at <= limit])
        self._timer = None
        if self._kept:
            self._timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._close_idle)
