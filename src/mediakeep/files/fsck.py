"""Checking a library: every row has its bytes, all bytes have a row."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select

from mediakeep.files import service
from mediakeep.files.models import File
from mediakeep.files.sweep import iter_orphans
from mediakeep.library import Library
from mediakeep.storage import MissingObject

_BATCH = 500

Kind = Literal["missing", "wrong size", "wrong content", "orphan", "unused"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with which key."""

    kind: Kind
    subject: str
    repaired: bool = False


async def check_library(library: Library, *, verify_content: bool, repair: bool) -> AsyncIterator[Problem]:
    """Everything that is wrong. Bytes younger than `sweep_grace` may belong to an upload under way: no orphans.

    With `repair`, what nothing refers to is removed; content that is lost stays lost.
    """
    async for file in _iter_files(library):
        problem = await _check_file(library, file, verify_content=verify_content)
        if problem:
            yield problem
    async for problem in _check_unused(library, repair=repair):
        yield problem
    async for key in iter_orphans(library, older_than_seconds=library.settings.sweep_grace):
        if repair:
            await library.store.delete([key])
        yield Problem(kind="orphan", subject=key, repaired=repair)


async def _iter_files(library: Library) -> AsyncIterator[File]:
    after = 0
    while True:
        async with library.database.read() as session:
            statement = select(File).where(File.id > after).order_by(File.id).limit(_BATCH)
            files = list(await session.scalars(statement))
        if not files:
            return
        for file in files:
            yield file
        after = files[-1].id


async def _check_file(library: Library, file: File, *, verify_content: bool) -> Problem | None:
    stored = await library.store.stat(file.key)
    if stored is None:
        # It may have been deleted since its row was read; then the row is gone as well.
        async with library.database.read() as session:
            gone = await session.scalar(select(File.id).where(File.id == file.id)) is None
        return None if gone else Problem(kind="missing", subject=file.key)
    if stored.size != file.size:
        return Problem(kind="wrong size", subject=file.key)
    if verify_content and await _sha256(library, file.key) != file.sha256:
        return Problem(kind="wrong content", subject=file.key)
    return None


async def _sha256(library: Library, key: str) -> str:
    digest = hashlib.sha256()
    try:
        async for chunk in library.store.read(key):
            digest.update(chunk)
    except MissingObject:
        return ""
    return digest.hexdigest()


async def _check_unused(library: Library, *, repair: bool) -> AsyncIterator[Problem]:
    after = 0
    while True:
        async with library.database.read() as session:
            unused = await service.find_unreferenced(session, after=after, limit=_BATCH)
        for file_id in unused:
            if repair:
                async with library.database.write() as session:
                    await service.release(session, [file_id])
            yield Problem(kind="unused", subject=f"file {file_id}", repaired=repair)
        if not unused:
            return
        after = unused[-1]
