"""From received bytes to a stored file: probe, bytes to a fresh key, then the row. Bytes before rows.

An upload keeps its own bytes until its transaction has committed, and drops them only if the row that it then refers
to was there before. Keys made of the content's hash would lose uploads: a delete that found no reference would unlink
what the next upload had just put there.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog
from sqlalchemy import Insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db.base import insert_on
from mediakeep.errors import CommitUnconfirmed, UnsupportedMedia
from mediakeep.files.models import File
from mediakeep.files.receive import Received
from mediakeep.files.renditions import THUMBNAIL, rendition_key, rendition_prefix
from mediakeep.files.rewrite import rewritten, told_by, wanted_transform
from mediakeep.library import Library
from mediakeep.media.facts import Facts
from mediakeep.media.formats import Format, get_format
from mediakeep.media.limits import limits_from
from mediakeep.media.pool import Priority
from mediakeep.media.probe import probe
from mediakeep.media.render import thumbnail_seconds
from mediakeep.media.sniff import sniff
from mediakeep.storage import new_key
from mediakeep.tasks import enqueue

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class RecordedFile:
    """What an asset needs to know of its file row."""

    id: int
    size: int


@dataclass(kw_only=True)
class Ingested:
    """Content whose bytes are safe in the store and whose row is still to be written by `record`."""

    received: Received
    format: Format
    facts: Facts
    key: str
    public_id: str
    #: What an original told that was written anew: of the asset, not of the file.
    told: dict[str, Any] = field(default_factory=dict)
    #: The key of the row that `record` found or made; None before.
    recorded_key: str | None = None

    @property
    def family(self) -> str:
        """What kind of asset it is. A video container without a picture is audio."""
        return "audio" if self.format.family == "video" and self.facts.width is None else self.format.family

    def _all_facts(self) -> dict[str, Any]:
        """What was read out of the content and has no field of its own in every answer."""
        facts = self.facts
        read = {
            "duration_seconds": facts.duration_seconds,
            "thumbhash": facts.thumbhash,
            "dominant_color": facts.dominant_color,
            "location": facts.location,
        }
        return facts.details | {name: value for name, value in read.items() if value is not None}

    async def record(self, session: AsyncSession, *, owner_id: int) -> RecordedFile:
        """The file row of this content: the one there is, or a new one with the bytes just stored, brought by that user.

        The upsert waits for a deletion of the same row that is under way, and holds off one to come.
        """
        facts = self.facts
        values = {
            "public_id": self.public_id,
            "sha256": self.received.sha256,
            "key": self.key,
            "format": self.format.name,
            "media_type": self.format.media_type,
            "size": self.received.size,
            "width": facts.width,
            "height": facts.height,
            "duration_seconds": facts.duration_seconds,
            "page_count": facts.page_count,
            "facts": self._all_facts(),
            "phash": facts.phash,
        }
        row = (await session.execute(_upsert(session.get_bind().dialect.name), values)).one()
        self.recorded_key = row.key
        if row.key == self.key and facts.thumbnail is None:
            await enqueue(session, "files.derive", {"file_id": row.id}, owner_id=owner_id)
        return RecordedFile(id=row.id, size=row.size)


@lru_cache
def _upsert(dialect_name: str) -> Insert:
    """Made once for each engine: building a statement costs more than running it."""
    statement = insert_on(dialect_name, File)
    statement = statement.on_conflict_do_update(
        index_elements=["sha256"], set_={"sha256": statement.excluded.sha256}
    )
    return statement.returning(File.__table__.c.id, File.__table__.c.key, File.__table__.c.size)


@asynccontextmanager
async def ingest(library: Library, received: Received) -> AsyncIterator[Ingested]:
    """Probe and store what was received; the block records it in its transaction and commits.

    Raises `UndecodableMedia` where the content is not what it claims to be, `Unavailable` where the storage fails.
    """
    found = sniff(received.head)
    if found is None:
        raise UnsupportedMedia("Invalid file type: the content is of no known type.")
    facts = await _probe(library, received, found)
    told: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        if transform := wanted_transform(library.settings, received, found, facts):
            told = told_by(facts)
            received = await stack.enter_async_context(rewritten(library, received, found, transform))
            found = get_format(transform.format)
            facts = await _probe(library, received, found)
        content = Ingested(
            received=received,
            format=found,
            facts=facts,
            key=new_key("files"),
            public_id=str(uuid.uuid4()),
            told=told,
        )
        async with _stored(library, content):
            yield content


async def _probe(library: Library, received: Received, found: Format) -> Facts:
    return await library.decoders.run(
        probe,
        str(received.path),
        found.name,
        limits_from(library.settings),
        timeout_seconds=thumbnail_seconds(found.name),
        priority=Priority.UPLOAD,
    )


@asynccontextmanager
async def _stored(library: Library, content: Ingested) -> AsyncIterator[None]:
    """Store the bytes; once the block has ended, keep them if that is what the database says."""
    try:
        await _put(library, content)
        yield
    except (CommitUnconfirmed, asyncio.CancelledError):
        raise  # the bytes stay, and the sweep removes them where nothing was committed
    except BaseException:
        if not await _may_be_recorded(library, content):  # something after the commit may have failed
            await _drop(library, content)
        raise
    if content.recorded_key != content.key and not await _heal(library, content):
        await _drop(library, content)


async def _put(library: Library, content: Ingested) -> None:
    puts = [library.store.put(content.key, content.received.path, media_type=content.format.media_type)]
    if content.facts.thumbnail is not None:
        puts.append(
            library.store.put_bytes(
                rendition_key(content.public_id, THUMBNAIL), content.facts.thumbnail, media_type="image/jpeg"
            )
        )
    # Both have ended before anything is dropped.
    for outcome in await asyncio.gather(*puts, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def _heal(library: Library, content: Ingested) -> bool:
    """Give a row whose bytes are lost the ones that were just stored; whether it needed them and took them."""
    assert content.recorded_key is not None
    stored = await library.store.stat(content.recorded_key)
    if stored is not None and stored.size == content.received.size:
        return False
    log.error("file.healed", lost=content.recorded_key, key=content.key)
    async with library.database.write() as session:
        row = update(File).where(File.sha256 == content.received.sha256, File.key == content.recorded_key)
        healed = await session.scalar(row.values(key=content.key).returning(File.id))
    if healed is not None:
        await library.store.delete_prefix(rendition_prefix(content.public_id))
    return healed is not None


async def _may_be_recorded(library: Library, content: Ingested) -> bool:
    try:
        async with library.database.read() as session:
            return await session.scalar(select(File.id).where(File.key == content.key)) is not None
    except (SQLAlchemyError, OSError):
        return True


async def _drop(library: Library, content: Ingested) -> None:
    await library.store.delete([content.key])
    await library.store.delete_prefix(rendition_prefix(content.public_id))
