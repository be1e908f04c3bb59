"""Renditions: found, made once, and not tried again and again."""

import asyncio

import pytest
from sqlalchemy import select

from mediakeep.errors import RateLimited, Unavailable, UndecodableMedia
from mediakeep.files import renditions
from mediakeep.files.memory import Content, Memory
from mediakeep.files.models import File, Variant
from mediakeep.files.renditions import THUMBNAIL, RenditionCache, Source, picture_recipe, rendition_key
from mediakeep.files.variants import VariantLog
from mediakeep.media.transform import Transform
from mediakeep.storage import new_key
from tests.samples import pictures


@pytest.fixture
async def source(library):
    """A stored picture."""
    return await _store(library, pictures.jpeg(), "jpg")


@pytest.fixture
async def broken(library):
    """Something stored as a picture that is none."""
    return await _store(library, b"no picture at all", "jpg")


async def _store(library, content, name):
    path = library.store.scratch / "upload"
    path.write_bytes(content)
    key = new_key("files")
    await library.store.put(key, path, media_type="image/jpeg")
    return Source(public_id=key.rpartition("/")[2], key=key, format=name, family="image")


@pytest.fixture
def makings(monkeypatch):
    """Counts how often something is made."""
    made = []
    monkeypatch.setattr(RenditionCache, "_create", _counted(RenditionCache._create, made))
    return made


def _counted(function, calls):
    async def counting(*arguments):
        calls.append(arguments)
        return await function(*arguments)

    return counting


@pytest.fixture
def cache(library):
    return RenditionCache(library, Memory(32 << 20), VariantLog(library))


def fresh(library):
    """A cache of a process that has just started."""
    return RenditionCache(library, Memory(32 << 20), VariantLog(library))


def anybody():
    """What says that a rendition may be made."""


def webp(width):
    return picture_recipe(Transform(width=width, height=20, fit="fill", format="webp"))


async def test_one_asked_several_times_at_once_is_made_once(cache, source, makings):
    found = await asyncio.gather(*(cache.get(source, THUMBNAIL, may_make=anybody) for _ in range(5)))
    assert len(makings) == 1
    assert len({one.sha256 for one in found}) == 1


async def test_one_that_a_power_cut_left_short_is_made_anew(library, source):
    for recipe in (THUMBNAIL, *(_picture(name) for name in ("jpg", "png", "webp", "avif", "gif"))):
        whole = (await fresh(library).get(source, recipe, may_make=anybody)).body
        key = rendition_key(source.public_id, recipe)
        for end in (100, -1):
            await library.store.put_bytes(key, whole[:end], media_type=recipe.media_type)
            assert (await fresh(library).get(source, recipe, may_make=anybody)).body == whole, recipe.name


def _picture(format_name):
    return picture_recipe(Transform(width=30, height=20, fit="fill", format=format_name))


async def test_one_that_cannot_be_made_is_not_tried_again_at_once(cache, broken, makings):
    for _ in range(3):
        with pytest.raises(UndecodableMedia):
            await cache.get(broken, THUMBNAIL, may_make=anybody)
    assert len(makings) == 1


async def test_one_that_could_not_be_made_is_tried_again_later(cache, broken, makings, monkeypatch):
    monkeypatch.setattr(renditions, "_RETRY_SECONDS", 0.0)
    for _ in range(2):
        with pytest.raises(UndecodableMedia):
            await cache.get(broken, THUMBNAIL, may_make=anybody)
    assert len(makings) == 2


async def test_another_process_finds_what_one_has_made(library, source, makings):
    made = await fresh(library).get(source, webp(30), may_make=anybody)
    assert (await fresh(library).get(source, webp(30), may_make=anybody)).body == made.body
    assert len(makings) == 1


async def test_who_may_have_nothing_made_gets_what_is_there(library, source):
    def nobody():
        raise RateLimited(retry_after_seconds=1)

    with pytest.raises(RateLimited):
        await fresh(library).get(source, webp(30), may_make=nobody)
    made = await fresh(library).get(source, webp(30), may_make=anybody)
    assert (await fresh(library).get(source, webp(30), may_make=nobody)).body == made.body


async def test_whoever_joins_one_under_way_is_not_asked_whether_it_may_be_made(cache, source):
    asked = []
    await asyncio.gather(*(cache.get(source, webp(30), may_make=lambda: asked.append(1)) for _ in range(5)))
    assert len(asked) == 1


async def test_pictures_that_are_asked_for_are_accounted_for_and_others_are_not(library, source):
    variants = VariantLog(library)
    cache = RenditionCache(library, Memory(32 << 20), variants)
    await _record(library, source)
    await cache.get(source, THUMBNAIL, may_make=anybody)
    made = await cache.get(source, webp(30), may_make=anybody)
    await variants.flush()
    async with library.database.read() as session:
        rows = (await session.execute(select(Variant.key, Variant.size))).all()
    assert rows == [(rendition_key(source.public_id, webp(30)), len(made.body))]


async def _record(library, source):
    async with library.database.write() as session:
        session.add(
            File(
                public_id=source.public_id,
                sha256="0" * 64,
                key=source.key,
                format=source.format,
                media_type="image/jpeg",
                size=1,
                facts={},
            )
        )


async def test_memory_holds_no_more_than_it_may():
    memory = Memory(3200)
    for number in range(100):
        memory.keep(f"key{number}", await Content.of(bytes(100)))
    memory.keep("large", await Content.of(bytes(101)))
    assert memory.find("large") is None
    assert [number for number in range(100) if memory.find(f"key{number}")] == list(range(68, 100))


async def test_memory_keeps_what_was_used_last():
    memory = Memory(64)
    for number in range(32):
        memory.keep(f"key{number}", await Content.of(b"ab"))
    assert memory.find("key0")
    memory.keep("another", await Content.of(b"ab"))
    assert memory.find("key0")
    assert memory.find("key1") is None


async def test_memory_counts_a_content_that_is_kept_again_once():
    memory = Memory(64)
    for _ in range(1000):
        memory.keep("key", await Content.of(b"ab"))
    memory.keep("another", await Content.of(b"ab"))
    assert memory.find("key")


async def test_a_large_one_is_left_in_the_store(library, source, makings):
    cache = RenditionCache(library, Memory(3200), VariantLog(library))
    made = await cache.get(source, webp(300), may_make=anybody)
    assert len(made.body) > 100
    again = await cache.get(source, webp(300), may_make=anybody)
    assert (again.body, again.size, again.sha256) == (None, len(made.body), made.sha256)
    await library.store.delete([rendition_key(source.public_id, webp(300))])
    assert (await cache.get(source, webp(300), may_make=anybody)).body == made.body


async def test_one_that_cannot_be_stored_is_answered_with_all_the_same(library, source, monkeypatch):
    async def full(*_, **__):
        raise Unavailable("The file storage is full.")

    monkeypatch.setattr(type(library.store), "put_bytes", full)
    variants = VariantLog(library)
    cache = RenditionCache(library, Memory(32 << 20), variants)
    assert (await cache.get(source, webp(30), may_make=anybody)).body
