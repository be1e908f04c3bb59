"""Accounting for renditions that callers ask for: a cap for each file, a budget for all of them together.

Anybody may ask for sizes. Whoever makes or serves a variant notes it in memory, and every other second the notes are
written down: so serving one writes nothing, and a crash costs a few notes, which the sweep makes up for.

Rows go before bytes. Bytes that lost their row to a crash are adopted by the sweep, and a row without bytes does no
harm: nothing is served from rows, and it goes like any other that nobody uses.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Final, Self

import structlog
from sqlalchemy import Insert, bindparam, case, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import now_plus
from mediakeep.db.base import insert_on, table_of
from mediakeep.files.models import File, Variant
from mediakeep.library import Library
from mediakeep.storage import Stored

log = structlog.get_logger(__name__)

#: Most notes that one transaction writes, and most variants that one deletes: SQLite has one writer.
_BATCH: Final = 200
_FLUSH_SECONDS: Final = 2.0
#: How long the last flush may take when a process ends.
_LAST_SECONDS: Final = 5.0

#: What is noted in memory at most: some hundred bytes each.
_MOST_NOTES: Final = 4000
#: After so long it is told again that a variant is in use; of how many is remembered that it has been told.
_TOLD_SECONDS: Final = 3600.0
_MOST_TOLD: Final = 20_000

#: What eviction leaves of the budget, so that it has not to run again for the next variant.
_LEFT_OF_BUDGET: Final = 0.9

_v = table_of(Variant)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    file_public_id: str
    key: str
    size: int
    is_preset: bool
    #: By `time.monotonic`.
    noted_at: float


class VariantLog:
    """What this process has made and served since it last told the database. Tells it every 2 s while its block lasts.

    Whatever the database does, nobody who notes something waits or fails: notes that cannot be written are kept for
    the next time, up to a few thousand.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._made: OrderedDict[str, _Note] = OrderedDict()
        self._used: OrderedDict[str, _Note] = OrderedDict()
        self._told_at: OrderedDict[tuple[str, bool], float] = OrderedDict()
        self._dropped = 0
        self._flushing = asyncio.Lock()
        self._closing = asyncio.Event()

    def made(self, file_public_id: str, key: str, size: int, *, is_preset: bool) -> None:
        """A variant of `size` bytes was stored under `key`; whether it was asked for as a preset."""
        self._note(self._made, file_public_id, key, size, is_preset)

    def used(self, file_public_id: str, key: str, size: int, *, is_preset: bool) -> None:
        """A variant was found in the store or in memory. The database is told at most once an hour."""
        told_at = self._told_at.get((key, is_preset), -_TOLD_SECONDS)
        if time.monotonic() - told_at >= _TOLD_SECONDS:
            notes = self._made if key in self._made else self._used
            self._note(notes, file_public_id, key, size, is_preset)

    async def flush(self) -> None:
        """Write down what is noted, then delete what the files in question have too much of.

        One transaction for every 200 notes. Raises what the database or the store raises; notes whose files were not
        dealt with to the end are kept.
        """
        async with self._flushing:
            if self._dropped:
                log.warning("variants.notes_dropped", count=self._dropped)
                self._dropped = 0
            while notes := [*islice(self._made.values(), _BATCH)] or [*islice(self._used.values(), _BATCH)]:
                await _trim(self._library, await _record(self._library, notes))
                self._forget(notes)

    async def __aenter__(self) -> Self:
        self._closing.clear()
        self._task = asyncio.create_task(self._flush_often())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._task
        except TimeoutError as late:
            self._complain(late)

    async def _flush_often(self) -> None:
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _FLUSH_SECONDS)
            is_last = self._closing.is_set()
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 whatever drivers raise while the database is away
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        noted = len(self._made) + len(self._used)
        log.warning("variants.flush_failed", error=type(error).__name__, noted=noted)

    def _note(
        self, notes: OrderedDict[str, _Note], file_public_id: str, key: str, size: int, is_preset: bool
    ) -> None:
        now = time.monotonic()
        earlier = self._used.pop(key, None) or self._made.get(key)
        notes[key] = _Note(
            file_public_id=file_public_id,
            key=key,
            size=size,
            is_preset=is_preset or (earlier is not None and earlier.is_preset),
            noted_at=now,
        )
        self._told_at[key, is_preset] = now
        self._told_at.move_to_end((key, is_preset))
        if len(self._told_at) > _MOST_TOLD:
            self._told_at.popitem(last=False)
        if len(self._made) + len(self._used) > _MOST_NOTES:
            self._drop_one()

    def _drop_one(self) -> None:
        key, note = (self._used or self._made).popitem(last=False)
        self._told_at.pop((key, note.is_preset), None)
        self._dropped += 1

    def _forget(self, notes: Iterable[_Note]) -> None:
        for note in notes:
            for kept in (self._made, self._used):
                if kept.get(note.key) is note:  # what came meanwhile is another one
                    del kept[note.key]


async def adopt(library: Library, found: Mapping[Stored, str]) -> int:
    """Give a row to those bytes, found in the store, that have none. `found` has the public ids of their files.

    Returns how many had none. They count as used when they were stored, so what nobody asks for any more goes first.
    """
    keys = [one.key for one in found]
    async with library.database.read() as session:
        known = set(await session.scalars(select(_v.c.key).where(_v.c.key.in_(keys))))
    now = datetime.now(UTC)
    notes = [
        _Note(
            file_public_id=public_id,
            key=one.key,
            size=one.size,
            is_preset=False,
            noted_at=time.monotonic() - max(0.0, (now - one.modified_at).total_seconds()),
        )
        for one, public_id in found.items()
        if one.key not in known
    ]
    if notes:
        await _record(library, notes)
    return len(notes)


async def evict(library: Library) -> None:
    """Delete the variants that nobody has used for longest, if all together are over the budget, down to 90 % of it."""
    before = total = await _total_bytes(library)
    if total <= library.settings.rendition_budget_bytes:
        return
    count = 0
    while total > library.settings.rendition_budget_bytes * _LEFT_OF_BUDGET:
        excess = total - int(library.settings.rendition_budget_bytes * _LEFT_OF_BUDGET)
        gone = await _delete(library, await _least_recently_used(library, excess))
        if not gone:
            break  # others are using them just now
        count += len(gone)
        total -= sum(gone.values())
    log.info("variants.evicted", count=count, freed_bytes=before - total, left_bytes=total)


async def _total_bytes(library: Library) -> int:
    """For a million of them 0.03 s on SQLite, from an index alone; PostgreSQL reads the table in parallel in 0.13 s."""
    async with library.database.read() as session:
        return int(await session.scalar(select(func.coalesce(func.sum(_v.c.size), 0))) or 0)


async def _least_recently_used(library: Library, excess: int) -> list[str]:
    """Keys of the first variants to go: a batch at most, and no more than it takes to free `excess` bytes."""
    statement = select(_v.c.key, _v.c.size).order_by(_v.c.used_at).limit(_BATCH)
    async with library.database.read() as session:
        found = (await session.execute(statement)).all()
    keys = []
    for row in found:
        if excess <= 0:
            break
        keys.append(row.key)
        excess -= row.size
    return keys


async def _record(library: Library, notes: Sequence[_Note]) -> set[int]:
    """Write rows for the variants of files that are still there; returns the ids of these files."""
    async with library.database.write() as session:
        ids = await _lock_files(session, {note.file_public_id for note in notes})
        now = await session.scalar(select(now_plus()))
        assert now is not None
        clock = time.monotonic()
        rows = [
            {
                "key": note.key,
                "file_id": ids[note.file_public_id],
                "size": note.size,
                "is_preset": note.is_preset,
                "used_at": now - timedelta(seconds=clock - note.noted_at),
            }
            for note in sorted(notes, key=lambda note: note.key)  # in one order for everybody who writes
            if note.file_public_id in ids
        ]
        if rows:
            await session.execute(_upsert(session.get_bind().dialect.name), rows)
    return set(ids.values())


async def _lock_files(session: AsyncSession, public_ids: Iterable[str]) -> dict[str, int]:
    """The ids of those files that are there, which none of them ceases to be before the transaction ends.

    Whoever deletes a file locks it first, in the same order; so a lock on its variants makes nobody wait in a circle.
    """
    there = select(File.public_id, File.id).where(File.public_id.in_(public_ids)).order_by(File.id)
    rows = await session.execute(there.with_for_update(read=True, key_share=True))
    return {row.public_id: row.id for row in rows}


@lru_cache
def _upsert(dialect_name: str) -> Insert:
    """Made once for each engine.

    The later use counts, whichever process comes first. A preset stays one: whoever asks for the same picture by its
    numbers must not bring it under the cap.
    """
    statement = insert_on(dialect_name, Variant).values(
        {column.name: bindparam(column.name) for column in _v.c}
    )
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "size": new.size,
            "is_preset": or_(_v.c.is_preset, new.is_preset),
            "used_at": case((new.used_at > _v.c.used_at, new.used_at), else_=_v.c.used_at),
        },
    )


async def _trim(library: Library, file_ids: Iterable[int]) -> None:
    """Delete what these files have beyond their cap, presets apart: what nobody has used for longest."""
    place = func.row_number().over(partition_by=_v.c.file_id, order_by=(_v.c.used_at.desc(), _v.c.key))
    mine = (
        select(_v.c.key, place.label("place")).where(_v.c.file_id.in_(file_ids), ~_v.c.is_preset).subquery()
    )
    async with library.database.read() as session:
        beyond = mine.c.place > library.settings.rendition_variants
        keys = list(await session.scalars(select(mine.c.key).where(beyond)))
    for start in range(0, len(keys), _BATCH):
        await _delete(library, keys[start : start + _BATCH])


async def _delete(library: Library, keys: Sequence[str]) -> dict[str, int]:
    """Delete the rows of these variants, then their bytes; the sizes of what is gone.

    What somebody else has locked is in use: it stays, and nobody waits.
    """
    free = select(_v.c.key).where(_v.c.key.in_(keys)).with_for_update(skip_locked=True)
    async with library.database.write() as session:
        statement = delete(_v).where(_v.c.key.in_(free)).returning(_v.c.key, _v.c.size)
        gone = {row.key: row.size for row in await session.execute(statement)}
    await library.store.delete(list(gone))
    return gone
