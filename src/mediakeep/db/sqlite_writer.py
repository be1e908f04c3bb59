"""The connection that writes to SQLite: short statements at once, what waits for locks and disks in a thread.

aiosqlite sends every call to a thread; the four trips that SQLAlchemy needs for a statement cost more than most
statements do. A statement between BEGIN and COMMIT only touches memory that is mapped or cached, so it runs where it
is called. BEGIN may wait for a lock and COMMIT waits for the disk: these still go to the thread.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite


class _Writer(aiosqlite.Connection):
    async def _execute(
        self, fn: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:  # aiosqlite's signature
        on_a_cursor = isinstance(getattr(fn, "__self__", None), sqlite3.Cursor)
        is_begin = bool(args) and str(args[0]).startswith("BEGIN")
        if self._connection is not None and (on_a_cursor or fn == self._connection.cursor) and not is_begin:
            return fn(*args, **kwargs)
        return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # has no annotations


async def connect_writer(path: Path) -> aiosqlite.Connection:
    """A new connection; its statements must be short, since nothing else runs meanwhile."""
    writer = _Writer(lambda: sqlite3.connect(path, check_same_thread=False), iter_chunk_size=64)
    writer._thread.daemon = True  # noqa: SLF001 as SQLAlchemy does with a connection that it opens itself
    return await writer
