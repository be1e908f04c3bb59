import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, event, select

from mediakeep.assets.models import Asset
from mediakeep.errors import NotFound
from mediakeep.files import renditions, service
from mediakeep.files.models import File, Orphan, Variant
from mediakeep.files.renditions import THUMBNAIL, WAVEFORM, WAVEFORM_PICTURE, rendition_key, rendition_prefix
from mediakeep.files.sweep import sweep
from mediakeep.files.tasks import delete_bytes
from mediakeep.tasks import GiveUp
from mediakeep.tasks.worker import drain
from tests.samples import pictures


@pytest.fixture
def eager(library):
    """The library with a sweep that waits for nothing."""
    settings = library.settings.model_copy(update={"sweep_grace": 0})
    return replace(library, settings=settings)


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


@pytest.fixture
def put_variant(library):
    """Bytes of a variant that a crash kept from being noted."""

    async def put_variant(file, name="1.webp"):
        key = f"{rendition_prefix(file.public_id)}/{name}"
        await library.store.put_bytes(key, b"variant", media_type="image/webp")
        return key

    return put_variant


@pytest.fixture
def variants(library):
    """The keys of the variants that have a row, with their sizes."""

    async def variants():
        async with library.database.read() as session:
            return {row.key: row.size for row in await session.scalars(select(Variant))}

    return variants


@pytest.fixture
def statements(library):
    """Every statement that the database gets from now on."""
    found = []
    engines = library.database.read_engine.sync_engine, library.database.write_engine.sync_engine
    for engine in engines:
        event.listen(
            engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: found.append(statement)
        )
    return found


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


async def test_a_variant_that_a_crash_kept_from_being_noted_is_adopted(
    eager, keep, put_variant, variants, keys
):
    file, _ = await keep()
    key = await put_variant(file)
    assert (await sweep(eager)).adopted == 1
    assert await variants() == {key: 7}
    assert (await sweep(eager)).adopted == 0
    assert key in await keys()


async def test_a_variant_that_is_young_may_be_noted_yet(library, keep, put_variant, variants):
    file, _ = await keep()
    await put_variant(file)
    await sweep(library)
    assert await variants() == {}


async def test_what_every_file_has_is_no_variant(eager, library, keep, variants):
    file, _ = await keep()
    for recipe in (THUMBNAIL, WAVEFORM, WAVEFORM_PICTURE):
        key = rendition_key(file.public_id, recipe)
        await library.store.put_bytes(key, b"fixed", media_type=recipe.media_type)
    assert (await sweep(eager)).adopted == 0
    assert await variants() == {}


async def test_what_an_older_pipeline_made_is_adopted_so_that_it_goes(eager, keep, variants, monkeypatch):
    file, _ = await keep()
    old = rendition_key(file.public_id, THUMBNAIL)
    monkeypatch.setattr(renditions, "PIPELINE_VERSION", renditions.PIPELINE_VERSION + 1)
    await sweep(eager)
    assert set(await variants()) == {old}


async def test_a_rendition_of_no_file_is_an_orphan_and_no_variant(eager, orphan, variants):
    swept = await sweep(eager)
    assert (swept.noted, swept.adopted) == (2, 0)
    assert await variants() == {}


async def test_variants_are_adopted_in_batches(eager, keep, put_variant, variants, statements):
    file, _ = await keep()
    for number in range(60):
        await put_variant(file, f"{number}.webp")
    statements.clear()
    assert (await sweep(eager)).adopted == 60
    assert len(await variants()) == 60
    assert len(statements) < 30
