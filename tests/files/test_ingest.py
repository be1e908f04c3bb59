import asyncio
from asyncio import CancelledError

import pytest
from sqlalchemy.exc import OperationalError

from mediakeep.errors import Conflict, UndecodableMedia
from mediakeep.files.ingest import ingest
from tests.samples import pictures


@pytest.fixture
def fail_with(library, received):
    """Stores content, and raises an error in the transaction that records it."""

    async def fail_with(error):
        async with ingest(library, received(pictures.jpeg())) as content, library.database.write() as session:
            await content.record(session)
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
                await content.record(session)
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


@pytest.mark.parametrize(
    "error", [OperationalError("COMMIT", {}, OSError()), ConnectionResetError(), CancelledError()]
)
async def test_bytes_stay_where_nobody_knows_whether_the_commit_came_to_pass(fail_with, keys, rows, error):
    """The sweep removes them if it did not; a row without bytes would be a loss."""
    with pytest.raises(type(error)):
        await fail_with(error)
    assert len(await keys()) == 2
    assert await rows() == []


@pytest.mark.parametrize("error", [Conflict("no"), LookupError(), CancelledError()], ids=repr)
async def test_bytes_whose_row_is_committed_stay_whatever_happens_then(library, received, keys, rows, error):
    async def store_and_fail():
        async with ingest(library, received(pictures.jpeg())) as content:
            async with library.database.write() as session:
                await content.record(session)
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
