"""The verbs of stored files that need a transaction."""

from collections.abc import Iterable, Iterator

from sqlalchemy import Column, ColumnElement, ForeignKey, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import Base
from mediakeep.files.models import File
from mediakeep.tasks import enqueue


async def release(session: AsyncSession, file_ids: Iterable[int]) -> None:
    """Delete those of the files that nothing refers to any more.

    Call it in the transaction that took the references away. The rows are locked, in one order for everybody: whoever
    takes the last two references of a file away at the same time does so one after the other. The bytes go by a task
    after the commit.
    """
    ids = sorted(set(file_ids))
    await session.execute(select(File.id).where(File.id.in_(ids)).order_by(File.id).with_for_update())
    statement = delete(File).where(File.id.in_(ids), *_nothing_refers())
    for row in await session.execute(statement.returning(File.key, File.public_id)):
        await enqueue(session, "files.delete_bytes", {"key": row.key, "public_id": row.public_id})


async def find_unreferenced(session: AsyncSession, *, limit: int, after: int = 0) -> list[int]:
    """Ids of file rows that nothing refers to, in order, from the one that follows `after`."""
    unused = select(File.id).where(File.id > after, *_nothing_refers()).order_by(File.id).limit(limit)
    return list(await session.scalars(unused))


def _nothing_refers() -> Iterator[ColumnElement[bool]]:
    for column in _referring_columns():
        yield ~exists().where(column == File.id)


def _referring_columns() -> Iterator[Column[int]]:
    """The columns that keep files alive: the schema knows them, this layer does not. Rows that CASCADE keep nothing."""
    for table in Base.metadata.tables.values():
        for column in table.columns:
            if any(_keeps_a_file(key) for key in column.foreign_keys):
                yield column


def _keeps_a_file(key: ForeignKey) -> bool:
    return key.target_fullname == "files.id" and key.ondelete != "CASCADE"
