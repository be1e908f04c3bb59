"""Files that do not come to their end: the client leaves, the file is deleted under its reader, or was cut off on disk."""

import os
import random
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.samples import films, pictures

PHOTO = pictures.jpeg(640, 480)
# More than lies in any socket's buffers.
FILM = films.video(seconds=1.0) + random.Random(1).randbytes(20 << 20)

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@pytest.fixture
def ask(two_servers):
    """Sends a GET to the first server; returns the socket."""

    def ask(path, **headers):
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: localhost",
            *(f"{key}: {text}" for key, text in headers.items()),
        ]
        connection = socket.create_connection(("127.0.0.1", two_servers.first.port), timeout=20)
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection

    return ask


@pytest.fixture
def keep(upload):
    """Uploads a file that nobody else has; returns its path and its bytes."""

    def keep(name, data):
        data += uuid.uuid4().bytes
        return f"/api/v2/assets/{upload(name, data)['id']}", data

    return keep


@pytest.fixture
def film(keep):
    return keep("a.mp4", FILM)


@pytest.fixture
def key_of(two_servers):
    """Where the bytes of an asset lie."""

    def key_of(path):
        statement = (
            "SELECT files.key FROM files JOIN assets ON assets.file_id = files.id WHERE assets.public_id = "
        )
        [(key,)] = two_servers.installation.query(f"{statement}'{path.rpartition('/')[2]}'")
        return key

    return key_of


@pytest.fixture
def descriptors(two_servers):
    """What the first server has open: files by their paths, and sockets."""

    def descriptors():
        found = []
        for link in Path(f"/proc/{two_servers.first.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.append(str(link.readlink()))
        return found

    return descriptors


@needs_proc
def test_clients_that_leave_take_their_files_along(film, ask, nobody, descriptors, key_of):
    path, data = film
    assert nobody.get(path).is_success
    before = len(descriptors())
    for asked in ("bytes=0-", "bytes=1000-", "bytes=1000-9999999,15000000-"):
        for _ in range(30):
            with ask(path, Range=asked) as reader:
                assert reader.recv(1024).startswith(b"HTTP/1.1 206")
    # All readers of a file share one descriptor, which is kept for some seconds.
    key, deadline = key_of(path), time.monotonic() + 30
    while len(found := descriptors()) > before or any(name.endswith(key) for name in found):
        assert time.monotonic() < deadline, f"before there were {before}, now: {found}"
        time.sleep(0.1)
    assert nobody.get(path, headers={"Range": "bytes=5-9"}).content == data[5:10]


def test_a_file_that_is_deleted_goes_on_for_its_reader(film, two_servers, user, ask, key_of):
    path, data = film
    key = key_of(path)
    assert key in two_servers.installation.stored_keys()
    with ask(path, Connection="close") as reader:
        received = bytearray(reader.recv(1024))
        assert user.first.delete(path).status_code == 200
        deadline = time.monotonic() + 20
        while key in two_servers.installation.stored_keys():
            assert time.monotonic() < deadline, "the worker has not deleted the file"
            time.sleep(0.1)
        while piece := reader.recv(1 << 20):
            received += piece
    assert bytes(received).partition(b"\r\n\r\n")[2] == data
    assert user.first.get(path).status_code == 404


# Files that were cut off on disk after their row was written


@pytest.fixture
def cut(two_servers, keep, key_of):
    """Uploads a file, then takes half of its bytes away; returns its path."""
    if "STORAGE_URL" in two_servers.installation.settings:
        pytest.skip("only files on disk can be cut off")

    def cut(name, data):
        path, data = keep(name, data)
        os.truncate(two_servers.installation.data / key_of(path), len(data) // 2)
        return path

    return cut


@pytest.mark.parametrize(
    "asked", ["", "bytes=10-", "bytes=-10", "bytes=0-9,-10"], ids=["whole", "range", "end", "ranges"]
)
@pytest.mark.parametrize(("name", "data"), [("a.mp4", FILM), ("a.jpg", PHOTO)], ids=["large", "small"])
def test_a_file_that_was_cut_off_does_not_come_through_as_whole(cut, nobody, name, data, asked):
    path = cut(name, data)
    for _ in range(3):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            nobody.get(path, headers={"Range": asked} if asked else {})
    assert nobody.get("/readyz").status_code == 200


@pytest.mark.parametrize(("name", "data"), [("a.mp4", FILM), ("a.jpg", PHOTO)], ids=["large", "small"])
def test_what_is_left_of_a_cut_file_is_given(cut, nobody, name, data):
    answer = nobody.get(cut(name, data), headers={"Range": "bytes=2-9"})
    assert (answer.status_code, answer.content) == (206, data[2:10])


def test_a_cut_file_is_not_answered_from_memory_after_a_304(cut, nobody):
    path = cut("a.jpg", PHOTO)
    etag = nobody.head(path).headers["etag"]
    assert nobody.get(path, headers={"If-None-Match": etag}).status_code == 304
    # What a connection sends by itself would keep the client waiting for the rest, or give it the next answer's head.
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        nobody.get(path, timeout=3)
    assert nobody.get("/readyz").status_code == 200
