"""`MEDIAKEEP_REDIRECT_TO_STORAGE`: readers of originals are sent to the object store, where that may be."""

import asyncio
import hashlib

import httpx
import pytest

from mediakeep.http.signing import sign_query
from tests.samples import films, papers, pictures

DOOR = "/api/v2/upload-asset"
DATA = pictures.jpeg(640, 480)
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'

on_disk = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
def given():
    """Settings that differ from those of the other tests."""
    return {"redirect_to_storage": 60}


@pytest.fixture(params=["postgres-s3"])
def library_settings(library_settings, given):
    return library_settings.model_copy(update=given)


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset."""

    async def upload(data=DATA, file_name="Zürich.jpg", **fields):
        answer = await owner.post(DOOR, files={"file": (file_name, data)}, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture
async def photo(upload):
    return await upload()


@pytest.fixture
async def private(upload):
    return await upload(visibility="private")


async def fetch(answer, method="GET", **headers):
    """What the store says at the address that a redirect names."""
    assert answer.status_code == 307, answer.text
    assert answer.content == b""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, answer.headers["location"], headers=headers)


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (DATA, "a.jpg", "image/jpeg"),
        (films.video("mp4", 2.0), "a.mp4", "video/mp4"),
        (films.sound("mp3"), "a.mp3", "audio/mpeg"),
        (papers.pdf(), "a.pdf", "application/pdf"),
    ],
    ids=["jpg", "mp4", "mp3", "pdf"],
)
async def test_the_store_sends_the_bytes_with_their_type(upload, api, data, name, media_type):
    stored = await fetch(await api.get((await upload(data, name))["url"]))
    assert (stored.status_code, stored.content) == (200, data)
    assert stored.headers["content-type"] == media_type


async def test_the_store_knows_ranges(photo, api):
    asked = {"Range": "bytes=10-19"}
    stored = await fetch(await api.get(photo["url"], headers=asked), **asked)
    assert (stored.status_code, stored.content) == (206, DATA[10:20])


async def test_a_range_that_the_store_gave_can_be_gone_on_with(photo, api):
    """A browser that seeks names the tag that it had from the store."""
    first = await fetch(await api.get(photo["url"]))
    asked = {"Range": "bytes=10-19", "If-Range": first.headers["etag"]}
    stored = await fetch(await api.get(photo["url"], headers=asked), **asked)
    assert (stored.status_code, stored.content) == (206, DATA[10:20])


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": ETAG},
        {"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"If-Range": ETAG, "Range": "bytes=0-9"},
    ],
    ids=str,
)
async def test_what_our_tag_has_passed_is_answered_here_since_the_store_has_another(photo, api, headers):
    answer = await api.get(photo["url"], headers=headers)
    assert (answer.status_code, answer.content) == ((206, DATA[:10]) if "Range" in headers else (200, DATA))


async def test_several_ranges_are_answered_here(photo, api):
    answer = await api.get(photo["url"], headers={"Range": "bytes=0-9,50-59"})
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges")
    assert DATA[50:60] in answer.content


async def test_a_range_past_the_end_is_refused_here(photo, api):
    answer = await api.get(photo["url"], headers={"Range": f"bytes={len(DATA)}-"})
    assert answer.status_code == 416


async def test_head_is_answered_here(photo, api):
    answer = await api.head(photo["url"])
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(DATA)))
    assert answer.headers["etag"] == ETAG


async def test_a_download_is_answered_here_since_the_store_knows_no_name(photo, api):
    answer = await api.get(f"{photo['url']}?download=1")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-disposition"].endswith("filename*=UTF-8''Z%C3%BCrich.jpg")


@pytest.mark.parametrize("given", [{"redirect_to_storage": 60, "allowed_types": ("tiff",)}])
async def test_what_no_browser_may_show_is_answered_here(upload, api):
    asset = await upload(pictures.tiff(), "a.tiff")
    answer = await api.get(asset["url"])
    assert (answer.status_code, answer.content) == (200, pictures.tiff())
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": '"other"'}, 307),
        ({"If-Match": '"other"'}, 412),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412),
    ],
    ids=str,
)
async def test_conditions_come_first(photo, api, headers, status):
    assert (await api.get(photo["url"], headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"redirect_to_storage": 60}, 30),
        ({"redirect_to_storage": 1}, 0),
        ({"redirect_to_storage": 3600}, 300),
        ({"redirect_to_storage": 3600, "public_max_age": 5}, 5),
    ],
    ids=str,
)
async def test_a_redirect_is_kept_for_less_time_than_its_address_is_good(photo, api, seconds):
    answer = await api.get(photo["url"])
    assert answer.headers["cache-control"] == f"public, max-age={seconds}"


@pytest.mark.parametrize(
    "given", [{"redirect_to_storage": 60, "cdn_url": "https://cdn.example.com"}], ids=["cdn"]
)
async def test_a_cdn_can_forget_a_redirect(photo, private, owner, api):
    answer = await api.get(f"/api/v2/assets/{photo['id']}")
    assert (answer.status_code, answer.headers["cache-tag"]) == (307, photo["id"])
    answer = await owner.get(private["url"])
    assert answer.status_code == 307
    assert "cache-tag" not in answer.headers


async def test_a_private_file_is_sent_to_its_owner_alone_and_never_kept(private, owner, api, stranger):
    for client in (api, stranger):
        assert (await client.get(private["url"])).status_code == 404
    answer = await owner.get(private["url"])
    assert answer.headers["cache-control"] == "private, no-store"
    assert (await fetch(answer)).content == DATA


async def test_a_signed_address_leads_to_the_store(private, api, app):
    path = f"/api/v2/assets/{private['id']}"
    answer = await api.get(f"{path}?{sign_query(app.state.secret, path, expires_at=2**31)}")
    assert answer.headers["cache-control"] == "private, no-store"
    assert (await fetch(answer)).content == DATA


# Signatures count from the second that has begun: of one second there may be nothing left.
@pytest.mark.parametrize("given", [{"redirect_to_storage": 2}], ids=["two seconds"])
async def test_the_address_ends(photo, api):
    answer = await api.get(photo["url"])
    assert (await fetch(answer)).status_code == 200
    await asyncio.sleep(3.1)
    assert (await fetch(answer)).status_code == 403


async def test_the_address_is_good_for_reading_this_one_file_only(photo, upload, api):
    other = await upload(pictures.png(), "b.png")
    keys = [httpx.URL((await api.get(one["url"])).headers["location"]).path for one in (photo, other)]
    answer = await api.get(photo["url"])
    answer.headers["location"] = answer.headers["location"].replace(*keys)
    assert (await fetch(answer)).status_code == 403
    answer = await api.get(photo["url"])
    assert (await fetch(answer, "PUT")).status_code == 403
    assert (await fetch(answer, "DELETE")).status_code == 403


@pytest.mark.parametrize("suffix", ["/thumbnail", "?width=64", "?format=webp"])
async def test_pictures_of_it_are_answered_here(photo, api, suffix):
    answer = await api.get(photo["url"] + suffix)
    assert answer.status_code == 200
    assert answer.headers["content-type"] in {"image/jpeg", "image/webp"}


async def test_pages_of_other_origins_may_follow(photo, api):
    answer = await api.get(photo["url"], headers={"Origin": "https://elsewhere.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (307, "*")


@on_disk
async def test_a_folder_has_no_addresses_and_is_read_here(photo, api):
    for headers, status, data in (({}, 200, DATA), ({"Range": "bytes=10-19"}, 206, DATA[10:20])):
        answer = await api.get(photo["url"], headers=headers)
        assert (answer.status_code, answer.content) == (status, data)
