import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mediakeep.storage import DiskStore, ObjectStore, Store


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def disk_store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "DATA")


@pytest.fixture
def s3_store(s3_url: str, s3_options: dict[str, str], tmp_path: Path) -> ObjectStore:
    return ObjectStore(s3_url, s3_options, tmp_path / "scratch")


MakeSource = Callable[..., Path]


@pytest.fixture
def make_source() -> MakeSource:
    """`make_source(store, content)` gives a file in the store's scratch folder."""

    def make(store: Store, content: bytes = b"content") -> Path:
        path = store.scratch / uuid.uuid4().hex
        path.write_bytes(content)
        return path

    return make


@pytest.fixture
def open_files(tmp_path: Path) -> Callable[[], int]:
    """Counts the files below `tmp_path` that this process has open."""

    def count() -> int:
        ours = {path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()}
        opened = []
        for descriptor in os.listdir("/dev/fd"):  # noqa: PTH208 it is itself one that is gone afterwards
            with suppress(OSError):
                opened.append(os.fstat(int(descriptor)).st_ino)
        return sum(number in ours for number in opened)

    return count
