"""Tags go when nothing has them any more, and never from under somebody who is about to use them."""

import asyncio
import uuid

import pytest
from sqlalchemy import func, select

from mediakeep.assets import service
from mediakeep.assets.models import Asset, AssetTag, Tag
from mediakeep.assets.tasks import clear_tags
from mediakeep.files.ingest import RecordedFile
from mediakeep.files.models import File


@pytest.fixture
async def file(database):
    values = {"format": "png", "media_type": "image/png", "size": 1, "facts": {}, "sha256": "0" * 64}
    async with database.write() as session:
        row = File(public_id=str(uuid.uuid4()), key="files/aa/1", **values)
        session.add(row)
        await session.flush()
    return RecordedFile(id=row.id, size=1)


@pytest.fixture
def create(actor, file):
    async def create(session, *tags):
        new = service.NewAsset(type="image", name="n", file_name="n.png", visibility="public", tags=[*tags])
        return await service.create(session, actor, new, file=file)

    return create


@pytest.fixture
def tags(database):
    """The names of all tags, in order."""

    async def tags():
        async with database.read() as session:
            return list(await session.scalars(select(Tag.name).order_by(Tag.name)))

    return tags


@pytest.fixture
def links(database):
    async def links():
        async with database.read() as session:
            return await session.scalar(select(func.count()).select_from(AssetTag))

    return links


@pytest.fixture
def public_id(database):
    async def public_id(asset_id):
        async with database.read() as session:
            return (await session.get(Asset, asset_id)).public_id

    return public_id


async def test_a_tag_is_cleared_when_its_last_asset_has_it_no_more(
    library, database, actor, create, tags, public_id
):
    async with database.write() as session:
        first = await create(session, "blue", "Red")
        second = await create(session, "blue", "red", "green")
    async with database.write() as session:
        await service.update(session, actor, await public_id(second), {"tags": ["blue"]})
    await clear_tags(library, None)
    assert await tags() == ["Red", "blue"]
    async with database.write() as session:
        await service.remove(session, actor, await public_id(first))
    await clear_tags(library, None)
    assert await tags() == ["blue"]


async def test_clearing_goes_through_all_tags(library, database, create, actor, tags, public_id, monkeypatch):
    monkeypatch.setattr("mediakeep.assets.tasks._TAG_CHUNK", 2)
    async with database.write() as session:
        asset = await create(session, "a", "b", "c", "d", "e")
    async with database.write() as session:
        await service.update(session, actor, await public_id(asset), {"tags": ["c"]})
    await clear_tags(library, None)
    assert await tags() == ["c"]


async def test_a_tag_that_is_taken_while_it_is_cleared_away_stays(
    database, another_database, create, actor, tags, links, public_id
):
    async with database.write() as session:
        asset = await create(session, "blue")
        [tag_id] = await session.scalars(select(Tag.id))
    async with database.write() as session:
        await service.update(session, actor, await public_id(asset), {"tags": []})
    taken = asyncio.Event()

    async def take():
        async with another_database.write() as session:
            await create(session, "blue")
            taken.set()
            await asyncio.sleep(0.2)

    async def clear():
        await taken.wait()
        async with database.write() as session:
            await service.clear_tags(session, [tag_id])

    await asyncio.gather(take(), clear())
    assert await tags() == ["blue"]
    assert await links() == 1


async def test_a_tag_is_made_again_when_it_is_cleared_away_just_then(
    database, another_database, create, actor, tags, links, public_id
):
    async with database.write() as session:
        asset = await create(session, "blue", "red")
        ids = list(await session.scalars(select(Tag.id)))
    async with database.write() as session:
        await service.update(session, actor, await public_id(asset), {"tags": ["red"]})
    cleared = asyncio.Event()

    async def clear():
        async with database.write() as session:
            await service.clear_tags(session, ids)
            cleared.set()
            await asyncio.sleep(0.2)

    async def take():
        await cleared.wait()
        async with another_database.write() as session:
            await create(session, "blue", "red")

    await asyncio.gather(clear(), take())
    assert await tags() == ["blue", "red"]
    assert await links() == 3


async def test_many_at_once_may_use_and_clear_the_same_tags(
    library, database, another_database, create, actor, links, public_id
):
    async def use_and_drop(number):
        on = (database, another_database)[number % 2]
        names = ["a", "b", "c"] if number % 3 else ["c", "a"]
        async with on.write() as session:
            asset = await create(session, *names)
        async with on.write() as session:
            await service.update(session, actor, await public_id(asset), {"tags": names[:1]})

    async def keep_clearing():
        for _ in range(10):
            await clear_tags(library, None)

    await asyncio.gather(*(use_and_drop(number) for number in range(20)), keep_clearing())
    assert await links() == 20
