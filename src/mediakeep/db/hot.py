"""Queries that are asked so often that the ORM would cost more than the database: compiled once, one hop each.

They are ordinary SELECTs of SQLAlchemy over named parameters. What they give are the driver's own values: a JSON
column is to be cast to text, booleans may be numbers, times are what `as_time` understands.
"""

import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg

#: After so long a query is given up.
MAX_QUERY_SECONDS = 10.0

_STEPS_BETWEEN_LOOKS = 50_000

Value = str | int | float | datetime | None

_DIALECTS = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": asyncpg.dialect(),  # type: ignore[no-untyped-call]  # has no annotations
}


@dataclass(frozen=True)
class _Compiled:
    sql: str
    #: The parameters that the statement itself carries.
    constants: Mapping[str, Any]
    #: PostgreSQL's parameters are numbered: the names in that order.
    order: Sequence[str]


class HotQuery:
    """A SELECT over `bindparam`s whose values come with each call. Make one at import, or keep it in a cache."""

    def __init__(self, statement: Select[*tuple[Any, ...]], *, is_scan: bool = False) -> None:
        self._statement = statement
        #: Whether it may have to look at everything.
        self.is_scan = is_scan
        self._compiled: dict[str, _Compiled] = {}

    def on(self, dialect_name: str) -> _Compiled:
        if dialect_name not in self._compiled:
            compiled = self._statement.compile(dialect=_DIALECTS[dialect_name])
            self._compiled[dialect_name] = _Compiled(
                str(compiled), dict(compiled.params), tuple(compiled.positiontup or ())
            )
        return self._compiled[dialect_name]

    def for_postgresql(self, values: Mapping[str, Value]) -> tuple[str, list[Any]]:
        """The statement and its parameters as asyncpg takes them."""
        compiled = self.on("postgresql")
        given = {**compiled.constants, **values}
        return compiled.sql, [given[name] for name in compiled.order]

    def for_sqlite(self, values: Mapping[str, Value]) -> tuple[str, dict[str, Any]]:
        """The statement and its parameters as sqlite3 takes them."""
        compiled = self.on("sqlite")
        given = {
            name: _text(value) if isinstance(value, datetime) else value for name, value in values.items()
        }
        return compiled.sql, {**compiled.constants, **given}


class SqliteReaders:
    """A few threads with a read-only connection each. A query is one hop to one of them, and ends after some seconds."""

    def __init__(self, path: Path, *, threads: int = 2, max_seconds: float = MAX_QUERY_SECONDS) -> None:
        self._path = path
        self._max_seconds = max_seconds
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sqlite-reader")

    @property
    def threads(self) -> ThreadPoolExecutor:
        return self._threads

    def fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Runs in one of the threads."""
        connection = getattr(self._mine, "connection", None) or self._open()
        self._mine.ends_at = time.monotonic() + self._max_seconds
        return connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        self._threads.shutdown()
        for connection in self._all:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        for pragma in READER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.set_progress_handler(lambda: time.monotonic() > self._mine.ends_at, _STEPS_BETWEEN_LOOKS)
        self._mine.connection = connection
        self._all.append(connection)
        return connection


#: What every connection is told that only reads.
READER_PRAGMAS = (
    "query_only = ON",
    "busy_timeout = 5000",
    f"cache_size = -{4 * 1024}",
    # As much as SQLite takes (SQLITE_MAX_MMAP_SIZE): beyond it each page is a system call and a copy. What is mapped
    # is the system's page cache, not memory of the process's own.
    f"mmap_size = {0x7FFF0000}",
)


def as_time(value: Any) -> datetime:  # SQLite gives text, PostgreSQL a datetime
    """A time column's value, aware and in UTC."""
    time: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _text(time: datetime) -> str:
    """The form in which SQLAlchemy keeps a DateTime on SQLite."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
