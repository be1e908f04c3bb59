"""Removing what crashes leave behind: temporary files, bytes without a row, rows without a reference.

What is found is noted first and looked at again by a later sweep before it is deleted, and nothing younger than
`sweep_grace` is touched, since bytes come before rows.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import insert_into
from mediakeep.files import service
from mediakeep.files.models import File, Orphan
from mediakeep.library import Library

log = structlog.get_logger(__name__)

_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What one sweep did, in numbers of things."""

    scratch_files: int
    unused_files: int
    noted: int
    deleted: int


async def sweep(library: Library) -> Swept:
    """One pass over the library. Two passes with nothing in between remove everything that nothing refers to."""
    grace = library.settings.sweep_grace
    scratch_files = await library.store.clean_scratch(grace)
    unused_files = await _delete_unused_files(library)
    deleted = await _delete_noted_orphans(library, grace)
    noted = await _note_orphans(library, grace)
    swept = Swept(scratch_files=scratch_files, unused_files=unused_files, noted=noted, deleted=deleted)
    log.info("sweep.done", **vars(swept))
    return swept


async def iter_orphans(library: Library, *, older_than_seconds: float) -> AsyncIterator[str]:
    """Keys in the store, of at least that age, that no file row accounts for."""
    limit = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
    for prefix in ("files", "renditions"):
        batch: list[str] = []
        async for stored in library.store.iter_keys(prefix):
            if stored.modified_at <= limit:
                batch.append(stored.key)
            if len(batch) == _BATCH:
                for key in await _unaccounted(library, batch):
                    yield key
                batch.clear()
        for key in await _unaccounted(library, batch):
            yield key


async def _unaccounted(library: Library, keys: list[str]) -> list[str]:
    if not keys:
        return []
    async with library.database.read() as session:
        return await _without_row(session, keys)


async def _without_row(session: AsyncSession, keys: Iterable[str]) -> list[str]:
    """Those of the keys that belong to no file: originals by their key, renditions by the id in their path."""
    keys = list(keys)
    owners = {key: key.split("/")[2] for key in keys if key.startswith("renditions/") and key.count("/") >= 3}
    known = set(await session.scalars(select(File.key).where(File.key.in_(keys))))
    ids = set(await session.scalars(select(File.public_id).where(File.public_id.in_(owners.values()))))
    return [key for key in keys if key not in known and owners.get(key) not in ids]


async def _note_orphans(library: Library, grace: float) -> int:
    noted = 0
    batch: list[str] = []

    async def note() -> None:
        async with library.database.write() as session:
            statement = insert_into(session, Orphan).values([{"key": key} for key in batch])
            await session.execute(statement.on_conflict_do_nothing())
        batch.clear()

    async for key in iter_orphans(library, older_than_seconds=grace):
        batch.append(key)
        noted += 1
        if len(batch) == _BATCH:
            await note()
    if batch:
        await note()
    return noted


async def _delete_noted_orphans(library: Library, grace: float) -> int:
    """Delete what an earlier sweep noted, after one more look whether a row has come to it."""
    deleted = 0
    limit = datetime.now(UTC) - timedelta(seconds=grace)
    while True:
        async with library.database.read() as session:
            noted = list(
                await session.scalars(select(Orphan.key).where(Orphan.found_at <= limit).limit(_BATCH))
            )
        if not noted:
            return deleted
        async with library.database.read() as session:
            orphans = await _without_row(session, noted)
        if orphans:
            await library.store.delete(orphans)
            log.warning("sweep.orphans_deleted", count=len(orphans), first=orphans[0])
        deleted += len(orphans)
        async with library.database.write() as session:
            await session.execute(delete(Orphan).where(Orphan.key.in_(noted)))


async def _delete_unused_files(library: Library) -> int:
    """File rows that lost their last reference without being released, which only a fault of ours could cause."""
    deleted = 0
    while True:
        async with library.database.read() as session:
            unused = await service.find_unreferenced(session, limit=_BATCH)
        if not unused:
            return deleted
        async with library.database.write() as session:
            await service.release(session, unused)
        deleted += len(unused)
