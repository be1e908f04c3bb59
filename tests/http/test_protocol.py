"""What a server takes from connections on which nobody has proved anything yet."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

MIB = 1 << 20
START = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server(install):
    with install("sqlite-disk") as installation:
        server = installation.serve()
        server.wait_until_ready()
        yield server


@pytest.fixture
def connect(server):
    connections = []

    def connect():
        connections.append(socket.create_connection(("127.0.0.1", server.port), timeout=25))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


def send(connection, pieces):
    """Send until the server has no more of it; returns all that it answered."""
    try:
        for piece in pieces:
            connection.sendall(piece)
    except OSError:
        pass
    return read_all(connection)


def read_all(connection):
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


def resident_bytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def assert_refused(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"connection: close" in head.lower()
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == "urn:mediakeep:error:headers-too-large"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (START + b"X-Long: ", b"a" * MIB),
        (START, b"X-Short: a\r\n" * 80_000),
        (b"GET /", b"a" * MIB),
    ],
    ids=["one header", "many headers", "an address"],
)
def test_a_head_without_end_is_refused_and_not_kept(server, connect, first, piece):
    before = resident_bytes(server.pid)
    assert_refused(send(connect(), [first, *[piece] * 40]))
    assert resident_bytes(server.pid) - before < 8 * MIB


def test_trailers_without_end_are_cut_off(server, connect):
    upload = b"POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    answer = send(connect(), [upload, *[b"X-Trailer: " + b"a" * 1000 + b"\r\n"] * 1000])
    assert not answer.startswith(b"HTTP/1.1 2")


def test_a_large_cookie_passes(server):
    with server.client() as client:
        answer = client.get("/healthz", headers={"Cookie": "a=" + "b" * 8192})
    assert answer.is_success


def test_heads_are_measured_one_by_one(server, connect):
    request = START + b"Cookie: a=" + b"b" * 40_000 + b"\r\n\r\n"
    last = START + b"Connection: close\r\n\r\n"
    assert send(connect(), [request * 5 + last]).count(b"HTTP/1.1 200") == 6


def test_a_body_of_more_than_a_head_may_have_passes(server):
    with server.client() as client:
        answer = client.post("/api/v2/auth/login", content=b"x" * 300_000)
    assert answer.status_code == 422


def test_a_connection_is_used_again(connect):
    connection = connect()
    for _ in range(3):
        connection.sendall(START + b"\r\n")
        answer = b""
        while not answer.endswith(b"}"):  # its body may come by itself
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
    assert send(connection, [START + b"Connection: close\r\n\r\n"]).startswith(b"HTTP/1.1 200")


def test_a_head_may_come_in_pieces(connect):
    connection = connect()
    for piece in (START[:10], START[10:], b"Connection: close\r\n", b"\r\n"):
        connection.sendall(piece)
        time.sleep(0.05)
    assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_heads_that_trickle_in_are_cut_off_and_hold_up_nobody(server, connect):
    used = connect()
    used.sendall(START + b"\r\n")
    assert used.recv(65536).startswith(b"HTTP/1.1 200")
    starts = [(connect(), START), (connect(), b"\r\n"), (used, b"GET /")]
    with ThreadPoolExecutor(len(starts)) as threads:
        seconds = list(threads.map(lambda one: trickle(*one), starts))
    assert all(14 < each < 20 for each in seconds), seconds
    assert httpx.get(f"{server.url}/healthz", trust_env=False).is_success


def trickle(connection, start):
    """Send a little every half second until the server closes the connection; returns how long that took."""
    began = time.monotonic()
    connection.settimeout(0.5)
    connection.sendall(start)
    while time.monotonic() < began + 25:
        try:
            if not connection.recv(65536):
                break
        except TimeoutError:
            try:
                connection.sendall(b"\r\n" if start == b"\r\n" else b"E")
            except OSError:
                break
        except ConnectionError:
            break
    return time.monotonic() - began
