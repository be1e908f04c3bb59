"""One catalogue, one store: the sweep of another catalogue's server would take all files for orphans."""

import uuid

from sqlalchemy import select

from mediakeep.db import insert_into
from mediakeep.errors import SettingsError
from mediakeep.files.models import LibraryIdentity
from mediakeep.library import Library
from mediakeep.storage import MissingObject

_KEY = "library/id"


async def check_store(library: Library) -> None:
    """Mark a new store as this catalogue's. Raises `SettingsError` for one that is another's."""
    mine = await _identity(library)
    try:
        found = (await library.store.read_bytes(_KEY)).decode(errors="replace").strip()
    except MissingObject:
        found = ""
    if not found:
        await library.store.put_bytes(_KEY, mine.encode(), media_type="text/plain")
    elif found != mine:
        raise SettingsError(
            "The storage belongs to another library: MEDIAKEEP_STORAGE_URL and MEDIAKEEP_DATABASE_URL do not fit together."
        )


async def _identity(library: Library) -> str:
    async with library.database.read() as session:
        known: str | None = await session.scalar(select(LibraryIdentity.public_id))
    if known is not None:
        return known
    async with library.database.write() as session:
        statement = insert_into(session, LibraryIdentity).values(id=1, public_id=str(uuid.uuid4()))
        await session.execute(statement.on_conflict_do_nothing())
    async with library.database.read() as session:
        made: str = (await session.scalars(select(LibraryIdentity.public_id))).one()
    return made
