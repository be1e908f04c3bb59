"""Background work on stored files."""

from sqlalchemy import select

from mediakeep.errors import BadRequest, NotFound
from mediakeep.files.models import File
from mediakeep.files.renditions import THUMBNAIL, WAVEFORM, Source, find_or_make, rendition_prefix
from mediakeep.files.sweep import sweep
from mediakeep.library import Library
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
            await find_or_make(library, source, THUMBNAIL)
        if file.facts.get("audio_codec") and source.family in {"audio", "video"}:
            await find_or_make(library, source, WAVEFORM)
    except (BadRequest, NotFound) as error:
        raise GiveUp(error.detail) from error


@periodic("files.sweep", every=lambda settings: settings.sweep_interval)
async def sweep_storage(library: Library, _claimed: Claimed) -> None:
    """Remove what crashes have left behind."""
    await sweep(library)
