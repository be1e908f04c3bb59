"""Files that stay open for the next reader, and the ways to read them."""

import asyncio
import errno
import os

import pytest

from mediakeep.storage import open_files as module
from mediakeep.storage.open_files import OpenFile, OpenFiles

DATA = bytes(range(256)) * 1000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def closed(monkeypatch):
    """The descriptors that were closed."""
    closed = []
    close = os.close
    monkeypatch.setattr(module.os, "close", lambda descriptor: (closed.append(descriptor), close(descriptor)))
    return closed


def test_what_is_in_memory_is_read_at_once(path):
    file = OpenFile(path)
    assert file.read(10, 5) == DATA[10:15]
    chunk = file.read_at_once(10, 5)
    assert chunk is None or bytes(chunk) == DATA[10:15]  # macOS cannot say
    assert file.read(len(DATA), 5) == b""
    past = file.read_at_once(len(DATA), 5)
    assert past is None or bytes(past) == b""
    file.release()


def test_what_is_not_in_memory_is_left_to_a_thread(path, monkeypatch):
    def busy(*_):
        raise BlockingIOError(errno.EAGAIN, "it is on the disk")

    monkeypatch.setattr(module.os, "preadv", busy, raising=False)
    file = OpenFile(path)
    file._can_refuse_to_wait = True
    assert file.read_at_once(0, 5) is None
    assert file.read(0, 5) == DATA[:5]
    file.release()


def test_a_file_system_that_cannot_say_is_asked_once(path, monkeypatch):
    asked = []

    def cannot(*_):
        asked.append(1)
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(module.os, "preadv", cannot, raising=False)
    file = OpenFile(path)
    file._can_refuse_to_wait = True
    assert [file.read_at_once(0, 5) for _ in range(3)] == [None] * 3
    assert len(asked) == 1
    file.release()


def test_a_disk_that_fails_is_not_taken_for_a_slow_one(path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(module.os, "preadv", broken, raising=False)
    file = OpenFile(path)
    file._can_refuse_to_wait = True
    with pytest.raises(OSError, match="broken"):
        file.read_at_once(0, 5)
    file.release()


def test_the_last_holder_closes_it(path, closed):
    file = OpenFile(path)
    file.hold()
    file.release()
    assert closed == []
    file.release()
    assert closed == [file._descriptor]


def test_one_that_nobody_came_to_hold_is_closed(path, closed):
    OpenFile(path)
    assert len(closed) == 1


async def test_one_that_was_deleted_goes_on_for_whoever_reads_it(path, closed):
    files = OpenFiles()
    file = OpenFile(path)
    files.keep("a", file)
    path.unlink()
    files.forget(["a"])
    assert files.find("a") is None
    assert file.read(0, 3) == DATA[:3]
    file.release()
    assert len(closed) == 1


async def test_one_that_nobody_reads_any_more_is_closed(path, closed, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.01)
    files = OpenFiles()
    file = OpenFile(path)
    files.keep("a", file)
    file.release()
    assert closed == []
    await asyncio.sleep(0.2)
    assert len(closed) == 1
    assert files.find("a") is None


async def test_only_so_many_stay_open(path, closed, monkeypatch):
    monkeypatch.setattr(module, "_MOST_OPEN", 3)
    files = OpenFiles()
    for number in range(5):
        file = OpenFile(path)
        files.keep(str(number), file)
        file.release()
        if found := files.find("0"):  # used again and again
            found.release()
    assert len(closed) == 2
    assert [number for number in range(5) if str(number) in files._kept] == [0, 3, 4]
    files.forget(map(str, range(5)))


async def test_one_that_is_kept_again_is_open_once(path, closed):
    files = OpenFiles()
    for _ in range(10):
        file = OpenFile(path)
        files.keep("a", file)
        file.release()
    assert len(closed) == 9
    files.forget(["a"])
    assert len(closed) == 10
