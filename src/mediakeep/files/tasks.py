"""Background work on stored files."""

from sqlalchemy import select, update

from mediakeep.errors import BadRequest, NotFound
from mediakeep.files.models import File
from mediakeep.files.renditions import THUMBNAIL, WAVEFORM, Source, find_or_make, rendition_prefix
from mediakeep.files.sweep import sweep
from mediakeep.files.variants import evict
from mediakeep.library import Library
from mediakeep.media.image import summarize
from mediakeep.media.limits import IMAGE_SECONDS
from mediakeep.media.pool import Priority
from mediakeep.tasks import Claimed, GiveUp, periodic, task


@task("files.delete_bytes")
async def delete_bytes(library: Library, claimed: Claimed) -> None:
    """Delete the bytes of a file row that is gone, and its renditions; looks once more that no row has the key."""
    key, public_id = claimed.payload["key"], claimed.payload["public_id"]
    async with library.database.read() as session:
        if await session.scalar(select(File.id).where(File.key == key)) is not None:
            raise GiveUp("A file refers to these bytes.")
    await library.store.delete([key])
    await library.store.delete_prefix(rendition_prefix(public_id))


@task("files.derive", lease_seconds=180)
async def derive(library: Library, claimed: Claimed) -> None:
    """Make what a new file will be asked for: its thumbnail and, where it sounds, its waveform."""
    async with library.database.read() as session:
        file = await session.get(File, claimed.payload["file_id"])
    if file is None:
        return
    source = Source.of(file)
    try:
        if file.page_count is not None or source.family != "document":
            picture = await find_or_make(library, source, THUMBNAIL)
            if file.width is not None or source.family == "document":
                await _note_fingerprint(library, file, picture)
        if file.facts.get("audio_codec") and file.width is None:
            await find_or_make(library, source, WAVEFORM)
    except (BadRequest, NotFound) as error:
        raise GiveUp(error.detail) from error


async def _note_fingerprint(library: Library, file: File, picture: bytes) -> None:
    """What a video's poster or a document's page looks like; an image's own decode has told that already."""
    found = await library.decoders.run(
        summarize, picture, timeout_seconds=IMAGE_SECONDS, priority=Priority.RENDITION
    )
    looks = {"thumbhash": found.thumbhash, "dominant_color": found.dominant_color}
    async with library.database.write() as session:
        await session.execute(
            update(File).where(File.id == file.id).values(phash=found.phash, facts=file.facts | looks)
        )


@periodic("files.sweep", every=lambda settings: settings.sweep_interval)
async def sweep_storage(library: Library, _claimed: Claimed) -> None:
    """Remove what crashes have left behind."""
    await sweep(library)


@periodic("files.evict_variants", every=lambda _: 60)
async def evict_variants(library: Library, _claimed: Claimed) -> None:
    """Keep what callers have had made within its budget."""
    await evict(library)
