"""The connection that writes to SQLite: short statements at once, what waits for the disk in a thread.

aiosqlite sends every call to a thread; the four trips that SQLAlchemy needs for a statement cost more than most
statements do. A statement between BEGIN and COMMIT only touches memory that is mapped or cached, so it runs where it
is called. COMMIT waits for the disk and goes to the thread, and so does a BEGIN that finds the database locked, which
only a program that does not share our lock file can bring about.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite

_LOCKED_MILLISECONDS = 5000


class _Writer(aiosqlite.Connection):
    async def _execute(
        self, fn: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:  # aiosqlite's signature
        connection = self._connection
        if connection is not None:
            if fn == connection.rollback and not connection.in_transaction:
                return None  # the pool's, when a connection comes back
            if fn == connection.cursor or isinstance(getattr(fn, "__self__", None), sqlite3.Cursor):
                try:
                    return fn(*args, **kwargs)
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or connection.in_transaction:
                        raise
                return await self._wait_and_execute(connection, fn, *args)
        return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # has no annotations

    async def _wait_and_execute(
        self, connection: sqlite3.Connection, fn: Callable[..., Any], *args: Any
    ) -> Any:
        def execute() -> Any:
            connection.execute(f"PRAGMA busy_timeout = {_LOCKED_MILLISECONDS}")
            try:
                return fn(*args)
            finally:
                connection.execute("PRAGMA busy_timeout = 0")

        return await super()._execute(execute)  # type: ignore[no-untyped-call]  # has no annotations


async def connect_writer(path: Path) -> aiosqlite.Connection:
    """A new connection; its statements must be short, since nothing else runs meanwhile."""
    writer = _Writer(lambda: sqlite3.connect(path, timeout=0, check_same_thread=False), iter_chunk_size=64)
    writer._thread.daemon = True  # noqa: SLF001 as SQLAlchemy does with a connection that it opens itself
    return await writer
