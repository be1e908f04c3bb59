"""Clients that go away, stall or lie about their length: they cost nothing and hold up nobody."""

import json
import socket
import time
from contextlib import closing

import pytest

from tests.samples import pictures

pytestmark = pytest.mark.parametrize("two_servers", ["sqlite-disk"], indirect=True)

MIB = 1 << 20
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'


@pytest.fixture
def begin(two_servers, user):
    """Begins an upload by hand and returns its connection."""
    connections = []

    def begin(*, length, headers=b""):
        connection = socket.create_connection(("127.0.0.1", two_servers.first.port), timeout=20)
        connections.append(connection)
        framing = b"Content-Length: %d" % length if length else b"Transfer-Encoding: chunked"
        connection.sendall(
            b"POST /api/v2/upload-asset HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
            + user.token.encode()
            + b"\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            + headers
            + framing
            + b"\r\n\r\n"
        )
        return connection

    yield begin
    for connection in connections:
        connection.close()


@pytest.fixture
def is_receiving(two_servers):
    """Waits until the server has begun to write an upload."""

    def wait():
        deadline = time.monotonic() + 10
        while not two_servers.installation.scratch_files():
            assert time.monotonic() < deadline, "the upload never began"
            time.sleep(0.02)

    return wait


@pytest.fixture
def nothing_is_left(two_servers, user):
    """Waits until no trace of an upload is left, neither in the scratch folder nor in the lists nor in the storage."""

    def check():
        deadline = time.monotonic() + 10
        while two_servers.installation.scratch_files():
            assert time.monotonic() < deadline, two_servers.installation.scratch_files()
            time.sleep(0.05)
        assert user.second.get("/api/v2/assets").json() == []
        assert two_servers.installation.keys_without_row() == set()

    return check


def test_a_client_that_goes_away_leaves_nothing(begin, is_receiving, nothing_is_left):
    connection = begin(length=4 * MIB)
    connection.sendall(HEAD + pictures.jpeg() + b"\0" * MIB)
    is_receiving()
    connection.close()
    nothing_is_left()


def test_a_client_that_resets_its_connection_leaves_nothing(begin, is_receiving, nothing_is_left):
    connection = begin(length=4 * MIB)
    connection.sendall(HEAD + pictures.jpeg() + b"\0" * MIB)
    is_receiving()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    nothing_is_left()


def test_a_client_that_goes_away_is_no_fault_of_the_server(begin, is_receiving, two_servers, nothing_is_left):
    connection = begin(length=4 * MIB, headers=b"X-Request-ID: went-away\r\n")
    connection.sendall(HEAD + pictures.jpeg() + b"\0" * MIB)
    is_receiving()
    connection.close()
    nothing_is_left()
    lines = [json.loads(line) for line in two_servers.first.output.splitlines() if line.startswith('{"')]
    assert [
        line for line in lines if line.get("request_id") == "went-away" and line["level"] == "error"
    ] == []


def test_a_body_shorter_than_its_length_leaves_nothing(begin, nothing_is_left):
    whole = HEAD + pictures.jpeg() + b"\r\n--b--\r\n"
    connection = begin(length=len(whole) + 100)
    connection.sendall(whole)
    connection.shutdown(socket.SHUT_WR)
    with closing(connection):
        answered = connection.recv(65536)
    assert not answered.startswith(b"HTTP/1.1 2")
    nothing_is_left()


def test_a_chunked_body_that_breaks_off_leaves_nothing(begin, nothing_is_left):
    whole = HEAD + pictures.jpeg() + b"\r\n--b--\r\n"
    connection = begin(length=0)
    connection.sendall(b"%x\r\n%s\r\n" % (len(whole), whole))
    connection.shutdown(socket.SHUT_WR)
    with closing(connection):
        answered = connection.recv(65536)
    assert not answered.startswith(b"HTTP/1.1 2")
    nothing_is_left()


def test_uploads_that_trickle_in_hold_up_nobody(begin, two_servers, user):
    stalled = [begin(length=4 * MIB) for _ in range(50)]
    for connection in stalled:
        connection.sendall(HEAD + pictures.jpeg()[:5000])
    for number in range(5):
        for connection in stalled:
            connection.sendall(b".")
        file = (f"{number}.jpg", pictures.jpeg(330 + number, 200), "image/jpeg")
        answer = user.first.post("/api/v2/upload-asset", files={"file": file})
        assert answer.status_code == 201, answer.text


def test_a_chunked_body_that_never_comes_to_its_file_is_refused(begin):
    """More than the largest file and all that may stand around it."""
    connection = begin(length=0)
    chunk = b"%x\r\n%s\r\n" % (MIB, b"." * MIB)
    answered = b""
    for _ in range(80):
        connection.settimeout(20)
        try:
            connection.sendall(chunk)
            connection.settimeout(0.001)
            answered += connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        if answered:
            break
    assert answered.startswith(b"HTTP/1.1 400")
