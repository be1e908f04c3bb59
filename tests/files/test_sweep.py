import os
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, select

from mediakeep.assets.models import Asset
from mediakeep.errors import NotFound
from mediakeep.files import service
from mediakeep.files.models import File, Orphan
from mediakeep.files.sweep import sweep
from mediakeep.files.tasks import delete_bytes
from mediakeep.library import Library
from mediakeep.tasks import GiveUp
from mediakeep.tasks.worker import drain
from tests.samples import pictures


@pytest.fixture
def eager(library):
    """The library with a sweep that waits for nothing."""
    settings = library.settings.model_copy(update={"sweep_grace": 0})
    return Library(
        settings=settings, database=library.database, store=library.store, decoders=library.decoders
    )


@pytest.fixture
def claim():
    """A task that deletes a file's bytes."""
    return lambda file: SimpleNamespace(payload={"key": file.key, "public_id": file.public_id})


@pytest.fixture
async def orphan(library):
    """Bytes that no row accounts for, and a rendition of nothing."""
    await library.store.put_bytes("files/ab/cd/lost", b"lost", media_type="image/jpeg")
    await library.store.put_bytes("renditions/ab/cd/lost/1.jpg", b"lost", media_type="image/jpeg")
    return {"files/ab/cd/lost", "renditions/ab/cd/lost/1.jpg"}


async def test_what_nothing_accounts_for_is_noted_first_and_deleted_by_the_next_sweep(
    eager, keep, keys, orphan
):
    await keep()
    kept = await keys() - orphan
    assert (await sweep(eager)).noted == 2
    assert await keys() == kept | orphan
    assert (await sweep(eager)).deleted == 2
    assert await keys() == kept


async def test_a_sweep_of_a_sound_library_removes_nothing(eager, keep, keys):
    await keep()
    kept = await keys()
    for _ in range(3):
        swept = await sweep(eager)
        assert (swept.unused_files, swept.noted, swept.deleted) == (0, 0, 0)
    assert await keys() == kept


async def test_what_is_young_may_belong_to_an_upload_under_way(library, keys, orphan, scratch_file):
    for _ in range(2):
        await sweep(library)
    assert await keys() == orphan
    assert scratch_file.exists()


async def test_what_got_a_row_since_it_was_noted_stays(eager, keep, keys, library):
    file, _ = await keep()
    async with library.database.write() as session:
        session.add(Orphan(key=file.key))
    assert (await sweep(eager)).deleted == 0
    assert file.key in await keys()
    async with library.database.read() as session:
        assert list(await session.scalars(select(Orphan))) == []


async def test_temporary_files_of_a_crash_are_removed(eager, scratch_file):
    os.utime(scratch_file, (1, 1))
    assert (await sweep(eager)).scratch_files == 1
    assert not scratch_file.exists()


async def test_a_row_that_lost_its_last_reference_is_deleted_with_its_bytes(eager, library, keep, keys, rows):
    _, asset_id = await keep()
    async with library.database.write() as session:
        await session.execute(delete(Asset).where(Asset.id == asset_id))
    assert (await sweep(eager)).unused_files == 1
    await drain(library)
    assert await rows() == []
    assert await keys() == set()


async def test_a_file_that_something_refers_to_cannot_be_released(library, keep, rows):
    file, _ = await keep()
    async with library.database.write() as session:
        await service.release(session, [file.id])
    assert [row.id for row in await rows()] == [file.id]


async def test_a_release_that_is_rolled_back_deletes_no_bytes(library, keep, keys):
    file, asset_id = await keep()

    async def release_and_fail():
        async with library.database.write() as session:
            await session.execute(delete(Asset).where(Asset.id == asset_id))
            await service.release(session, [file.id])
            raise NotFound("no")

    with pytest.raises(NotFound):
        await release_and_fail()
    await drain(library)
    assert file.key in await keys()


async def test_bytes_that_a_row_refers_to_are_never_deleted_by_a_task(library, keep, keys, claim):
    file, _ = await keep()

    with pytest.raises(GiveUp):
        await delete_bytes(library, claim(file))
    assert file.key in await keys()


async def test_deleting_bytes_twice_does_no_harm(library, keep, keys, claim):
    file, asset_id = await keep(pictures.png())
    async with library.database.write() as session:
        await session.execute(delete(Asset).where(Asset.id == asset_id))
        await session.execute(delete(File).where(File.id == file.id))

    for _ in range(2):
        await delete_bytes(library, claim(file))
    assert await keys() == set()
