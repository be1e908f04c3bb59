"""What only files on disk have to promise."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mediakeep.errors import Unavailable
from mediakeep.storage import DiskStore, MissingObject, new_key
from tests.storage.conftest import MakeSource

Call = tuple[str, int]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What is called to make files durable, in order, and the inode that it is about."""
    made = []

    def fsync(descriptor: int) -> None:
        made.append(("fsync", os.fstat(descriptor).st_ino))
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        made.append(("rename", source.stat().st_ino))
        real_rename(source, target)

    real_fsync, real_rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    return made


def about(call: str, path: Path) -> Call:
    return call, path.stat().st_ino


async def test_put_makes_folders_durable_then_renames_then_syncs_the_file_and_its_folder(
    disk_store: DiskStore, make_source: MakeSource, calls: list[Call]
) -> None:
    await disk_store.put("files/ab/cd/one", make_source(disk_store), media_type="image/png")
    root = disk_store.root
    assert calls == [
        about("fsync", root),
        about("fsync", root / "files"),
        about("fsync", root / "files/ab"),
        about("rename", root / "files/ab/cd/one"),
        about("fsync", root / "files/ab/cd/one"),
        about("fsync", root / "files/ab/cd"),
    ]


async def test_put_into_a_known_folder_syncs_the_file_and_that_folder_only(
    disk_store: DiskStore, make_source: MakeSource, calls: list[Call]
) -> None:
    await disk_store.put("files/ab/cd/one", make_source(disk_store), media_type="image/png")
    calls.clear()
    await disk_store.put("files/ab/cd/two", make_source(disk_store), media_type="image/png")
    two = disk_store.root / "files/ab/cd/two"
    assert calls == [about("rename", two), about("fsync", two), about("fsync", two.parent)]


async def test_put_does_not_trust_that_another_process_synced_the_folder_it_made(
    disk_store: DiskStore, make_source: MakeSource, calls: list[Call]
) -> None:
    (disk_store.root / "files/ab/cd").mkdir(parents=True)
    await disk_store.put("files/ab/cd/one", make_source(disk_store), media_type="image/png")
    assert about("fsync", disk_store.root / "files/ab") in calls


async def test_put_bytes_renames_and_waits_for_no_disk(disk_store: DiskStore, calls: list[Call]) -> None:
    await disk_store.put_bytes("renditions/ab/x.webp", b"bytes", media_type="image/webp")
    made = disk_store.root / "renditions/ab/x.webp"
    assert calls == [about("rename", made)]


async def test_files_and_folders_are_for_this_account_only(
    disk_store: DiskStore, make_source: MakeSource
) -> None:
    source = make_source(disk_store)
    source.chmod(0o644)
    await disk_store.put(new_key("files"), source, media_type="image/png")
    await disk_store.put_bytes("renditions/ab/x.webp", b"bytes", media_type="image/webp")
    made = list(disk_store.root.rglob("*"))
    assert len(made) >= 6
    for path in (disk_store.root, *made):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The file storage is full."),
        (errno.EDQUOT, "The file storage is full."),
        (errno.EIO, "The file storage does not answer. Please try again."),
        (errno.EROFS, "The file storage does not answer. Please try again."),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "rename"])
async def test_a_failing_disk_is_said_in_a_sentence_without_a_path(
    disk_store: DiskStore,
    make_source: MakeSource,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    sentence: str,
) -> None:
    source = make_source(disk_store)
    monkeypatch.setattr(os, call, _failing(number))
    with pytest.raises(Unavailable) as raised:
        await disk_store.put(new_key("files"), source, media_type="image/png")
    assert raised.value.detail == sentence
    assert source.exists()


async def test_put_bytes_leaves_nothing_on_a_disk_that_fails(
    disk_store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "rename", _failing(errno.EIO))
    with pytest.raises(Unavailable):
        await disk_store.put_bytes("renditions/ab/x.webp", b"bytes", media_type="image/webp")
    assert list(disk_store.scratch.iterdir()) == []


def _failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/secret/path")

    return fail


@pytest.mark.parametrize("failing", ["os.open", "OpenFile.read_at_once"])
async def test_a_disk_that_fails_while_reading_or_listing_is_unavailable(
    disk_store: DiskStore, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    key = new_key("files")
    await disk_store.put(key, make_source(disk_store), media_type="image/png")
    monkeypatch.setattr(os, "scandir", _failing(errno.EIO))
    monkeypatch.setattr(f"mediakeep.storage.open_files.{failing}", _failing(errno.EIO))
    with pytest.raises(Unavailable):
        await anext(disk_store.read(key))
    with pytest.raises(Unavailable):
        await anext(disk_store.iter_keys("files"))
    with pytest.raises(Unavailable):
        await disk_store.delete_prefix("files/ab")


async def test_a_store_that_is_gone_is_unavailable_and_its_files_are_not_called_missing(
    disk_store: DiskStore, make_source: MakeSource, tmp_path: Path
) -> None:
    key = new_key("files")
    await disk_store.put(key, make_source(disk_store), media_type="image/png")
    disk_store.root.rename(tmp_path / "unmounted")
    with pytest.raises(Unavailable):
        await disk_store.read_bytes(key)
    with pytest.raises(Unavailable):
        await disk_store.stat(key)
    with pytest.raises(Unavailable):
        await anext(disk_store.iter_keys("files"))
    with pytest.raises(Unavailable):
        await disk_store.put_bytes("renditions/ab/x.webp", b"bytes", media_type="image/webp")
    with pytest.raises(Unavailable):
        await disk_store.check()
    assert not disk_store.root.exists()


async def test_check_fails_where_nothing_can_be_written(
    disk_store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", _failing(errno.EROFS))
    with pytest.raises(Unavailable):
        await disk_store.check()


async def test_the_scratch_folder_holds_no_keys(disk_store: DiskStore, make_source: MakeSource) -> None:
    source = make_source(disk_store)
    with pytest.raises(ValueError, match="scratch"):
        await disk_store.read_bytes(f"tmp/{source.name}")
    with pytest.raises(ValueError, match="scratch"):
        await disk_store.delete([f"tmp/{source.name}"])
    with pytest.raises(ValueError, match="scratch"):
        await disk_store.delete_prefix("tmp")
    with pytest.raises(ValueError, match="scratch"):
        await anext(disk_store.iter_keys("tmp"))


async def test_what_others_put_into_the_folders_is_not_listed(disk_store: DiskStore) -> None:
    await disk_store.put_bytes("files/ab/x", b"bytes", media_type="image/png")
    (disk_store.root / "files/.DS_Store").write_bytes(b"x")
    (disk_store.root / "files/link").symlink_to(disk_store.root)
    assert [stored.key async for stored in disk_store.iter_keys("files")] == ["files/ab/x"]


async def test_a_link_that_leads_out_is_not_deleted_through(disk_store: DiskStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x")
    await disk_store.put_bytes("renditions/ab/x", b"bytes", media_type="image/png")
    (disk_store.root / "renditions/ab/link").symlink_to(outside)
    await disk_store.delete_prefix("renditions/ab")
    assert (outside / "precious").exists()


async def test_a_deleted_prefix_leaves_no_empty_folders_and_can_be_used_again(
    disk_store: DiskStore, make_source: MakeSource
) -> None:
    await disk_store.put("uploads/one/0", make_source(disk_store), media_type="image/png")
    await disk_store.delete_prefix("uploads/one")
    assert list((disk_store.root / "uploads").iterdir()) == []
    await disk_store.put("uploads/one/1", make_source(disk_store), media_type="image/png")
    assert await disk_store.read_bytes("uploads/one/1") == b"content"


async def test_the_local_copy_is_the_file_itself(disk_store: DiskStore, make_source: MakeSource) -> None:
    key = new_key("files")
    await disk_store.put(key, make_source(disk_store), media_type="image/png")
    async with disk_store.local_copy(key) as path:
        assert path == disk_store.path_of(key) == disk_store.root / key
    assert await disk_store.sign(key, expires_in_seconds=60) is None


async def test_a_file_deleted_while_it_is_read_is_read_to_its_end(
    disk_store: DiskStore, make_source: MakeSource
) -> None:
    content = bytes(3 << 20)
    key = new_key("files")
    await disk_store.put(key, make_source(disk_store, content), media_type="image/png")
    chunks = disk_store.read(key)
    first = await anext(chunks)
    await disk_store.delete([key])
    assert len(first) + sum([len(chunk) async for chunk in chunks]) == len(content)
    with pytest.raises(MissingObject):
        await anext(disk_store.read(key))
