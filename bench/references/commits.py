"""What tasks cost a database at the least: they are taken and removed in as many commits, and nothing else happens.

Each commit removes some rows of the `tasks` table by their ids and marks the next ones as taken, by a driver alone: no
worker, no order in which they come, nothing that could go wrong.
"""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import asyncpg

_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", f"cache_size = -{64 * 1024}")

_TAKE = "UPDATE tasks SET leased_until = {now}, lease_token = 'x', attempts = 1, turn = NULL WHERE id IN ({ids}) RETURNING payload"
_REMOVE = "DELETE FROM tasks WHERE id IN ({ids})"


def on_sqlite(path: Path, ids: Sequence[int], *, at_once: int) -> float:
    """Take and remove these rows, so many in each commit; returns the seconds."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        began, before = time.perf_counter(), ""
        for some in _batches(ids, at_once):
            connection.execute("BEGIN IMMEDIATE")
            if before:
                connection.execute(_REMOVE.format(ids=before))
            before = ",".join(map(str, some))
            if before:
                connection.execute(_TAKE.format(now="datetime('now')", ids=before)).fetchall()
            connection.execute("COMMIT")
        return time.perf_counter() - began


def on_postgresql(url: str, ids: Sequence[int], *, at_once: int) -> float:
    """As `on_sqlite`."""
    return asyncio.run(_on_postgresql(url, ids, at_once))


async def _on_postgresql(url: str, ids: Sequence[int], at_once: int) -> float:
    connection = await asyncpg.connect(url)
    take = _TAKE.format(now="clock_timestamp()", ids="SELECT unnest($1::bigint[])")
    remove = _REMOVE.format(ids="SELECT unnest($1::bigint[])")
    try:
        began = time.perf_counter()
        before: Sequence[int] = ()
        for some in _batches(ids, at_once):
            async with connection.transaction():
                if before:
                    await connection.execute(remove, before)
                if some:
                    await connection.fetch(take, some)
            before = some
        return time.perf_counter() - began
    finally:
        await connection.close()


def _batches(ids: Sequence[int], at_once: int) -> list[Sequence[int]]:
    """The ids by so many, and none at the end."""
    return [ids[at : at + at_once] for at in range(0, len(ids), at_once)] + [()]
