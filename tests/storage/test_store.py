"""What every store does."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mediakeep.storage import MissingObject, Store, new_key
from tests.storage.conftest import MakeSource

MIB = 1 << 20


async def put(store: Store, make_source: MakeSource, content: bytes = b"content") -> str:
    key = new_key("files")
    await store.put(key, make_source(store, content), media_type="image/png")
    return key


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_what_was_put_is_read_back_whole(store: Store, make_source: MakeSource) -> None:
    content = random.Random(1).randbytes(3 * MIB + 1)
    key = await put(store, make_source, content)
    assert await joined(store.read(key)) == content
    assert await store.read_bytes(key) == content


async def test_put_takes_the_source_over(store: Store, make_source: MakeSource) -> None:
    source = make_source(store)
    await store.put(new_key("files"), source, media_type="image/png")
    assert not source.exists()


async def test_put_never_replaces_and_leaves_the_source_alone_when_it_fails(
    store: Store, make_source: MakeSource
) -> None:
    key = await put(store, make_source, b"first")
    source = make_source(store, b"second")
    with pytest.raises(FileExistsError):
        await store.put(key, source, media_type="image/png")
    assert await store.read_bytes(key) == b"first"
    assert source.read_bytes() == b"second"


async def test_an_empty_file_is_a_file(store: Store, make_source: MakeSource) -> None:
    key = await put(store, make_source, b"")
    assert await joined(store.read(key)) == b""
    assert (await store.stat(key)).size == 0


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (3, 5, b"34"),
        (0, 1, b"0"),
        (9, 10, b"9"),
        (8, 99, b"89"),
        (4, 4, b""),
        (10, None, b""),
        (10, 12, b""),
        (99, None, b""),
    ],
)
async def test_a_range_ends_before_its_end(
    store: Store, make_source: MakeSource, start: int, end: int | None, expected: bytes
) -> None:
    key = await put(store, make_source, b"0123456789")
    assert await joined(store.read(key, start, end)) == expected


async def test_a_long_range_comes_in_chunks_of_moderate_size(store: Store, make_source: MakeSource) -> None:
    content = random.Random(2).randbytes(4 * MIB)
    key = await put(store, make_source, content)
    chunks = [chunk async for chunk in store.read(key, 100, 4 * MIB - 100)]
    assert b"".join(chunks) == content[100:-100]
    assert all(256 * 1024 <= len(chunk) <= 2 * MIB for chunk in chunks[:-1])


async def test_what_is_missing_is_said_before_the_first_chunk(store: Store) -> None:
    key = new_key("files")
    for chunks in (store.read(key), store.read(key, 5), store.read(key, 5, 5)):
        with pytest.raises(MissingObject):
            await anext(chunks)
    with pytest.raises(MissingObject):
        await store.read_bytes(key)
    with pytest.raises(MissingObject):
        async with store.local_copy(key):
            pass
    assert await store.stat(key) is None


async def test_a_folder_of_keys_is_not_a_key(store: Store, make_source: MakeSource) -> None:
    key = await put(store, make_source)
    folder = key.rpartition("/")[0]
    assert await store.stat(folder) is None
    with pytest.raises(MissingObject):
        await store.read_bytes(folder)
    with pytest.raises(MissingObject):
        await store.read_bytes(f"{key}/below")
    await store.delete([folder])
    assert await store.read_bytes(key) == b"content"


async def test_stat_tells_size_and_when_it_was_put(store: Store, make_source: MakeSource) -> None:
    source = make_source(store, b"12345")
    long_ago = time.time() - 100_000
    os.utime(source, (long_ago, long_ago))
    key = new_key("files")
    await store.put(key, source, media_type="image/png")

    stored = await store.stat(key)
    assert (stored.key, stored.size) == (key, 5)
    assert abs(stored.modified_at - datetime.now(UTC)) < timedelta(seconds=10)


async def test_put_bytes_replaces(store: Store) -> None:
    key = "renditions/ab/cd/file/w256.webp"
    await store.put_bytes(key, b"first, longer", media_type="image/webp")
    await store.put_bytes(key, b"second", media_type="image/webp")
    assert await store.read_bytes(key) == b"second"


async def test_delete_minds_no_missing_keys(store: Store, make_source: MakeSource) -> None:
    key = await put(store, make_source)
    other = await put(store, make_source)
    await store.delete([new_key("files"), key, new_key("files")])
    await store.delete([key])
    await store.delete([])
    assert await store.stat(key) is None
    assert await store.stat(other) is not None


async def test_delete_prefix_takes_whole_segments_only(store: Store) -> None:
    for key in ("renditions/ab/a.webp", "renditions/ab/deep/er/b.webp", "renditions/abc/c.webp"):
        await store.put_bytes(key, b"x", media_type="image/webp")
    await store.delete_prefix("renditions/ab")
    await store.delete_prefix("renditions/none")
    assert [stored.key async for stored in store.iter_keys("renditions")] == ["renditions/abc/c.webp"]
    await store.put_bytes("renditions/ab/a.webp", b"again", media_type="image/webp")
    assert await store.read_bytes("renditions/ab/a.webp") == b"again"


async def test_keys_are_listed_below_a_prefix(store: Store, make_source: MakeSource) -> None:
    keys = {await put(store, make_source, b"12") for _ in range(3)}
    await store.put_bytes("renditions/ab/c.webp", b"x", media_type="image/webp")
    make_source(store)
    found = [stored async for stored in store.iter_keys("files")]
    assert {stored.key for stored in found} == keys
    assert {stored.size for stored in found} == {2}
    assert all(abs(stored.modified_at - datetime.now(UTC)) < timedelta(seconds=10) for stored in found)
    assert [stored async for stored in store.iter_keys("nothing/here")] == []


async def test_more_keys_than_fit_one_answer_are_listed_and_deleted(store: Store) -> None:
    keys = {f"renditions/{number % 7}/{number}.webp" for number in range(1100)}
    for batch in range(0, 1100, 100):
        some = sorted(keys)[batch : batch + 100]
        await asyncio.gather(*(store.put_bytes(key, b"x", media_type="image/webp") for key in some))
    assert {stored.key async for stored in store.iter_keys("renditions")} == keys
    await store.delete_prefix("renditions")
    assert [stored async for stored in store.iter_keys("renditions")] == []


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            "/etc/passwd",
            "files",
            "../x",
            "files/../../x",
            "files/..",
            "files//x",
            "files/x/",
            "files/./x",
        ),
        *("files/.x", "files/X", "files/x y", "files/x\n", "files/\0", "files/ä", "files\\x", "files/x?y"),
    ],
)
async def test_a_key_that_could_lead_elsewhere_is_refused(
    store: Store, make_source: MakeSource, key: str
) -> None:
    source = make_source(store)
    with pytest.raises(ValueError, match="storage key"):
        await store.put(key, source, media_type="image/png")
    with pytest.raises(ValueError, match="storage key"):
        await store.put_bytes(key, b"x", media_type="image/png")
    with pytest.raises(ValueError, match="storage key"):
        await anext(store.read(key))
    with pytest.raises(ValueError, match="storage key"):
        await store.read_bytes(key)
    with pytest.raises(ValueError, match="storage key"):
        await store.stat(key)
    with pytest.raises(ValueError, match="storage key"):
        await store.delete([key])
    with pytest.raises(ValueError, match="storage key"):
        async with store.local_copy(key):
            pass


@pytest.mark.parametrize("prefix", ["", "/", "..", "files/", "files/..", "."])
async def test_a_prefix_that_could_lead_elsewhere_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        await store.delete_prefix(prefix)
    with pytest.raises(ValueError, match="prefix"):
        await anext(store.iter_keys(prefix))


def test_new_keys_are_spread_over_folders_and_never_the_same() -> None:
    keys = {new_key("files") for _ in range(1000)}
    assert len(keys) == 1000
    first, folder, name = keys.pop().split("/")
    assert (first, name[:2]) == ("files", folder)


async def test_many_put_read_and_delete_at_the_same_time(store: Store, make_source: MakeSource) -> None:
    async def live(number: int) -> None:
        content = bytes([number]) * (200_000 + number)
        key = await put(store, make_source, content)
        assert await joined(store.read(key)) == content
        async with store.local_copy(key) as path:
            assert path.read_bytes() == content
        await store.delete([key])
        assert await store.stat(key) is None

    await asyncio.gather(*(live(number) for number in range(40)))
    assert [stored async for stored in store.iter_keys("files")] == []


async def test_a_rendition_is_never_seen_half_written(store: Store) -> None:
    key = "renditions/ab/cd/w256.webp"
    versions = [bytes([letter]) * 300_000 for letter in range(8)]
    await store.put_bytes(key, versions[0], media_type="image/webp")
    writing = asyncio.gather(*(store.put_bytes(key, data, media_type="image/webp") for data in versions))
    while not writing.done():
        assert await store.read_bytes(key) in versions
    await writing


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of memory")
async def test_a_large_file_goes_in_and_out_in_flat_memory(store: Store, make_source: MakeSource) -> None:
    size = 64 * MIB
    source = store.scratch / "large"
    with source.open("wb") as file:
        for number in range(64):
            file.write(bytes([number]) * MIB)
    await put(store, make_source, bytes(6 * MIB))  # connections and threads are there
    before = _reset_peak()

    key = new_key("files")
    await store.put(key, source, media_type="video/mp4")
    read = 0
    async for chunk in store.read(key):
        read += len(chunk)
    async with store.local_copy(key) as path:
        assert path.stat().st_size == size

    assert read == size
    assert _peak() - before < 40 * MIB


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


async def test_a_reader_that_stops_early_leaves_nothing_open(
    store: Store, make_source: MakeSource, open_files
) -> None:
    key = await put(store, make_source, bytes(4 * MIB))
    for _ in range(10):
        async with aclosing(store.read(key)) as chunks:
            await anext(chunks)
    async for _ in store.read(key):
        break
    await asyncio.sleep(0.01)  # the loop closes what is left to it
    assert open_files() <= 1  # kept for the next reader


async def test_a_reader_that_is_cancelled_leaves_nothing_open(
    store: Store, make_source: MakeSource, open_files
) -> None:
    key = await put(store, make_source, bytes(8 * MIB))
    for delay in range(20):
        reading = asyncio.create_task(joined(store.read(key)))
        await asyncio.sleep(delay / 2000)
        reading.cancel()
        await asyncio.wait([reading])
    assert open_files() <= 1  # kept for the next reader


async def test_what_lies_in_the_scratch_folder_goes_once_it_is_old(
    store: Store, make_source: MakeSource
) -> None:
    old, young = make_source(store), make_source(store)
    os.utime(old, (time.time() - 100, time.time() - 100))
    assert await store.clean_scratch(50) == 1
    assert (old.exists(), young.exists()) == (False, True)


async def test_check_passes_where_all_is_well_and_leaves_nothing(store: Store) -> None:
    await store.check()
    assert list(store.scratch.iterdir()) == []
