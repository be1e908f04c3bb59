"""The verbs of stored files that need a transaction."""

from collections.abc import Iterator

from sqlalchemy import Column, ColumnElement, delete, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import Base
from mediakeep.files.models import File
from mediakeep.tasks import enqueue


async def lock(session: AsyncSession, file_id: int) -> None:
    """Hold off whoever else deletes something that refers to this file, until the commit."""
    await session.execute(select(File.id).where(File.id == file_id).with_for_update())


async def release(session: AsyncSession, file_id: int) -> None:
    """Delete the file unless something still refers to it, which its foreign keys know best.

    Call it in the transaction that took a reference away and had it `lock`ed before. The bytes go by a task after
    the commit.
    """
    statement = delete(File).where(File.id == file_id).returning(File.key, File.public_id)
    try:
        async with session.begin_nested():
            row = (await session.execute(statement)).one_or_none()
    except IntegrityError:
        return
    if row:
        await enqueue(session, "files.delete_bytes", {"key": row.key, "public_id": row.public_id})


async def find_unreferenced(session: AsyncSession, *, limit: int, after: int = 0) -> list[int]:
    """Ids of file rows that nothing refers to, in order, from the one that follows `after`."""
    unused = select(File.id).where(File.id > after, *_nothing_refers()).order_by(File.id).limit(limit)
    return list(await session.scalars(unused))


def _nothing_refers() -> Iterator[ColumnElement[bool]]:
    for column in _referring_columns():
        yield ~exists().where(column == File.id)


def _referring_columns() -> Iterator[Column[int]]:
    """The columns of other features' tables that refer to files: the schema knows them, this layer does not."""
    for table in Base.metadata.tables.values():
        for column in table.columns:
            if any(key.target_fullname == "files.id" for key in column.foreign_keys):
                yield column
