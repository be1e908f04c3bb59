"""Transactions: one write engine and one pool of readers, on SQLite and on PostgreSQL.

SQLite has one writer, and its versions before 3.51.3 can lose a commit when several processes write and checkpoint
(https://sqlite.org/wal.html#walresetbug). So every process of ours holds a lock file from before BEGIN until COMMIT
has returned. That is also fairer to waiting writers than SQLite's own busy handler.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from socket import gaierror
from typing import Any, TypeVar

import asyncpg
import structlog
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from mediakeep.db.hot import MAX_QUERY_SECONDS, READER_PRAGMAS, HotQuery, SqliteReaders, Value
from mediakeep.db.sqlite_writer import connect_writer
from mediakeep.errors import CommitUnconfirmed, SettingsError, Unavailable
from mediakeep.settings import Settings

_MIB = 1 << 20

log = structlog.get_logger(__name__)

#: What drivers raise where it is the database that fails, not the query.
_IS_AWAY = (
    OSError,
    sqlite3.OperationalError,
    asyncpg.exceptions.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    OperationalError,
    PoolTimeout,
)

_T = TypeVar("_T")

#: Where a session keeps what its transaction does last.
_LAST = "db.last"

#: PostgreSQL's deadlock_detected and serialization_failure.
_COLLISIONS = frozenset({"40P01", "40001"})

#: How often a transaction is carried out that PostgreSQL ends each time so that another can go on.
_ATTEMPTS = 3


class Database:
    """Opens transactions. What reads needs `read()`; whatever changes something needs `write()`."""

    def __init__(
        self,
        write_engine: AsyncEngine,
        read_engine: AsyncEngine,
        *,
        scan_engine: AsyncEngine | None = None,
        sqlite: Path | None = None,
    ) -> None:
        self.write_engine = write_engine
        self.read_engine = read_engine
        # PostgreSQL's connections for what may have to look at everything.
        self._scan_engine = scan_engine or read_engine
        self._turns = _Turns(sqlite.with_name("db.lock")) if sqlite else None
        self._sqlite_readers = SqliteReaders(sqlite) if sqlite else None
        # Of their own, so that nobody's slow search keeps others from being known.
        self._sqlite_scanners = SqliteReaders(sqlite) if sqlite else None
        #: Called with the session's `info` after each commit that succeeded.
        self.after_commit: list[Callable[[dict[Any, Any]], None]] = []

    @property
    def is_sqlite(self) -> bool:
        return self.write_engine.dialect.name == "sqlite"

    @property
    def dialect_name(self) -> str:
        return self.write_engine.dialect.name

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction: commits when the block ends, rolls back when it raises.

        On SQLite nobody else can write meanwhile: read, work, then open this and be quick.
        """
        async with self.turn(), AsyncSession(self.write_engine, expire_on_commit=False) as session:
            try:
                yield session
                await _do_last(session)
            except BaseException:
                await uninterrupted(session.rollback())
                raise
            try:
                await uninterrupted(session.commit())
            except Exception as error:
                log.exception("database.commit_unconfirmed")
                raise CommitUnconfirmed from error
        for call in self.after_commit:
            call(session.info)

    async def transact(self, work: Callable[[AsyncSession], Awaitable[_T]]) -> _T:
        """What `work` does in one transaction; once more where PostgreSQL ends that so that another's can go on.

        So `work` does nothing that a rollback would not undo. Raises what it raises, and `Unavailable` where the
        database is away, or others were in the way each time.
        """
        attempt = 1
        while True:
            try:
                async with self.write() as session:
                    return await work(session)
            except (DBAPIError, PoolTimeout, OSError) as error:
                if not may_pass(error):
                    raise
                if not is_collision(error) or attempt == _ATTEMPTS:
                    raise unavailable(error) from error
            log.info("database.collision", attempt=attempt)
            attempt += 1

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that cannot change anything; each of its statements sees what is committed by then."""
        async with AsyncSession(self.read_engine, expire_on_commit=False) as session:
            yield session

    async def fetch(self, query: HotQuery, values: Mapping[str, Value]) -> Sequence[Sequence[Any]]:
        """The rows of a query that is asked often, in one hop; see `HotQuery` for what they hold.

        Raises `Unavailable` where the database is away.
        """
        try:
            return await self._fetch(query, values)
        except _IS_AWAY as error:
            raise unavailable(error) from error

    async def _fetch(self, query: HotQuery, values: Mapping[str, Value]) -> Sequence[Sequence[Any]]:
        readers = self._sqlite_scanners if query.is_scan else self._sqlite_readers
        if readers:
            work = partial(readers.fetch, *query.for_sqlite(values))
            return await asyncio.get_running_loop().run_in_executor(readers.threads, work)
        sql, parameters = query.for_postgresql(values)
        engine = self._scan_engine if query.is_scan else self.read_engine
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection  # asyncpg's, which has no types
            rows: Sequence[Sequence[Any]] = await driver.fetch(sql, *parameters)
        return rows

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The right to write: this process's and, among the processes, the lock file's. Nothing on PostgreSQL."""
        return self._turns.hold() if self._turns else nullcontext()

    async def check(self) -> None:
        """Answer whether the database does. Raises what the driver raises."""
        async with self.read_engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.read_engine.dispose()
        await self._scan_engine.dispose()
        async with self.turn():  # the last connection to leave checkpoints
            for readers in (self._sqlite_readers, self._sqlite_scanners):
                if readers:
                    await asyncio.to_thread(readers.close)
            await self.write_engine.dispose()
        if self._turns:
            self._turns.close()


def do_last(
    session: AsyncSession, work: Callable[[AsyncSession], Awaitable[None]], *, order: int = 1
) -> None:
    """Have this work done at the end of a write transaction, before its commit; once, however often it is asked for.

    For rows that many transactions change: whoever has locked one should not wait for anything else. What has the
    smaller `order` is done first, in every transaction, so that no two wait for each other.
    """
    session.info.setdefault(_LAST, {})[work] = order


async def _do_last(session: AsyncSession) -> None:
    works: dict[Callable[[AsyncSession], Awaitable[None]], int] = session.info.get(_LAST, {})
    for work in sorted(works, key=works.__getitem__):
        await work(session)


def is_collision(error: BaseException) -> bool:
    """Whether PostgreSQL has ended this transaction because it and another waited for each other."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _COLLISIONS


def may_pass(error: BaseException) -> bool:
    """Whether it is for a database that is down or overloaded, or for others' work, that a transaction failed."""
    return (
        isinstance(error, OperationalError | PoolTimeout | ConnectionError | TimeoutError | gaierror)
        or is_collision(error)
        or getattr(error, "connection_invalidated", False)
    )


def unavailable(error: BaseException) -> Unavailable:
    """What a caller hears of that; the log has the cause."""
    log.error("database.unavailable", error=type(error).__name__, cause=str(error.__cause__ or error)[:500])
    if is_collision(error):
        return Unavailable("Others are changing the same things. Try again in a moment.")
    return Unavailable("The database does not answer. Try again in a moment.")


class _Turns:
    """First come, first served within the process; `flock` among processes."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mine = asyncio.Lock()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        await self._mine.acquire()
        try:
            await self._lock_file()
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._mine.release()
            raise
        try:
            yield
        finally:
            self._release()

    async def _lock_file(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting = asyncio.get_running_loop().run_in_executor(
                None, fcntl.flock, self._descriptor, fcntl.LOCK_EX
            )
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError:
                # The thread cannot be called back: it will get the lock some time, and must then give it up.
                waiting.add_done_callback(lambda _: self._release())
                raise

    def _release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._mine.release()

    def close(self) -> None:
        os.close(self._descriptor)


async def uninterrupted(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, which is carried through even when the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):  # who cancels twice has to wait as well
                await asyncio.wait([task])
        raise


def open_database(settings: Settings) -> Database:
    """The database that the settings name; nothing is read or written yet. Raises `SettingsError`."""
    if settings.uses_sqlite:
        return _open_sqlite(_sqlite_path(settings))
    return _open_postgresql(_parse(settings.database_url))


def _parse(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise SettingsError("MEDIAKEEP_DATABASE_URL is not a database address.") from error
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise SettingsError("MEDIAKEEP_DATABASE_URL must begin with sqlite:// or postgresql://.")
    return url.set(drivername="postgresql+asyncpg")


def _sqlite_path(settings: Settings) -> Path:
    if not settings.database_url:
        return settings.data / "mediakeep.db"
    database = make_url(settings.database_url).database
    if not database or database == ":memory:":
        raise SettingsError("MEDIAKEEP_DATABASE_URL must name a file; several processes share the database.")
    return Path(database)


def _open_sqlite(path: Path) -> Database:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    url = URL.create("sqlite+aiosqlite", database=str(path))
    write_engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        async_creator=partial(connect_writer, path),
    )
    read_engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=4,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    event.listen(write_engine.sync_engine, "connect", _prepare_sqlite_writer)
    event.listen(write_engine.sync_engine, "begin", _begin_immediate)
    event.listen(read_engine.sync_engine, "connect", _prepare_sqlite_reader)
    return Database(write_engine, read_engine, sqlite=path)


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction that upgrades fails with "database is locked", whatever the time-out.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_sqlite_writer(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None
    _run_pragmas(
        connection,
        "journal_mode = WAL",
        "synchronous = FULL",  # NORMAL survives kill -9 but not a power cut
        "foreign_keys = ON",
        f"cache_size = -{64 * 1024}",
        f"mmap_size = {256 * _MIB}",
    )


def _prepare_sqlite_reader(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None
    _run_pragmas(connection, *READER_PRAGMAS)


def _run_pragmas(connection: DBAPIConnection, *pragmas: str) -> None:
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _open_postgresql(url: URL) -> Database:
    write_engine = create_async_engine(url, pool_size=8, max_overflow=8, pool_pre_ping=True)
    read_engine, scan_engine = (
        create_async_engine(
            url,
            pool_size=size,
            max_overflow=size,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
        )
        for size in (8, 4)
    )
    event.listen(scan_engine.sync_engine, "connect", _prepare_postgresql_scanner)
    return Database(write_engine, read_engine, scan_engine=scan_engine)


def _prepare_postgresql_scanner(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    # What is looked for decides how: one plan for common and for rare words is a bad one for most.
    cursor.execute("SET plan_cache_mode = force_custom_plan")
    cursor.execute(f"SET statement_timeout = {round(MAX_QUERY_SECONDS * 1000)}")
    cursor.close()
