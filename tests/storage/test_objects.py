"""What only an object store has to cope with."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from boto3.session import Session

from mediakeep.errors import Unavailable
from mediakeep.storage import MissingObject, ObjectStore, new_key
from tests.servers.s3 import S3Server, running_s3
from tests.storage.conftest import MakeSource

MIB = 1 << 20


async def every_call_fails(store: ObjectStore, source: Path) -> None:
    """Assert that each call raises `Unavailable`, with a sentence that names nothing, and in time."""
    key = new_key("files")
    calls = [
        lambda: store.put(key, source, media_type="image/png"),
        lambda: store.put_bytes(key, b"x", media_type="image/png"),
        lambda: anext(store.read(key)),
        lambda: store.read_bytes(key),
        lambda: store.stat(key),
        lambda: store.delete([key]),
        lambda: store.delete_prefix("files"),
        lambda: anext(store.iter_keys("files")),
        lambda: store.local_copy(key).__aenter__(),
        store.check,
    ]
    for call in calls:
        started = time.monotonic()
        with pytest.raises(Unavailable) as raised:
            await call()
        assert raised.value.detail == "The file storage does not answer. Please try again."
        assert time.monotonic() - started < 6
    assert source.exists()  # noqa: ASYNC240


@pytest.mark.parametrize("part", ["secret_access_key", "access_key_id"])
async def test_a_wrong_key_is_refused(
    s3_server: S3Server, s3_url: str, make_source: MakeSource, tmp_path: Path, part
) -> None:
    store = ObjectStore(s3_url, replace(s3_server, **{part: "wrong"}).options, tmp_path)
    await every_call_fails(store, make_source(store))


async def test_a_bucket_that_does_not_exist_is_no_missing_file(
    s3_options: dict[str, str], make_source: MakeSource, tmp_path: Path
) -> None:
    store = ObjectStore("s3://no-such-bucket", s3_options, tmp_path)
    with pytest.raises(Unavailable):
        await store.read_bytes(new_key("files"))
    with pytest.raises(Unavailable):
        await store.put_bytes(new_key("files"), b"x", media_type="image/png")
    with pytest.raises(Unavailable):
        await store.check()


async def test_a_server_that_is_gone_is_unavailable(make_source: MakeSource, tmp_path: Path) -> None:
    with running_s3() as server:
        store = ObjectStore(f"s3://{server.bucket}", server.options, tmp_path / "scratch")
        await store.check()
    await every_call_fails(store, make_source(store))


async def test_a_server_that_never_answers_fails_the_check_in_time(
    s3_server: S3Server, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = s3_server.options | {"endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        store = ObjectStore("s3://bucket", options, tmp_path)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await store.check()
        assert time.monotonic() - started < 6


async def test_a_signed_address_gives_the_bytes_with_their_type_and_expires(
    s3_store: ObjectStore, make_source: MakeSource
) -> None:
    key = new_key("files")
    await s3_store.put(key, make_source(s3_store, b"a picture"), media_type="image/png")
    url = await s3_store.sign(key, expires_in_seconds=60)
    answer = await asyncio.to_thread(requests.get, url, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"a picture")
    assert answer.headers["Content-Type"] == "image/png"

    short = await s3_store.sign(key, expires_in_seconds=1)
    await asyncio.sleep(2.1)
    assert (await asyncio.to_thread(requests.get, short, timeout=10)).status_code == 403


async def test_a_large_file_keeps_its_type_and_leaves_no_upload_open(
    s3_store: ObjectStore, s3_server: S3Server, s3_url: str, make_source: MakeSource
) -> None:
    key = new_key("files")
    await s3_store.put(key, make_source(s3_store, bytes(11 * MIB)), media_type="video/mp4")
    client = Session(s3_server.access_key_id, s3_server.secret_access_key, region_name="us-east-1").client(
        "s3", endpoint_url=s3_server.endpoint
    )
    prefix = s3_url.rpartition("/")[2]
    assert client.head_object(Bucket=s3_server.bucket, Key=f"{prefix}/{key}")["ContentType"] == "video/mp4"
    assert "Uploads" not in client.list_multipart_uploads(Bucket=s3_server.bucket)


@pytest.fixture
async def three_keys(s3_store: ObjectStore, make_source: MakeSource) -> list[str]:
    """Three objects of 1 MiB."""
    keys = [new_key("files") for _ in range(3)]
    for number, key in enumerate(keys):
        await s3_store.put(key, make_source(s3_store, bytes([number]) * MIB), media_type="image/png")
    return keys


@pytest.fixture
def small_cache(
    s3_url: str, s3_options: dict[str, str], tmp_path: Path, three_keys: list[str]
) -> ObjectStore:
    """A store whose copies may take 2 MiB."""
    return ObjectStore(s3_url, s3_options, tmp_path / "small", copies_bytes=2 * MIB)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that were read."""
    read = []
    real = ObjectStore.read

    def counted(self: ObjectStore, key: str, *rest: int) -> AsyncIterator[bytes]:
        read.append(key)
        return real(self, key, *rest)

    monkeypatch.setattr(ObjectStore, "read", counted)
    return read


async def use(store: ObjectStore, key: str) -> bytes:
    async with store.local_copy(key) as path:
        await asyncio.sleep(0.01)
        return path.read_bytes()[:1]


async def test_users_of_the_same_object_share_one_download(
    small_cache: ObjectStore, three_keys: list[str], downloads: list[str]
) -> None:
    assert await asyncio.gather(*(use(small_cache, three_keys[1]) for _ in range(20))) == [b"\1"] * 20
    await use(small_cache, three_keys[1])
    assert downloads == [three_keys[1]]


async def test_the_least_recently_used_copy_goes_first(
    small_cache: ObjectStore, three_keys: list[str], downloads: list[str]
) -> None:
    for index in (0, 1, 0, 2, 0, 1):
        assert await use(small_cache, three_keys[index]) == bytes([index])
    assert downloads == [three_keys[index] for index in (0, 1, 2, 1)]
    assert len(list(small_cache.scratch.iterdir())) == 2


async def test_a_copy_in_use_stays_whatever_the_budget(
    small_cache: ObjectStore, three_keys: list[str]
) -> None:
    async with (
        small_cache.local_copy(three_keys[0]) as first,
        small_cache.local_copy(three_keys[1]),
        small_cache.local_copy(three_keys[2]),
    ):
        assert first.read_bytes() == bytes(MIB)
        assert len(list(small_cache.scratch.iterdir())) == 3
    assert len(list(small_cache.scratch.iterdir())) == 2


async def test_a_user_who_gives_up_does_not_spoil_the_download_of_others(
    small_cache: ObjectStore, three_keys: list[str], downloads: list[str]
) -> None:
    first = asyncio.create_task(use(small_cache, three_keys[0]))
    await asyncio.sleep(0)
    second = asyncio.create_task(use(small_cache, three_keys[0]))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"\0"
    assert downloads == [three_keys[0]]


async def test_a_download_that_nobody_waits_for_leaves_nothing(
    small_cache: ObjectStore, three_keys: list[str]
) -> None:
    for delay in range(10):
        user = asyncio.create_task(use(small_cache, three_keys[0]))
        await asyncio.sleep(delay / 1000)
        user.cancel()
        await asyncio.wait([user])
        if not user.cancelled():
            break
    await asyncio.sleep(0.05)
    assert len(list(small_cache.scratch.iterdir())) <= 1
    assert await use(small_cache, three_keys[0]) == b"\0"


async def test_a_failed_download_leaves_nothing_and_is_tried_again(
    small_cache: ObjectStore, make_source: MakeSource
) -> None:
    key = new_key("files")
    with pytest.raises(MissingObject):
        await use(small_cache, key)
    assert list(small_cache.scratch.iterdir()) == []
    await small_cache.put(key, make_source(small_cache, b"x"), media_type="image/png")
    assert await use(small_cache, key) == b"x"


async def test_a_copy_that_was_cleaned_away_is_downloaded_again(
    small_cache: ObjectStore, three_keys: list[str], downloads: list[str]
) -> None:
    await use(small_cache, three_keys[0])
    assert await small_cache.clean_scratch(-1) == 1
    assert await use(small_cache, three_keys[0]) == b"\0"
    assert downloads == [three_keys[0]] * 2
