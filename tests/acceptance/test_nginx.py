"""A real nginx sends the originals, with the example configuration: whoever asks must not be able to tell."""

import hashlib
import http.client
import io
import os
import re
from dataclasses import dataclass

import httpx
import pytest
from PIL import Image

from tests.processes import Installation, Server
from tests.samples import films, pictures
from tests.servers.nginx import NginxMissing, running_nginx

PHOTO = pictures.jpeg(1600, 1200, noise=40)
ETAG = f'"{hashlib.sha256(PHOTO).hexdigest()}"'
SIZE = len(PHOTO)
NAME = "Zürich „bei Nacht“.jpg"
PAST, FUTURE = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"

#: Headers that differ between any two answers, and those of the connection, which is nginx's.
VARYING = {"date", "server", "connection", "x-request-id"}


@dataclass(frozen=True, kw_only=True)
class Site:
    """One library behind three doors: nginx, the server behind it, and one that has never heard of nginx."""

    installation: Installation
    nginx: str
    behind: Server
    plain: Server
    owner: httpx.Client

    def upload(self, data=PHOTO, name=NAME, **fields):
        answer = self.owner.post("/api/v2/upload-asset", files={"file": (name, data)}, data=fields)
        assert answer.status_code == 201, answer.text
        return f"/api/v2/assets/{answer.json()['id']}"


@pytest.fixture(scope="module")
def site(install):
    with install("sqlite-disk") as installation:
        shared = {"CDN_URL": "https://cdn.example.com", "MAX_UPLOAD_BYTES": str(8 << 20)}
        behind = installation.serve(ACCEL_REDIRECT="/_files/", TRUSTED_PROXIES="127.0.0.1", **shared)
        plain = installation.serve(**shared)
        for server in (behind, plain):
            server.wait_until_ready()
        token = behind.register("owner@example.com")
        try:
            with (
                running_nginx(upstream_port=behind.port, data=installation.data) as nginx,
                httpx.Client(
                    base_url=nginx, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
                ) as owner,
            ):
                yield Site(installation=installation, nginx=nginx, behind=behind, plain=plain, owner=owner)
        except NginxMissing as missing:
            pytest.skip(str(missing))


@pytest.fixture(scope="module")
def photo(site):
    path = site.upload()
    for file in (site.installation.data / "files").rglob("*/*"):
        os.utime(file, (10**9, 10**9))  # as after a backup was put back: nginx's own date is of no use
    return path


@pytest.fixture(scope="module")
def private(site):
    return site.upload(visibility="private")


@pytest.fixture
def ask(site):
    """Asks at one of the doors, without login unless a header says so."""

    def ask(door, path, method="GET", **headers):
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.request(
                method, f"{door}{path}", headers={name.replace("_", "-"): headers[name] for name in headers}
            )

    return ask


@pytest.fixture
def ask_both(site, ask):
    """Asks through nginx and where there is none, and compares; returns nginx's answer."""

    def ask_both(path, method="GET", **headers):
        through, without = (ask(door, path, method, **headers) for door in (site.nginx, site.plain.url))
        assert (through.status_code, told(through)) == (without.status_code, told(without))
        assert through.content == without.content
        assert "x-request-id" in through.headers
        return through

    return ask_both


def told(answer):
    return sorted((name, value) for name, value in answer.headers.multi_items() if name not in VARYING)


def test_nginx_is_told_where_the_bytes_are_and_does_not_tell_its_clients(site, photo, ask):
    direct = ask(site.behind.url, photo)
    assert re.fullmatch(r"/_files/files/../[0-9a-f-]{36}", direct.headers["x-accel-redirect"])
    assert direct.content == b""
    through = ask(site.nginx, photo)
    assert (through.status_code, through.content) == (200, PHOTO)
    assert "x-accel-redirect" not in through.headers
    assert through.headers["server"] == "nginx"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "https://elsewhere.example"}, 200),
        ({"Range": "bytes=0-0"}, 206),
        ({"Range": "bytes=1000-1999"}, 206),
        ({"Range": "bytes=-700"}, 206),
        ({"Range": "bytes=-99999999999"}, 206),
        ({"Range": "bytes=700-"}, 206),
        ({"Range": "bytes=700-99999999999"}, 206),
        ({"Range": f"bytes={SIZE}-"}, 416),
        ({"Range": "bytes=-0"}, 416),
        ({"Range": "bytes=9-5"}, 200),
        ({"Range": "bytes=a-b"}, 200),
        ({"Range": "bytes="}, 200),
        ({"Range": "items=0-5"}, 200),
        ({"Range": "bytes=" + ",".join(["0-"] * 3)}, 200),
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f"W/{ETAG}"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": '"other"', "Range": "bytes=0-9"}, 206),
        ({"If-Match": ETAG}, 200),
        ({"If-Match": ETAG, "Range": "bytes=0-9"}, 206),
        ({"If-Match": '"other"'}, 412),
        ({"If-Modified-Since": FUTURE}, 304),
        ({"If-Modified-Since": PAST}, 200),
        ({"If-Unmodified-Since": FUTURE}, 200),
        ({"If-Unmodified-Since": PAST}, 412),
        ({"If-Range": ETAG, "Range": "bytes=0-9"}, 206),
        ({"If-Range": '"other"', "Range": "bytes=0-9"}, 200),
        ({"If-Range": f"W/{ETAG}", "Range": "bytes=0-9"}, 200),
        ({"If-Range": PAST, "Range": "bytes=0-9"}, 200),
        ({"If-Range": ETAG}, 200),
    ],
    ids=str,
)
def test_an_answer_is_the_same_as_without_nginx(ask_both, photo, method, headers, status):
    answer = ask_both(photo, method, **headers)
    assert answer.status_code == (200 if method == "HEAD" and status in {206, 416} else status)


def test_the_date_of_the_content_is_good_for_conditions(ask_both, photo):
    modified = ask_both(photo).headers["last-modified"]
    assert ask_both(photo, If_Modified_Since=modified).status_code == 304
    assert ask_both(photo, If_Unmodified_Since=modified).status_code == 200
    assert ask_both(photo, If_Range=modified, Range="bytes=0-9").status_code == 206


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=5-"}, {"Range": "bytes=5-", "If-Range": ETAG}])
def test_seeking_in_a_film_is_nginx_s_work(site, photo, ask, headers):
    assert "x-accel-redirect" in ask(site.behind.url, photo, **headers).headers


def test_several_ranges_come_as_parts(site, photo, ask):
    through, without = (
        ask(door, photo, Range="bytes=0-9,500-519,-7") for door in (site.nginx, site.plain.url)
    )
    for answer in (through, without):
        assert answer.status_code == 206
        assert _parts(answer) == [
            (f"bytes 0-9/{SIZE}", PHOTO[:10]),
            (f"bytes 500-519/{SIZE}", PHOTO[500:520]),
            (f"bytes {SIZE - 7}-{SIZE - 1}/{SIZE}", PHOTO[-7:]),
        ]
    own = {"content-type", "content-length"}  # of the boundary, and nginx begins with an empty line
    names = [[header for header in told(answer) if header[0] not in own] for answer in (through, without)]
    assert names[0] == names[1]


def _parts(answer):
    boundary = answer.headers["content-type"].partition("boundary=")[2]
    assert answer.headers["content-type"].startswith("multipart/byteranges")
    *pieces, end = answer.content.split(f"--{boundary}".encode())
    assert end.strip() == b"--"
    found = []
    for piece in pieces[1:]:
        head, _, body = piece.partition(b"\r\n\r\n")
        assert b"content-type: image/jpeg" in head.lower()
        found.append((re.search(rb"(?i)content-range: (.*)", head)[1].strip().decode(), body[:-2]))
    return found


def test_a_film_of_some_size_arrives_whole(site, ask_both):
    film = films.video("mp4", 2.0) + b"\0" * (6 << 20)
    path = site.upload(film, "film.mp4")
    answer = ask_both(path)
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(film).digest()
    assert ask_both(path, Range="bytes=5000000-").content == film[5_000_000:]


def test_a_download_has_its_name(ask_both, photo):
    header = ask_both(f"{photo}?download=1").headers["content-disposition"]
    assert header.startswith("attachment; ")
    assert header.endswith("filename*=UTF-8''Z%C3%BCrich%20%E2%80%9Ebei%20Nacht%E2%80%9C.jpg")


def test_a_private_file_is_its_owner_s(site, private, ask_both):
    refused = ask_both(private)
    assert (refused.status_code, refused.json()["detail"]) == (404, "Asset not found")
    answer = ask_both(private, Authorization=site.owner.headers["Authorization"])
    assert (answer.status_code, answer.content) == (200, PHOTO)
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "cache-tag" not in answer.headers


def test_a_signed_address_opens_a_private_file(site, private, ask_both):
    signed = httpx.URL(site.owner.post(f"{private}/sign", json={"expires_in": 60}).json()["url"])
    path = signed.raw_path.decode()
    assert ask_both(path).content == PHOTO
    assert ask_both(path, Range="bytes=0-9").status_code == 206
    assert ask_both(path + "0").status_code == 404


def test_what_a_cdn_needs_arrives(ask_both, photo):
    answer = ask_both(photo)
    assert answer.headers["cache-tag"] == photo.rpartition("/")[2]
    assert answer.headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize("suffix", ["?width=64&format=png", "/thumbnail"])
def test_pictures_are_sent_by_mediakeep(ask_both, photo, suffix):
    answer = ask_both(photo + suffix)
    assert max(Image.open(io.BytesIO(answer.content)).size) == (64 if "width" in suffix else 512)
    assert ask_both(photo + suffix, If_None_Match=answer.headers["etag"]).status_code == 304


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"If-None-Match": '"other"'}], ids=str)
def test_a_file_whose_bytes_are_missing_is_not_found(site, ask, ask_both, method, headers):
    path = site.upload(pictures.jpeg(200, 100, quality=70), "lost.jpg")
    key = ask(site.behind.url, path).headers["x-accel-redirect"].removeprefix("/_files/")
    (site.installation.data / key).unlink()
    answer = ask_both(path, method, **headers)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    if method == "GET":
        assert answer.json()["detail"] == "The file's content is missing."
        assert "_files" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/_files/{key}",
        "/_files/files/",
        "/_files/secret_key",
        "/_files/mediakeep.db",
        "/_files/files/../secret_key",
        "/_files/files/%2e%2e/secret_key",
        "/_files/files/..%2fsecret_key",
        "/_files/files../secret_key",
        "//_files/{key}",
        "/./_files/{key}",
        "/api/../_files/{key}",
        "/api/v2/assets/..%2f..%2f..%2f_files%2f{key}",
    ],
)
def test_the_data_folder_is_not_reached_from_outside(site, photo, ask, path):
    key = ask(site.behind.url, photo).headers["x-accel-redirect"].removeprefix("/_files/")
    assert (site.installation.data / key).is_file()
    assert (site.installation.data / "secret_key").is_file()
    # A client that sends the path as it stands, which httpx would tidy up.
    host, port = httpx.URL(site.nginx).host, httpx.URL(site.nginx).port
    answer = _raw(host, port, path.format(key=key))
    assert answer.status in {400, 404}, answer.body[:200]
    assert (site.installation.data / "secret_key").read_bytes() not in answer.body
    assert PHOTO[:100] not in answer.body


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    status: int
    body: bytes


def _raw(host, port, target):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.putrequest("GET", target, skip_accept_encoding=True)
        connection.putheader("X-Accel-Redirect", target)
        connection.endheaders()
        answer = connection.getresponse()
        return RawAnswer(status=answer.status, body=answer.read())
    finally:
        connection.close()


# What else a proxy may spoil


def test_an_upload_without_a_length_arrives(site):
    form = httpx.Request("POST", "http://x", files={"file": ("a.png", pictures.png(300, 200), "image/png")})
    body = form.read()
    answer = site.owner.post(
        "/api/v2/upload-asset",
        content=(body[at : at + 7000] for at in range(0, len(body), 7000)),
        headers={"Content-Type": form.headers["content-type"]},
    )
    assert (answer.status_code, answer.json()["size"]) == (201, len(pictures.png(300, 200)))


def test_an_upload_that_is_too_large_is_refused_in_mediakeep_s_words(site):
    data = films.video("mp4", 2.0) + b"\0" * (40 << 20)
    answer = site.owner.post("/api/v2/upload-asset", files={"file": ("a.mp4", data, "video/mp4")})
    assert (answer.status_code, answer.json()["detail"]) == (400, "File too large. Maximum size is 8.0MB")


def test_who_comes_through_nginx_is_not_of_this_machine(site, ask):
    assert ask(site.plain.url, "/metrics").status_code == 200
    assert ask(site.nginx, "/metrics").status_code == 404
