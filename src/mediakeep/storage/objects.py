"""Bytes in an object store: S3, Google Cloud Storage or Azure, through obstore."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from mediakeep.errors import SettingsError
from mediakeep.settings import is_loopback
from mediakeep.storage import folders
from mediakeep.storage.base import (
    CHECK_SECONDS,
    CHUNK_BYTES,
    Chunk,
    MissingObject,
    Stored,
    check_key,
    check_prefix,
    unavailable_after,
)
from mediakeep.storage.copies import LocalCopies

_Store: TypeAlias = AzureStore | GCSStore | S3Store
_KINDS = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
COPIES_BYTES = 2 << 30

_PART_BYTES = 5 << 20  # the least that S3 takes; 10,000 parts are 48 GB
# Many uploads at a time must not add up to much memory: each part is held while it is sent.
_PARTS_AT_ONCE = 2
_PUTS_AT_ONCE = 3
_BATCH = 1000  # what one list or delete request covers
_LONGEST_SIGN = timedelta(days=7)  # S3's limit

# `timeout` covers a whole answer, however slowly its reader takes it, so stalls are told by `read_timeout`.
# That one runs while a request is sent as well: two parts at a time need 0.7 Mbit/s.
_READING = {"connect_timeout": "3s", "read_timeout": "20s", "timeout": "6h"}
_WRITING = _READING | {"read_timeout": "120s"}
_RETRY = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
# Settings of the HTTP client, which obstore takes apart from those of the store.
_CLIENT_OPTIONS = frozenset(
    [
        "allow_http",
        "allow_invalid_certificates",
        "proxy_url",
        "proxy_excludes",
        "proxy_ca_certificate",
        "root_certificate",
        "connect_timeout",
        "read_timeout",
        "timeout",
    ]
)


class ObjectStore:
    """Objects under the prefix of `url`, such as `s3://bucket/prefix`. Implements `Store`.

    Files are made in the folder `scratch`, where local copies of at most `copies_bytes` are kept as well.
    Raises `SettingsError` where the address or the options make no sense; the store itself is not asked.
    """

    def __init__(
        self, url: str, options: Mapping[str, str], scratch: Path, *, copies_bytes: int = COPIES_BYTES
    ) -> None:
        self._store = _connect(url, options, _READING)
        self._writing_store = _connect(url, options, _WRITING)
        self.scratch = scratch
        folders.make_private(scratch)
        self._puts = asyncio.Semaphore(_PUTS_AT_ONCE)
        self._copies = LocalCopies(scratch, budget_bytes=copies_bytes, download=self._download)

    async def put(self, key: str, source: Path, *, media_type: str) -> None:
        # A conditional put holds the whole file in memory, and not every server knows it. Keys are random.
        if await self.stat(key):
            raise FileExistsError(key)
        async with self._puts:
            await self._put(key, source, media_type)
        await asyncio.to_thread(source.unlink, missing_ok=True)

    async def put_bytes(self, key: str, data: bytes, *, media_type: str) -> None:
        await self._put(check_key(key), data, media_type)

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[Chunk, None]:
        if end is not None and end <= start:
            await self._must_exist(key)
            return
        with _translated(key):
            try:
                result = await obstore.get_async(self._store, check_key(key), options=_range(start, end))
            except BaseError as error:
                if "416 Range Not Satisfiable" in str(error):  # `start` lies past the end
                    return
                raise
            async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield chunk

    async def read_dated(self, key: str) -> tuple[bytes, datetime]:
        with _translated(key):
            result = await obstore.get_async(self._store, check_key(key))
            return bytes(await result.bytes_async()), result.meta["last_modified"]

    async def read_bytes(self, key: str) -> bytes:
        return (await self.read_dated(key))[0]

    async def stat(self, key: str) -> Stored | None:
        try:
            return await self._must_exist(key)
        except MissingObject:
            return None

    async def delete(self, keys: Sequence[str]) -> None:
        paths = [check_key(key) for key in keys]
        if not paths:
            return
        with unavailable_after(BaseError, OSError):
            try:
                await obstore.delete_async(self._store, paths)
            except FileNotFoundError:  # Google and Azure mind missing ones, and stop there
                await self._delete_singly(paths)

    async def delete_prefix(self, prefix: str) -> None:
        batch: list[str] = []
        async with aclosing(self.iter_keys(prefix)) as found:
            async for stored in found:
                batch.append(stored.key)
                if len(batch) == _BATCH:
                    await self.delete(batch)
                    batch = []
        await self.delete(batch)

    async def iter_keys(self, prefix: str) -> AsyncGenerator[Stored, None]:
        with unavailable_after(BaseError, OSError):
            async for batch in obstore.list(self._store, check_prefix(prefix), chunk_size=_BATCH):
                for meta in batch:
                    yield Stored(key=meta["path"], size=meta["size"], modified_at=meta["last_modified"])

    async def sign(self, key: str, *, expires_in_seconds: int) -> str | None:
        lifetime = min(timedelta(seconds=expires_in_seconds), _LONGEST_SIGN)
        with unavailable_after(BaseError, OSError):
            return await obstore.sign_async(self._store, "GET", check_key(key), lifetime)

    def local_copy(self, key: str) -> AbstractAsyncContextManager[Path]:
        return self._copies.use(check_key(key))

    async def check(self) -> None:
        with unavailable_after(BaseError, OSError):  # a TimeoutError is one
            async with asyncio.timeout(CHECK_SECONDS):
                async for _ in obstore.list(self._store, chunk_size=1):
                    break

    async def clean_scratch(self, older_than_seconds: float) -> int:
        with unavailable_after(OSError):
            return await asyncio.to_thread(folders.clean, self.scratch, older_than_seconds)

    async def _must_exist(self, key: str) -> Stored:
        with _translated(key):
            meta = await obstore.head_async(self._store, check_key(key))
        return Stored(key=key, size=meta["size"], modified_at=meta["last_modified"])

    async def _put(self, key: str, source: Path | bytes, media_type: str) -> None:
        with unavailable_after(BaseError, OSError):
            await obstore.put_async(
                self._writing_store,
                key,
                source,
                attributes={"Content-Type": media_type},
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    async def _delete_singly(self, paths: Sequence[str]) -> None:
        for path in paths:
            try:
                await obstore.delete_async(self._store, path)
            except FileNotFoundError:
                continue

    async def _download(self, key: str, path: Path) -> int:
        size = 0
        with unavailable_after(OSError), folders.create_private(path) as file:
            async with aclosing(self.read(key)) as chunks:
                async for chunk in chunks:
                    size += await asyncio.to_thread(file.write, chunk)
        return size


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """Errors of a call that needs the bytes of `key`."""
    with unavailable_after(BaseError, OSError):
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise
            raise MissingObject(key) from None


def _range(start: int, end: int | None) -> Any:
    """Options of a get request; obstore's type for them cannot be imported."""
    if end is not None:
        return {"range": (start, end)}
    return {"range": {"offset": start}} if start else None


def _connect(url: str, options: Mapping[str, str], timeouts: Mapping[str, str]) -> _Store:
    parts = urlsplit(url)
    kind: Any = _KINDS.get(parts.scheme)
    if kind is None or not parts.netloc:
        raise SettingsError(
            "MEDIAKEEP_STORAGE_URL must look like s3://bucket/prefix, gs://bucket/prefix or az://container/prefix."
        )
    client = {**timeouts, **{name: value for name, value in options.items() if name in _CLIENT_OPTIONS}}
    endpoint = urlsplit(options.get("endpoint", ""))
    if endpoint.scheme == "http" and "allow_http" not in client:
        if not is_loopback(endpoint.hostname or ""):
            raise SettingsError(
                'MEDIAKEEP_STORAGE_OPTIONS: the endpoint is not encrypted; add "allow_http": "true" if that is meant.'
            )
        client["allow_http"] = "true"
    config: Any = {name: value for name, value in options.items() if name not in _CLIENT_OPTIONS}
    try:
        store: _Store = kind.from_url(url, config=config, client_options=client, retry_config=_RETRY)
    except (BaseError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise SettingsError(f"MEDIAKEEP_STORAGE_URL or MEDIAKEEP_STORAGE_OPTIONS: {reason}.") from error
    return store
