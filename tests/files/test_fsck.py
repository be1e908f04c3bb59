import dataclasses

import pytest
from sqlalchemy import delete

from mediakeep.assets.models import Asset
from mediakeep.files.fsck import check_library
from mediakeep.tasks.worker import drain
from tests.samples import pictures


@pytest.fixture
def check(library):
    """What is wrong with the library: kinds and subjects."""
    settings = library.settings.model_copy(update={"sweep_grace": 0})
    eager = dataclasses.replace(library, settings=settings)

    async def check(*, verify_content=True, repair=False):
        found = check_library(eager, verify_content=verify_content, repair=repair)
        return [(problem.kind, problem.subject, problem.repaired) async for problem in found]

    return check


@pytest.fixture
def replace(library):
    """Puts other bytes under a key."""

    async def replace(key, data):
        await library.store.put_bytes(key, data, media_type="image/jpeg")

    return replace


async def test_nothing_is_wrong_with_a_sound_library(keep, check):
    await keep()
    await keep(pictures.png())
    assert await check() == []


async def test_missing_bytes_are_found(keep, check, library):
    file, _ = await keep()
    await library.store.delete([file.key])
    assert await check() == [("missing", file.key, False)]


async def test_bytes_of_another_size_are_found(keep, check, replace):
    file, _ = await keep()
    await replace(file.key, b"short")
    assert await check(verify_content=False) == [("wrong size", file.key, False)]


async def test_changed_bytes_are_found_when_content_is_read(keep, check, replace):
    file, _ = await keep()
    await replace(file.key, b"." * file.size)
    assert await check(verify_content=False) == []
    assert await check() == [("wrong content", file.key, False)]


async def test_bytes_without_a_row_are_found_and_repaired(keep, check, replace, keys):
    await keep()
    sound = await keys()
    await replace("files/ab/cd/lost", b"lost")
    assert await check() == [("orphan", "files/ab/cd/lost", False)]
    assert await check(repair=True) == [("orphan", "files/ab/cd/lost", True)]
    assert await check() == []
    assert await keys() == sound


async def test_a_row_without_a_reference_is_found_and_repaired(keep, check, library, rows):
    file, asset_id = await keep()
    async with library.database.write() as session:
        await session.execute(delete(Asset).where(Asset.id == asset_id))
    assert await check() == [("unused", f"file {file.id}", False)]
    assert ("unused", f"file {file.id}", True) in await check(repair=True)
    await drain(library)
    assert await rows() == []
    assert await check() == []


async def test_a_repair_never_touches_what_is_lost(keep, check, library, rows):
    file, _ = await keep()
    await library.store.delete([file.key])
    assert await check(repair=True) == [("missing", file.key, False)]
    assert [row.id for row in await rows()] == [file.id]
