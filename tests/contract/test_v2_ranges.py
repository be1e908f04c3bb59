"""Ranges and conditions end to end: files out of memory, files as they are read, and pictures, on both storages."""

import random
from dataclasses import dataclass
from datetime import timedelta
from email.parser import BytesParser
from email.utils import format_datetime, parsedate_to_datetime

import pytest

from tests.samples import films, pictures

DOOR = "/api/v2/upload-asset"
PHOTO = pictures.jpeg(640, 480)
# Too large to be kept in memory: sent as it is read, in several pieces.
FILM = films.video(seconds=1.0) + random.Random(1).randbytes(3 << 20)

PAST, FUTURE = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@dataclass(frozen=True)
class Content:
    """What lies at an address, and what the server says of it."""

    url: str
    body: bytes
    media_type: str
    etag: str
    modified: str


@dataclass(frozen=True)
class Part:
    start: int
    end: int
    body: bytes


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset."""

    async def upload(data, file_name):
        answer = await owner.post(DOOR, files={"file": (file_name, data)})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture(params=["file at hand", "file as it is read", "thumbnail", "picture"])
async def content(request, upload, api, app):
    if request.param == "file as it is read":
        assert len(FILM) > app.state.delivery.memory.largest
        asset, suffix, expected = await upload(FILM, "a.mp4"), "", FILM
    else:
        asset = await upload(PHOTO, "a.jpg")
        suffix = {"thumbnail": "/thumbnail", "picture": "?width=100&format=webp"}.get(request.param, "")
        expected = None if suffix else PHOTO
    whole = await api.get(asset["url"] + suffix)
    assert whole.status_code == 200
    assert expected in {None, whole.content}
    return Content(
        url=asset["url"] + suffix,
        body=whole.content,
        media_type=whole.headers["content-type"],
        etag=whole.headers["etag"],
        modified=whole.headers["last-modified"],
    )


@pytest.fixture
def parts_of(content):
    """The parts of an answer, each compared with the content; None if it is refused. The whole is no part."""

    def parts_of(answer):
        if answer.status_code == 416:
            assert answer.headers["content-range"] == f"bytes */{len(content.body)}"
            assert answer.headers["content-type"] == "application/problem+json"
            return None
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert (answer.headers["etag"], answer.headers["last-modified"]) == (content.etag, content.modified)
        if answer.status_code == 200:
            assert (answer.headers["content-type"], answer.content) == (content.media_type, content.body)
            assert "content-range" not in answer.headers
            return []
        assert answer.status_code == 206
        given = (
            _multipart(content, answer) if "content-range" not in answer.headers else [_only(content, answer)]
        )
        assert all(part.body == content.body[part.start : part.end] for part in given)
        return [(part.start, part.end) for part in given]

    return parts_of


def _only(content, answer):
    assert answer.headers["content-type"] == content.media_type
    return _part(content, answer.headers["content-range"], answer.content)


def _multipart(content, answer):
    head = b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n"
    message = BytesParser().parsebytes(head + answer.content)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    parts = message.get_payload()
    assert all(part.keys() == ["Content-Type", "Content-Range"] for part in parts)
    assert {part["content-type"] for part in parts} == {content.media_type}
    assert answer.content.count(b"--" + message.get_boundary().encode()) == len(parts) + 1
    assert answer.content.endswith(b"\r\n--" + message.get_boundary().encode() + b"--\r\n")
    return [_part(content, part["content-range"], part.get_payload(decode=True)) for part in parts]


def _part(content, content_range, body):
    unit, _, positions = content_range.partition(" ")
    place, _, size = positions.partition("/")
    first, _, last = place.partition("-")
    assert (unit, int(size)) == ("bytes", len(content.body))
    return Part(start=int(first), end=int(last) + 1, body=body)


# The cases of Go's net/http/fs_test.go (ServeFileRangeTests), whose file has 11 bytes: 11 is `n` here. None is a 416.
def cases_of_go(n):
    return {
        "": [],
        "bytes=0-4": [(0, 5)],
        "bytes=2-": [(2, n)],
        "bytes=-5": [(n - 5, n)],
        "bytes=3-7": [(3, 8)],
        "bytes=0-0,-2": [(0, 1), (n - 2, n)],
        "bytes=0-1,5-8": [(0, 2), (5, 9)],
        "bytes=0-1,5-": [(0, 2), (5, n)],
        f"bytes=5-{n + 989}": [(5, n)],
        "bytes=0-,1-,2-,3-,4-": [],
        f"bytes=0-{n - 2}": [(0, n - 1)],
        f"bytes=0-{n - 1}": [(0, n)],
        f"bytes=0-{n}": [(0, n)],
        f"bytes={n - 1}-{n}": [(n - 1, n)],
        f"bytes={n - 1}-": [(n - 1, n)],
        f"bytes={n}-": None,
        f"bytes={n}-{n + 1}": None,
        f"bytes={n + 1}-{n + 1}": None,
        f"bytes={n}-{n + 89}": None,
        f"bytes={n + 1}-{n + 89}": None,
        f"bytes={n + 89}-": None,
        f"bytes={n + 89}-{n + 989}": None,
    }


async def test_ranges_are_those_of_go(content, api, parts_of):
    for asked, expected in cases_of_go(len(content.body)).items():
        answer = await api.get(content.url, headers={"Range": asked})
        assert parts_of(answer) == expected, asked


async def test_ranges_that_overlap_or_touch_are_one(content, api, parts_of):
    n = len(content.body)
    cases = {
        "bytes=0-4,3-9": [(0, 10)],
        "bytes=0-4,5-9": [(0, 10)],
        "bytes=20-29,0-4,3-9": [(0, 10), (20, 30)],
        "bytes=3-9,0-4,-1": [(0, 10), (n - 1, n)],
        f"bytes=0-1,{n + 9}-": [(0, 2)],
        "bytes=40-49,0-9,20-29": [
            (40, 50),
            (0, 10),
            (20, 30),
        ],  # apart from each other: as they were asked for
    }
    for asked, expected in cases.items():
        assert parts_of(await api.get(content.url, headers={"Range": asked})) == expected, asked


async def test_a_range_goes_over_the_pieces_that_are_read(content, api, parts_of):
    middle = len(content.body) // 2
    for length in (1, middle // 2, middle):
        asked = f"bytes={middle - length // 2}-{middle + length // 2},0-0,-1"
        expected = [
            (middle - length // 2, middle + length // 2 + 1),
            (0, 1),
            (len(content.body) - 1, len(content.body)),
        ]
        assert parts_of(await api.get(content.url, headers={"Range": asked})) == expected


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-0,-1,5-2",
        "bytes=0-0,x",
        "bytes=9-5",
        "bytes=",
        "bytes=,",
        "items=0-4",
        "0-4",
        "bytes=0-9,0-",
        "bytes=" + ",".join(["0-0"] * 65),
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 20_000, 2)),
    ],
    ids=range(10),
)
@on_one_engine
async def test_what_is_no_range_or_too_much_of_it_gives_the_whole(content, api, parts_of, asked):
    assert parts_of(await api.get(content.url, headers={"Range": asked})) == []


async def test_sixty_four_ranges_are_not_too_many(content, api, parts_of):
    expected = [(n, n + 1) for n in range(0, 128, 2)]
    asked = "bytes=" + ",".join(f"{start}-{start}" for start, _ in expected)
    assert parts_of(await api.get(content.url, headers={"Range": asked})) == expected


@on_one_engine
async def test_the_last_no_bytes_cannot_be_had(content, api, parts_of):
    assert parts_of(await api.get(content.url, headers={"Range": "bytes=-0"})) is None


@on_one_engine
async def test_ranges_mean_nothing_to_head(content, api):
    for asked in ("bytes=0-4", "bytes=0-0,-1", f"bytes={len(content.body)}-"):
        answer = await api.head(content.url, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == str(len(content.body))
        assert "content-range" not in answer.headers


async def test_a_range_of_another_version_gives_the_whole(content, api, parts_of):
    second_before = parsedate_to_datetime(content.modified) - timedelta(seconds=1)
    versions = {
        content.etag: True,
        content.modified: True,
        f"W/{content.etag}": False,
        '"other"': False,
        f'{content.etag}, "other"': False,  # one version only
        "*": False,
        FUTURE: False,
        format_datetime(second_before, usegmt=True): False,
        "nonsense": False,
    }
    for asked, expected in {
        "bytes=2-5": [(2, 6)],
        "bytes=-1,2-5": [(len(content.body) - 1, len(content.body)), (2, 6)],
    }.items():
        for version, is_kept in versions.items():
            answer = await api.get(content.url, headers={"Range": asked, "If-Range": version})
            assert parts_of(answer) == (expected if is_kept else []), version
    # A range that cannot be had is no reason to refuse another version.
    gone = {"Range": f"bytes={len(content.body)}-", "If-Range": '"other"'}
    assert parts_of(await api.get(content.url, headers=gone)) == []


# RFC 9110 §13.2.2: If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since; then If-Range.
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions_are_kept_in_their_order(content, api, method):
    mine, weak, other = content.etag, f"W/{content.etag}", '"other"'
    cases = [
        ({"If-Match": mine}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": f"{other}, {mine}"}, 200),
        ({"If-Match": weak}, 412),
        ({"If-Match": other}, 412),
        ({"If-Match": mine, "If-Unmodified-Since": PAST}, 200),
        ({"If-Match": other, "If-Unmodified-Since": FUTURE}, 412),
        ({"If-Unmodified-Since": content.modified}, 200),
        ({"If-Unmodified-Since": PAST}, 412),
        ({"If-Unmodified-Since": "nonsense"}, 200),
        ({"If-Unmodified-Since": PAST, "If-None-Match": mine}, 412),
        ({"If-Unmodified-Since": FUTURE, "If-None-Match": mine}, 304),
        ({"If-Match": mine, "If-None-Match": mine}, 304),
        ({"If-Match": other, "If-None-Match": mine}, 412),
        ({"If-Match": mine, "If-Modified-Since": FUTURE}, 304),
        ({"If-None-Match": weak}, 304),
        ({"If-None-Match": f"{other} , {mine}"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": other}, 200),
        ({"If-None-Match": other, "If-Modified-Since": FUTURE}, 200),
        ({"If-None-Match": mine, "If-Modified-Since": PAST}, 304),
        ({"If-Modified-Since": content.modified}, 304),
        ({"If-Modified-Since": PAST}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
        ({"If-None-Match": mine, "Range": "bytes=0-4"}, 304),
        ({"If-None-Match": mine, "Range": "bytes=0-4", "If-Range": mine}, 304),
        ({"If-None-Match": other, "Range": "bytes=0-4"}, 206 if method == "GET" else 200),
        ({"If-Match": other, "Range": f"bytes={len(content.body)}-"}, 412),
        ({"If-Match": mine, "Range": f"bytes={len(content.body)}-"}, 416 if method == "GET" else 200),
    ]
    for headers, status in cases:
        answer = await api.request(method, content.url, headers=headers)
        assert answer.status_code == status, headers
        if status == 304:
            assert (answer.content, answer.headers["etag"]) == (b"", content.etag)
            assert answer.headers["cache-control"] == "public, max-age=300"
            assert not {"content-type", "content-length", "content-range"} & set(answer.headers)
        elif method == "HEAD" and status == 200:
            assert (answer.content, answer.headers["content-length"]) == (b"", str(len(content.body)))


# What stands between the parts


@on_one_engine
async def test_what_separates_parts_is_another_each_time_and_comes_through_as_content(
    upload, api, photo_ranges
):
    first = await photo_ranges(PHOTO)
    # A content that has learnt from an earlier answer what separates its parts.
    data = PHOTO + b"\r\n--" + first.encode() + b"--\r\n--" + first.encode() + b"\r\n"
    assert await photo_ranges(data) != first


@pytest.fixture
def photo_ranges(upload, api):
    """Uploads a picture, asks for two halves, and returns what separated them once both have come through."""

    async def photo_ranges(data):
        url = (await upload(data, "a.jpg"))["url"]
        middle = len(data) // 2
        answer = await api.get(url, headers={"Range": f"bytes={middle}-,0-{middle - 2}"})
        message = BytesParser().parsebytes(
            b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
        )
        bodies = [part.get_payload(decode=True) for part in message.get_payload()]
        assert bodies == [data[middle:], data[: middle - 1]]
        return message.get_boundary()

    return photo_ranges
