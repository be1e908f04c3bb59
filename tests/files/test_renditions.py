"""Renditions: found, made once, and not tried again and again."""

import asyncio

import pytest

from mediakeep.errors import UndecodableMedia
from mediakeep.files import renditions
from mediakeep.files.renditions import THUMBNAIL, RenditionCache, Source, rendition_key
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
    """Counts how often a thumbnail is made."""
    made = []
    monkeypatch.setattr(renditions, "find_or_make", _counted(renditions.find_or_make, made))
    return made


def _counted(function, calls):
    async def counting(*arguments):
        calls.append(arguments)
        return await function(*arguments)

    return counting


async def test_one_asked_several_times_at_once_is_made_once(library, source, makings):
    cache = RenditionCache(library)
    found = await asyncio.gather(*(cache.get(source, THUMBNAIL) for _ in range(5)))
    assert len(makings) == 1
    assert len({one.sha256 for one in found}) == 1


async def test_one_that_a_power_cut_left_short_is_made_anew(library, source):
    whole = (await RenditionCache(library).get(source, THUMBNAIL)).body
    await library.store.put_bytes(
        rendition_key(source.public_id, THUMBNAIL), whole[:100], media_type="image/jpeg"
    )
    assert (await RenditionCache(library).get(source, THUMBNAIL)).body == whole


async def test_one_that_cannot_be_made_is_not_tried_again_at_once(library, broken, makings):
    cache = RenditionCache(library)
    for _ in range(3):
        with pytest.raises(UndecodableMedia):
            await cache.get(broken, THUMBNAIL)
    assert len(makings) == 1


async def test_one_that_could_not_be_made_is_tried_again_later(library, broken, makings, monkeypatch):
    monkeypatch.setattr(renditions, "_RETRY_SECONDS", 0.0)
    cache = RenditionCache(library)
    for _ in range(2):
        with pytest.raises(UndecodableMedia):
            await cache.get(broken, THUMBNAIL)
    assert len(makings) == 2


async def test_memory_holds_no_more_than_it_may(library, source):
    cache = RenditionCache(library, max_bytes=1)
    await cache.get(source, THUMBNAIL)
    assert not cache._kept
