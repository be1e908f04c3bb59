"""A refused upload is an answer that every client sees, not a broken connection."""

import asyncio
import contextlib
import http.client
import json
import socket
import subprocess

import httpx
import pytest
import requests

from mediakeep.accounts import keys
from mediakeep.accounts import service as accounts
from mediakeep.accounts.actor import SHELL
from mediakeep.db import open_database
from mediakeep.settings import Settings
from tests.samples import pictures

# What a refused client sees does not hang on the database.
pytestmark = pytest.mark.parametrize("two_servers", ["sqlite-disk"], indirect=True)

MIB = 1 << 20
TOO_LARGE = "File too large. Maximum size is 50.0MB"

_FETCH = """
const fs = require('fs');
const [url, token, path] = process.argv.slice(1);
(async () => {
  const form = new FormData();
  form.append('file', new Blob([fs.readFileSync(path)], { type: 'video/mp4' }), 'film.mp4');
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(url, { method: 'POST', headers, body: form });
  console.log(JSON.stringify({ status: answer.status, detail: (await answer.json()).detail }));
})();
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A file of 60 MB that would be a video, were it not too large."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with path.open("wb") as file:
        file.write(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
        file.truncate(60 * MIB)
    return path


def _curl(url, token, film, *options):
    command = ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", "--form", f"file=@{film}"]
    command += ["--header", f"Authorization: Bearer {token}"] if token else []
    done = subprocess.run([*command, *options, url], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)["detail"]


def _curl_waiting_for_100(url, token, film):
    return _curl(url, token, film, "--header", "Expect: 100-continue")


def _curl_not_waiting(url, token, film):
    return _curl(url, token, film, "--header", "Expect:")


def _curl_chunked(url, token, film):
    return _curl(url, token, film, "--header", "Transfer-Encoding: chunked", "--header", "Expect:")


def _requests(url, token, film):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with film.open("rb") as file, requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            url, headers=headers, files={"file": ("film.mp4", file, "video/mp4")}, timeout=60
        )
    return answer.status_code, answer.json()["detail"]


def _fetch(url, token, film):
    done = subprocess.run(
        ["node", "-e", _FETCH, url, token, film], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["status"], answer["detail"]


CLIENTS = [_curl_waiting_for_100, _curl_not_waiting, _curl_chunked, _requests, _fetch]


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__.strip("_"))
def client(request):
    """Uploads a file in the way of one program; returns the status and the sentence that it saw."""
    return request.param


@pytest.fixture
def url(two_servers):
    return f"{two_servers.first.url}/api/v2/upload-asset"


@pytest.fixture
def begin(two_servers):
    """Sends the head of a 60 MB upload and nothing of its body; returns the status and the sentence of the answer."""

    def begin(token, length=60 * MIB):
        head = f"POST /api/v2/upload-asset HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
        head += "Content-Type: multipart/form-data; boundary=b\r\n"
        head += f"Authorization: Bearer {token}\r\n\r\n" if token else "\r\n"
        with socket.create_connection(("127.0.0.1", two_servers.first.port), timeout=20) as connection:
            connection.sendall(head.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, json.loads(answer.read())["detail"]

    return begin


@pytest.fixture
def reading_key(user):
    """An API key that may only read."""
    made = user.first.post("/api/v2/auth/keys", json={"name": "reader", "scopes": ["read"]})
    return made.json()["key"]


@pytest.fixture
def exhausted_key(user, two_servers):
    """An API key that has used up its uploads of this minute."""
    key = asyncio.run(_create_key(two_servers.installation.data, user.email))
    with two_servers.first.client(key) as program:
        answer = program.post("/api/v2/upload-asset", files={"file": ("a.png", pictures.png(), "image/png")})
        assert answer.status_code == 201, answer.text
    return key


async def _create_key(data, email):
    """What `mediakeep key create` does, without starting it: that takes longer than the test."""
    database = open_database(Settings(data=data))
    async with database.write() as session:
        user = await accounts.get_user_by_email(session, email)
        _, key = await keys.create_api_key(
            session, SHELL, user.id, name="a", scopes=frozenset({"read", "write"}), uploads_per_minute=1
        )
    await database.close()
    return key


def test_a_file_that_is_too_large_is_refused_with_its_sentence(client, url, user, film):
    assert client(url, user.token, film) == (400, TOO_LARGE)


def test_a_large_upload_of_nobody_is_refused_with_its_sentence(client, url, film):
    assert client(url, "", film) == (401, "Not authenticated")


def test_a_large_upload_too_many_is_refused_with_its_sentence(client, url, exhausted_key, film):
    assert client(url, exhausted_key, film) == (429, "Too many requests")


def test_a_refused_upload_that_never_ends_is_cut_off(two_servers):
    head = "POST /api/v2/upload-asset HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (MIB, b"." * MIB)
    sent = 0
    with socket.create_connection(("127.0.0.1", two_servers.first.port), timeout=20) as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            while sent < 400:
                connection.sendall(chunk)
                sent += 1
    assert sent < 400


@pytest.mark.parametrize("token", ["", "wrong", "mk_wrong"])
def test_nobody_is_refused_before_a_byte_of_the_body(begin, token):
    assert begin(token) == (401, "Not authenticated")


def test_a_key_that_may_only_read_is_refused_before_a_byte_of_the_body(begin, reading_key):
    assert begin(reading_key) == (403, "This API key may not write.")


def test_an_upload_too_many_is_refused_before_a_byte_of_the_body(begin, exhausted_key):
    assert begin(exhausted_key, length=1000) == (429, "Too many requests")


def test_a_file_that_says_it_is_too_large_is_refused_before_a_byte_of_the_body(begin, user):
    assert begin(user.token) == (400, TOO_LARGE)


def test_a_refused_upload_leaves_nothing_behind(url, user, film, two_servers):
    before = two_servers.installation.stored_keys()
    assert _curl_chunked(url, user.token, film) == (400, TOO_LARGE)
    assert two_servers.installation.stored_keys() == before
    assert two_servers.installation.scratch_files() == []


def test_the_connection_is_closed_after_an_early_answer(user, film, two_servers):
    with film.open("rb") as file:
        answer = user.first.post("/api/v2/upload-asset", files={"file": ("film.mp4", file, "video/mp4")})
    assert (answer.status_code, answer.headers["connection"]) == (400, "close")
    assert user.first.get("/api/v2/assets").status_code == 200


def test_the_limit_is_each_user_s_own(two_servers, exhausted_key, other):
    answer = other.second.post("/api/v2/upload-asset", files={"file": ("a.png", pictures.png(), "image/png")})
    assert answer.status_code == 201, answer.text


def test_reading_is_not_limited(exhausted_key, two_servers):
    with two_servers.first.client(exhausted_key) as program:
        assert {program.get("/api/v2/assets").status_code for _ in range(30)} == {200}


def test_a_refused_request_to_another_address_is_seen_too(two_servers):
    body = b"{" + b" " * (10 * MIB) + b"}"
    answer = httpx.post(
        f"{two_servers.first.url}/api/v2/auth/login", content=body, timeout=30, trust_env=False
    )
    assert answer.status_code == 413
    assert (
        answer.json()["detail"] == "The request body is too large. This address takes at most 2097152 bytes."
    )
