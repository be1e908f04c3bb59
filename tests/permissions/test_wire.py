"""A real server and raw bytes: paths that are spelled otherwise, two lengths for one body, headers of a proxy's."""

import re
import socket
from contextlib import suppress

import httpx
import pytest

from tests.permissions.world import DOOR, PICTURE
from tests.processes import PASSWORD


@pytest.fixture(scope="module")
def server(install):
    """A server behind no proxy, although its settings name one that is elsewhere."""
    with install("sqlite-disk") as installation:
        server = installation.serve(TRUSTED_PROXIES="192.0.2.1", LOGINS_PER_MINUTE="5")
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def token(server):
    return server.register("owner@example.com")


@pytest.fixture(scope="module")
def private(server, token):
    """The id of an asset that only its owner may read."""
    with server.client(token) as client:
        return client.post(DOOR, files=PICTURE, data={"visibility": "private"}).json()["id"]


@pytest.fixture
def send(server):
    """Sends bytes as they are; returns all that comes back until the server closes, or waits for more."""

    def send(*parts):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):
                for part in parts:
                    connection.sendall(part)
            received = b""
            with suppress(ConnectionResetError, TimeoutError):
                while chunk := connection.recv(65536):
                    received += chunk
        return received

    return send


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def get(path, *headers):
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    "path",
    [
        "//api/v2/assets/{id}",
        "/api//v2/assets/{id}",
        "/api/v2/assets//{id}",
        "/api/v2/assets/{id}/",
        "/api/v2/assets/{id};",
        "/api/v2/assets/{id};a=b",
        "/api/v2/assets/./{id}",
        "/api/v2/clients/../assets/{id}",
        "/api/v2/clients/%2e%2e/assets/{id}",
        "/api/v2/clients/..%2fassets/{id}",
        "/api/v2/assets/%2e/{id}",
        "/api/v2/assets/{id}%00",
        "/api/v2/assets/{id}%20",
        "/api/v2/assets/{id}%0d%0a",
        "/api/v2/assets/{id}#",
        "/api/v2/assets/{id}?",
        "/API/V2/ASSETS/{id}",
        "/api/v2/assets\\{id}",
        "/api%2fv2%2fassets%2f{id}",
        "/docs/assets/..%2f..%2fapi/v2/assets/{id}",
        "http://localhost/api/v2/assets/{id}",
        "http://evil.example/api/v2/assets/{id}",
        "/api/v2/assets/{id}/info/../",
        "*",
    ],
)
def test_no_spelling_of_a_path_gets_at_a_private_asset(send, private, path):
    received = send(get(path.format(id=private)))
    assert statuses(received)[0] in {400, 401, 404}, received
    assert b"\x89PNG" not in received


@pytest.mark.parametrize(
    "path",
    [
        "/docs/assets/../../../../../../etc/passwd",
        "/docs/assets/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/docs/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/docs/assets//etc/passwd",
        "/docs/assets/..\\..\\..\\etc\\passwd",
        "/docs/assets/%00",
        "/docs/assets/" + "a" * 5000,
        "/docs/assets/" + "a/" * 2000,
        "/docs/assets/.",
        "/docs/assets/..",
        "/docs/assets/../__init__.py",
    ],
)
def test_static_files_are_those_of_their_folder_alone(send, path):
    received = send(get(path))
    assert statuses(received)[0] in {400, 404}, received
    assert b"root:" not in received


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

TARGET = b"POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        # Both a length and chunks, in either order, whichever of them hides a second request.
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED)),
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED)),
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        # Encodings that one reader takes for chunks and another does not.
        b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        # Lengths that are none, or two.
        b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"Content-Length: %d\r\nContent-Length: 0\r\n\r\n" % len(SMUGGLED),
        b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED),
        b"Content-Length: +0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 0x0\r\n\r\n",
        b"Content-Length: 0 0\r\n\r\n",
        b"Content-Length: 99999999999999999999999\r\n\r\n",
        # Chunk sizes that are none.
        b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n100000000000000000\r\n\r\n",
        # Header lines that one reader ends elsewhere.
        b"X-A: b\n\nContent-Length: 0\r\n\r\n",
        b"X-A: b\r\n Content-Length: 0\r\n\r\n",
        b"X-A: b\rContent-Length: 0\r\n\r\n",
        b"X-A: b\x00\r\nContent-Length: 0\r\n\r\n",
        b"X-A\x00: b\r\nContent-Length: 0\r\n\r\n",
        b": b\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=range(26),
)
def test_a_request_whose_end_is_in_doubt_lets_no_second_one_in(send, request_):
    received = send(TARGET + request_, SMUGGLED)
    answered = statuses(received)
    assert b'{"status":"ok"}' not in received, received
    assert len(answered) <= 1
    assert all(400 <= status < 500 for status in answered), received


def test_two_requests_in_one_piece_are_two(send):
    """What the other tests look for does show where it is meant to."""
    received = send(TARGET + b"Content-Length: 2\r\n\r\n{}" + SMUGGLED)
    assert statuses(received) == [422, 200]
    assert b'{"status":"ok"}' in received


def test_a_line_end_in_a_header_s_value_writes_no_header(server, token):
    hostile = "x%0d%0aSet-Cookie:%20a=b"
    with server.client(token) as client:
        for answer in (
            client.get(f"/api/v2/assets/{hostile}"),
            client.get(f"/{hostile}"),
            client.get(f"/api/v2/assets?q={hostile}&limit=1"),
            client.get(f"/api/v2/clients?{hostile}={hostile}"),
        ):
            assert "set-cookie" not in answer.headers


def test_headers_of_a_proxy_that_is_none_count_for_nothing(server, token):
    claims = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Port": "1",
        "X-Real-IP": "127.0.0.1",
        "Forwarded": "for=127.0.0.1;host=evil.example;proto=https",
        "X-Original-URL": "/api/v2/assets",
        "X-Rewrite-URL": "/api/v2/assets",
    }
    login = {"email": "owner@example.com", "password": PASSWORD}
    with server.client() as client:
        answer = client.post("/api/v2/auth/login", json=login, headers=claims)
        assert "secure" not in answer.headers["set-cookie"].lower()
    with server.client(token) as client:
        made = client.post(DOOR, files=PICTURE, headers=claims).json()
        listed = client.get("/api/v2/assets", headers=claims)
        assert made["url"] == f"{server.url}/api/v2/assets/{made['id']}"
        assert "evil" not in listed.text + listed.headers["link"]
        assert client.get("/healthz", headers=claims).json() == {"status": "ok"}


def test_a_guesser_does_not_become_another_by_saying_so(server, token):
    with httpx.Client(base_url=server.url, trust_env=False) as client:

        def guess(number):
            headers = {
                "X-Forwarded-For": f"198.51.100.{number}",
                "X-Real-IP": f"198.51.100.{number}",
                "Forwarded": f"for=198.51.100.{number}",
            }
            body = {"email": "Owner@Example.com", "password": f"wrong password {number}"}
            return client.post("/api/v2/auth/login", json=body, headers=headers).status_code

        answers = [guess(number) for number in range(7)]
    assert answers[:5] == [401] * 5
    assert answers[5:] == [429] * 2
