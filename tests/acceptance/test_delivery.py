"""Files as real servers send them: again and again, to slow readers, and after they were deleted elsewhere."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.samples import films, pictures

PHOTO = pictures.jpeg(640, 480)


@pytest.fixture(scope="module")
def two_servers(two_servers_alone):
    """What uses up what an address may ask for is felt by whoever asks next."""
    return two_servers_alone


@pytest.fixture
def photo(upload):
    return upload("a.jpg", PHOTO)


@pytest.mark.parametrize("suffix", ["", "/thumbnail", "?width=100&format=webp"])
def test_an_answer_is_the_same_the_second_time(photo, two_servers, suffix):
    url = f"{two_servers.first.url}/api/v2/assets/{photo['id']}{suffix}"
    answers = [httpx.get(url, trust_env=False) for _ in range(3)]
    kept = [
        {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
        for answer in answers
    ]
    assert kept[0] == kept[1] == kept[2]
    assert answers[0].content == answers[1].content == answers[2].content
    assert all({"date", "x-request-id"} <= set(answer.headers) for answer in answers)
    known = {"If-None-Match": answers[0].headers["etag"], "Origin": "https://elsewhere.example"}
    again = httpx.get(url, headers=known, trust_env=False)
    assert (again.status_code, again.headers["access-control-allow-origin"]) == (304, "*")


def test_every_answer_is_in_the_log_under_its_id(photo, two_servers):
    url = f"{two_servers.first.url}/api/v2/assets/{photo['id']}"
    for number in range(3):
        httpx.get(url, headers={"X-Request-ID": f"delivery-{number}"}, trust_env=False)
    for number in range(3):
        two_servers.first.wait_for(f'"request_id":"delivery-{number}"')


def test_a_deleted_file_is_gone_here_at_once_and_elsewhere_within_a_second(photo, two_servers, user):
    path = f"/api/v2/assets/{photo['id']}"
    assert user.second.get(path).status_code == user.first.get(path).status_code == 200
    assert user.first.delete(path).status_code == 200
    gone_at = time.monotonic()
    assert user.first.get(path).status_code == 404
    while user.second.get(path).status_code != 404:
        assert time.monotonic() < gone_at + 10
    with two_servers.second.client() as nobody:
        assert nobody.get(path).status_code == 404


def test_a_file_that_becomes_private_is_not_answered_from_memory(photo, two_servers, user, nobody):
    path = f"/api/v2/assets/{photo['id']}"
    for _ in range(3):
        assert nobody.get(path).status_code == 200
    assert user.first.patch(path, json={"visibility": "private"}).status_code == 200
    assert nobody.get(path).status_code == 404
    for _ in range(3):
        assert user.first.get(path).status_code == 200
        assert nobody.get(path).status_code == 404


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_slow_readers_hold_no_threads(upload, two_servers, nobody):
    film = upload("a.mp4", films.video(seconds=4.0) + os.urandom(30 << 20))
    path = f"/api/v2/assets/{film['id']}"
    nobody.get(path)
    before = threads_of(two_servers.first.pid)
    readers = []
    try:
        for _ in range(60):
            reader = socket.create_connection(("127.0.0.1", two_servers.first.port), timeout=20)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert reader.recv(16).startswith(b"HTTP/1.1 200")
            readers.append(reader)
        # A thread that reads from the disk takes no longer than that; none is waiting for a reader.
        assert threads_of(two_servers.first.pid) <= before + 16
        with ThreadPoolExecutor(4) as clients:
            statuses = list(clients.map(lambda _: nobody.get(f"{path}/thumbnail").status_code, range(20)))
        assert statuses == [200] * 20
        assert nobody.get("/readyz").status_code == 200
    finally:
        for reader in readers:
            reader.close()


def threads_of(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_500_sizes_asked_for_at_once_hold_up_no_original(photo, two_servers, nobody):
    path = f"/api/v2/assets/{photo['id']}"

    def ask(number):
        with two_servers.first.client() as client:
            answers = [client.get(path, params={"width": width}) for width in range(40 + number, 540, 64)]
        return [(answer.status_code, answer.headers) for answer in answers]

    def read():
        return [nobody.get(path).status_code for _ in range(200)]

    with ThreadPoolExecutor(65) as clients:
        originals = clients.submit(read)
        asked = [answer for answers in clients.map(ask, range(64)) for answer in answers]
        assert originals.result() == [200] * 200
    assert len(asked) == 500
    assert {status for status, _ in asked} <= {200, 429, 503}
    assert any(status == 200 for status, _ in asked)
    assert all(int(headers["retry-after"]) >= 1 for status, headers in asked if status != 200)
    # More than an address may have made in a minute were asked for.
    assert any(status == 429 for status, _ in asked)
    assert nobody.get("/readyz").status_code == 200
