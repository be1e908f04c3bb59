"""Removing what crashes leave behind: temporary files, bytes without a row, rows without a reference.

What is found is noted first and looked at again by a later sweep before it is deleted, and nothing younger than
`sweep_grace` is touched, since bytes come before rows. Variants that nobody accounts for are of use: they get a row.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import insert_into
from mediakeep.files import service
from mediakeep.files.models import File, Orphan
from mediakeep.files.renditions import THUMBNAIL, WAVEFORM, WAVEFORM_PICTURE, rendition_key
from mediakeep.files.variants import adopt
from mediakeep.library import Library
from mediakeep.storage import Stored

log = structlog.get_logger(__name__)

_BATCH = 500

#: Every file has these, or may have: they count towards no budget.
_FIXED = (THUMBNAIL, WAVEFORM, WAVEFORM_PICTURE)


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What one sweep did, in numbers of things."""

    scratch_files: int
    unused_files: int
    noted: int
    deleted: int
    adopted: int


async def sweep(library: Library) -> Swept:
    """One pass over the library. Two passes with nothing in between remove everything that nothing refers to."""
    grace = library.settings.sweep_grace
    scratch_files = await library.store.clean_scratch(grace)
    unused_files = await _delete_unused_files(library)
    deleted = await _delete_noted_orphans(library, grace)
    noted, adopted = await _note_orphans_and_adopt(library, grace)
    swept = Swept(
        scratch_files=scratch_files, unused_files=unused_files, noted=noted, deleted=deleted, adopted=adopted
    )
    log.info("sweep.done", **vars(swept))
    return swept


async def iter_orphans(library: Library, *, older_than_seconds: float) -> AsyncIterator[str]:
    """Keys in the store, of at least that age, that no file row accounts for."""
    async for batch in _iter_batches(library, older_than_seconds):
        for key in await _unaccounted(library, batch):
            yield key


async def _iter_batches(library: Library, older_than_seconds: float) -> AsyncIterator[list[Stored]]:
    limit = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
    for prefix in ("files", "renditions"):
        batch: list[Stored] = []
        async for stored in library.store.iter_keys(prefix):
            if stored.modified_at <= limit:
                batch.append(stored)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


async def _unaccounted(library: Library, batch: Iterable[Stored]) -> list[str]:
    async with library.database.read() as session:
        return await _without_row(session, (stored.key for stored in batch))


async def _without_row(session: AsyncSession, keys: Iterable[str]) -> list[str]:
    """Those of the keys that belong to no file: originals by their key, renditions by the id in their path."""
    keys = list(keys)
    owners = {key: owner for key in keys if (owner := _owner(key))}
    known = set(await session.scalars(select(File.key).where(File.key.in_(keys))))
    ids = set(await session.scalars(select(File.public_id).where(File.public_id.in_(owners.values()))))
    return [key for key in keys if key not in known and owners.get(key) not in ids]


def _owner(key: str) -> str:
    """The public id of the file that a rendition was made of; "" for other keys."""
    return key.split("/")[2] if key.startswith("renditions/") and key.count("/") >= 3 else ""


async def _note_orphans_and_adopt(library: Library, grace: float) -> tuple[int, int]:
    noted = adopted = 0
    async for batch in _iter_batches(library, grace):
        orphans = await _unaccounted(library, batch)
        if orphans:
            await _note(library, orphans)
        noted += len(orphans)
        adopted += await _adopt_variants(library, batch, orphans)
    return noted, adopted


async def _note(library: Library, orphans: Iterable[str]) -> None:
    async with library.database.write() as session:
        statement = insert_into(session, Orphan).values([{"key": key} for key in orphans])
        await session.execute(statement.on_conflict_do_nothing())


async def _adopt_variants(library: Library, batch: Iterable[Stored], orphans: Sequence[str]) -> int:
    """Account for what a crash kept from it. Fixed renditions of an older pipeline are variants nobody asks for."""
    kept = set(orphans)
    found = {
        stored: owner
        for stored in batch
        if (owner := _owner(stored.key)) and stored.key not in kept and not _is_fixed(stored.key, owner)
    }
    return await adopt(library, found) if found else 0


def _is_fixed(key: str, owner: str) -> bool:
    return any(key == rendition_key(owner, recipe) for recipe in _FIXED)


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
