import asyncio
from asyncio import CancelledError

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.errors import CommitUnconfirmed, Conflict, UndecodableMedia
from mediakeep.files.ingest import ingest
from mediakeep.files.models import File
from tests.samples import pictures


@pytest.fixture
def fail_with(library, received):
    """Stores content, and raises an error in the transaction that records it."""

    async def fail_with(error):
        async with ingest(library, received(pictures.jpeg())) as content, library.database.write() as session:
            await content.record(session, owner_id=1)
            raise error

    return fail_with


async def test_content_is_stored_with_its_thumbnail(keep, keys, library):
    file, _ = await keep()
    assert await library.store.read_bytes(file.key) == pictures.jpeg()
    assert len(await keys()) == 2


async def test_nothing_stays_in_the_scratch_folder(keep, library):
    await keep()
    await keep()
    assert list(library.store.scratch.iterdir()) == []


async def test_content_that_is_known_is_kept_once(keep, keys, rows):
    (first, _), (second, _) = await keep(), await keep()
    assert first.id == second.id
    assert len(await rows()) == 1
    assert len(await keys()) == 2


async def test_content_that_arrives_twice_at_once_is_kept_once(library, received, keys, rows):
    async def store(part):
        async with ingest(library, part) as content:
            await barrier.wait()
            async with library.database.write() as session:
                await content.record(session, owner_id=1)
            return content.recorded_key

    barrier = asyncio.Barrier(2)
    stored = await asyncio.gather(store(received(pictures.jpeg())), store(received(pictures.jpeg())))
    assert len(set(stored)) == 1
    assert len(await rows()) == 1
    assert {key for key in await keys() if key.startswith("files/")} == set(stored)


async def test_a_refusal_after_storing_drops_the_bytes(fail_with, keys, rows):
    with pytest.raises(Conflict):
        await fail_with(Conflict("no"))
    assert await keys() == set()
    assert await rows() == []


@pytest.mark.parametrize("error", [CommitUnconfirmed(), CancelledError()])
async def test_bytes_stay_where_nobody_knows_whether_the_commit_came_to_pass(fail_with, keys, rows, error):
    """The sweep removes them if it did not; a row without bytes would be a loss."""
    with pytest.raises(type(error)):
        await fail_with(error)
    assert len(await keys()) == 2
    assert await rows() == []


@pytest.mark.parametrize("failure", [OperationalError("COMMIT", {}, OSError()), ConnectionResetError()])
async def test_a_commit_that_fails_is_one_that_nobody_knows_of(library, monkeypatch, failure):
    async def fail(_session):
        raise failure

    monkeypatch.setattr(AsyncSession, "commit", fail)
    with pytest.raises(CommitUnconfirmed):
        async with library.database.write():
            pass


@pytest.mark.parametrize("error", [Conflict("no"), LookupError(), CancelledError()], ids=repr)
async def test_bytes_whose_row_is_committed_stay_whatever_happens_then(library, received, keys, rows, error):
    async def store_and_fail():
        async with ingest(library, received(pictures.jpeg())) as content:
            async with library.database.write() as session:
                await content.record(session, owner_id=1)
            raise error

    with pytest.raises(type(error)):
        await store_and_fail()
    (file,) = await rows()
    assert file.key in await keys()


async def test_a_file_that_cannot_be_decoded_is_not_stored(library, received, keys):
    with pytest.raises(UndecodableMedia):
        async with ingest(library, received(pictures.jpeg()[:3000])):
            pytest.fail("it was taken")
    assert await keys() == set()


async def test_an_upload_of_content_whose_bytes_are_lost_brings_them_back(library, keep, keys):
    file, _ = await keep(pictures.jpeg())
    await library.store.delete([file.key])
    again, _ = await keep(pictures.jpeg())
    assert again.id == file.id
    async with library.database.read() as session:
        key = await session.scalar(select(File.key).where(File.id == file.id))
    assert await library.store.read_bytes(key) == pictures.jpeg()
    assert [one for one in await keys() if one.startswith("files/")] == [key]
