"""The bytes of assets: who may have them, and how HTTP's rules are kept."""

import hashlib
import io
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from PIL import Image

from mediakeep.http.signing import sign_query
from tests.samples import films, papers, pictures

DOOR = "/api/v2/upload-asset"
DATA = pictures.jpeg(640, 480)
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset."""

    async def upload(data=DATA, file_name="a.jpg", media_type="image/jpeg", **fields):
        answer = await owner.post(DOOR, files={"file": (file_name, data, media_type)}, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture
async def photo(upload):
    return await upload()


@pytest.fixture
async def private(upload):
    return await upload(visibility="private")


# The whole file


async def test_a_public_file_needs_no_login(photo, api):
    answer = await api.get(photo["url"])
    assert (answer.status_code, answer.content) == (200, DATA)


async def test_a_file_comes_with_the_headers_that_keep_it_harmless(photo, api):
    headers = (await api.get(photo["url"])).headers
    expected = {
        "content-type": "image/jpeg",
        "content-length": str(len(DATA)),
        "content-disposition": 'inline; filename="a.jpg"',
        "accept-ranges": "bytes",
        "etag": ETAG,
        "cache-control": "public, max-age=300",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "cross-origin",
    }
    assert {name: headers[name] for name in expected} == expected
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "sandbox" in policy


@on_one_engine
async def test_a_pdf_has_no_sandbox_that_keeps_its_viewer_out(upload, api):
    asset = await upload(papers.pdf(), "a.pdf", "application/pdf")
    policy = (await api.get(asset["url"])).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "sandbox" not in policy


@on_one_engine
async def test_a_wrong_token_does_not_hide_what_is_public(photo, api):
    answer = await api.get(photo["url"], headers={"Authorization": "Bearer expired"})
    assert (answer.status_code, answer.content) == (200, DATA)


@on_one_engine
@pytest.mark.parametrize(
    ("query", "kind"), [("download=1", "attachment"), ("download=0", "inline"), ("", "inline")]
)
async def test_a_download_is_asked_for(photo, api, query, kind):
    answer = await api.get(f"{photo['url']}?{query}")
    assert answer.headers["content-disposition"] == f'{kind}; filename="a.jpg"'


async def test_a_file_whose_bytes_are_missing_is_not_found(photo, api, app):
    store = app.state.library.store
    await store.delete([one.key async for one in store.iter_keys("files")])
    for method in ("GET", "HEAD"):
        answer = await api.request(method, photo["url"])
        assert answer.status_code == 404
        assert "files/" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


# HEAD


@pytest.mark.parametrize("suffix", ["", "/thumbnail"])
async def test_head_has_the_headers_of_get_and_no_body(photo, api, suffix):
    got, head = await api.get(photo["url"] + suffix), await api.head(photo["url"] + suffix)
    assert (head.status_code, head.content) == (200, b"")
    varying = {"x-request-id", "date"}
    assert {name: value for name, value in head.headers.items() if name not in varying} == {
        name: value for name, value in got.headers.items() if name not in varying
    }


@on_one_engine
async def test_head_knows_no_ranges(photo, api):
    answer = await api.head(photo["url"], headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(DATA)))


# Ranges


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100-", 100, len(DATA)),
        ("bytes=-7", len(DATA) - 7, len(DATA)),
        ("bytes=10-99999999999", 10, len(DATA)),
        ("bytes=-99999999999", 0, len(DATA)),
        ("Bytes = 10-19", 10, 20),
    ],
)
async def test_a_range_is_that_part_of_the_file(photo, api, asked, start, end):
    answer = await api.get(photo["url"], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["etag"] == ETAG


@on_one_engine
@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", "bytes=99999999-", "bytes=-0"])
async def test_a_range_past_the_end_is_refused(photo, api, asked):
    answer = await api.get(photo["url"], headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
    assert answer.headers["content-type"] == "application/problem+json"


@on_one_engine
@pytest.mark.parametrize(
    "asked",
    [
        "bytes=9-5",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "items=0-5",
        "0-5",
        "bytes=" + "9" * 40 + "-",
    ],
)
async def test_a_range_that_is_none_gives_the_whole_file(photo, api, asked):
    answer = await api.get(photo["url"], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


@on_one_engine
async def test_a_range_of_another_version_gives_the_whole_file(photo, api):
    modified = (await api.get(photo["url"])).headers["last-modified"]
    statuses = [
        (await api.get(photo["url"], headers={"Range": "bytes=0-9", "If-Range": version})).status_code
        for version in (ETAG, modified, '"other"', f"W/{ETAG}", "Sat, 01 Jan 2000 00:00:00 GMT", "nonsense")
    ]
    assert statuses == [206, 206, 200, 200, 200, 200]


@on_one_engine
async def test_a_thumbnail_has_ranges_too(photo, api):
    whole = (await api.get(photo["thumbnailUrl"])).content
    answer = await api.get(photo["thumbnailUrl"], headers={"Range": "bytes=2-5"})
    assert (answer.status_code, answer.content) == (206, whole[2:6])


# Conditions


@on_one_engine
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f"W/{ETAG}"}, 304),
        ({"If-None-Match": f'"other", {ETAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Match": ETAG}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": f"W/{ETAG}"}, 412),
        ({"If-None-Match": '"other"', "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
        ({"If-None-Match": ETAG, "Range": "bytes=0-9"}, 304),
        ({"If-Match": '"other"', "If-None-Match": ETAG}, 412),
    ],
    ids=range(17),
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions_are_kept_in_their_order(photo, api, method, headers, status):
    answer = await api.request(method, photo["url"], headers=headers)
    assert answer.status_code == status
    if status == 304:
        assert answer.content == b""
        assert (answer.headers["etag"], answer.headers["cache-control"]) == (ETAG, "public, max-age=300")


@on_one_engine
async def test_what_was_modified_within_the_second_is_not_sent_again(photo, api):
    modified = (await api.get(photo["url"])).headers["last-modified"]
    assert parsedate_to_datetime(modified) <= datetime.now(UTC)
    assert (await api.get(photo["url"], headers={"If-Modified-Since": modified})).status_code == 304
    earlier = format_datetime(parsedate_to_datetime(modified) - timedelta(seconds=1), usegmt=True)
    assert (await api.get(photo["url"], headers={"If-Modified-Since": earlier})).status_code == 200


# Renditions


async def test_a_thumbnail_is_a_small_jpeg_with_a_tag_of_its_own(photo, api):
    answer = await api.get(photo["thumbnailUrl"])
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == ("JPEG", (512, 384))
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["content-disposition"] == 'inline; filename="a-thumbnail.jpg"'


async def test_a_thumbnail_that_was_lost_is_made_again(photo, api, app):
    whole = (await api.get(photo["thumbnailUrl"])).content
    store, memory = app.state.library.store, app.state.delivery.memory
    await store.delete([one.key async for one in store.iter_keys("renditions")])
    memory._drop(next(key for key in memory._kept if key.startswith("renditions")))
    again = await api.get(photo["thumbnailUrl"])
    assert (again.status_code, again.content) == (200, whole)


async def test_a_poster_is_made_on_the_spot_when_no_task_has_made_it_yet(upload, api):
    film = await upload(films.video("mp4", 2.0), "a.mp4", "video/mp4")
    assert Image.open(io.BytesIO((await api.get(film["thumbnailUrl"])).content)).size == (160, 120)


@on_one_engine
@pytest.mark.parametrize("suffix", ["/waveform", "/waveform?format=png"])
async def test_a_picture_has_no_waveform(photo, api, suffix):
    answer = await api.get(photo["url"] + suffix)
    assert (answer.status_code, answer.json()["detail"]) == (404, "This asset has no waveform")


@on_one_engine
async def test_a_waveform_is_json_or_png(upload, api):
    sound = await upload(films.sound("wav"), "a.wav", "audio/wav")
    assert (await api.get(sound["waveformUrl"])).json()["version"] == 1
    assert (await api.get(f"{sound['waveformUrl']}?format=png")).content.startswith(b"\x89PNG")
    answer = await api.get(f"{sound['waveformUrl']}?format=svg")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "format")


@on_one_engine
async def test_a_sound_has_a_picture_too(upload, api):
    sound = await upload(films.sound("mp3"), "a.mp3", "audio/mpeg")
    assert Image.open(io.BytesIO((await api.get(sound["thumbnailUrl"])).content)).format == "JPEG"


# Private files


@pytest.mark.parametrize("suffix", ["", "/thumbnail"])
async def test_a_private_file_is_not_found_by_others(private, api, stranger, suffix):
    for client in (api, stranger):
        answer = await client.get(private["url"] + suffix)
        assert (answer.status_code, answer.json()["detail"]) == (404, "Asset not found")


async def test_a_private_file_is_its_owner_s_and_an_admin_s(private, owner, admin):
    for client in (owner, admin):
        answer = await client.get(private["url"])
        assert (answer.status_code, answer.content) == (200, DATA)
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@on_one_engine
async def test_a_key_that_may_not_read_does_not_open_a_private_file(private, owner, api):
    made = (await owner.post("/api/v2/auth/keys", json={"name": "writer", "scopes": ["write"]})).json()
    assert (await api.get(private["url"], headers={"X-API-Key": made["key"]})).status_code == 404


async def test_a_signed_address_opens_a_private_file_until_it_expires(private, api, app):
    path = f"/api/v2/assets/{private['id']}"
    now = int(datetime.now(UTC).timestamp())
    good = sign_query(app.state.secret, path, expires_at=now + 60)
    over = sign_query(app.state.secret, path, expires_at=now - 1)
    answer = await api.get(f"{path}?{good}")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["cache-control"] == "private, no-store"
    assert (await api.get(f"{path}?{over}")).status_code == 404


async def test_a_signed_address_opens_nothing_else(private, upload, owner, api):
    signed = (await owner.post(f"/api/v2/assets/{private['id']}/sign", json={"expires_in": 60})).json()
    other = await upload(pictures.png(), "b.png", "image/png", visibility="private")
    query = signed["url"].partition("?")[2]
    expires = query.partition("&")[0]
    for address in (
        f"{other['url']}?{query}",
        f"{private['url']}/thumbnail?{query}",
        f"{private['url']}/info?{query}",
        f"{signed['url']}&download=1",
        f"{signed['url']}0",
        signed["url"].replace(expires, "expires=9999999999"),
        f"{private['url']}?{expires}",
    ):
        assert (await api.get(address)).status_code in {401, 404}, address


# Other origins


@on_one_engine
async def test_pages_of_other_origins_may_read_public_files(photo, api):
    answer = await api.get(photo["url"], headers={"Origin": "https://elsewhere.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert "ETag" in answer.headers["access-control-expose-headers"]


@on_one_engine
async def test_pages_of_other_origins_may_upload_with_a_token(api):
    headers = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = await api.options(DOOR, headers=headers)
    assert answer.status_code == 200
    assert "POST" in answer.headers["access-control-allow-methods"]


@on_one_engine
@pytest.mark.parametrize(
    ("given", "kept"), [("abc-123", True), ("x" * 65, False), ("a b", False), ("", False)]
)
async def test_a_sensible_request_id_is_kept(photo, api, given, kept):
    answer = await api.get(photo["url"], headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) is kept


@on_one_engine
@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
async def test_a_date_of_no_place_on_earth_is_passed_over(photo, api, name):
    date = "Mon, 01 Jan 2020 00:00:00 +99999999999999999999"
    answer = await api.get(photo["url"], headers={name: date, "Range": "bytes=0-1"})
    assert answer.status_code in {200, 206}


@on_one_engine
async def test_lines_of_one_header_are_one_list(photo, api):
    headers = [("If-None-Match", ETAG), ("If-None-Match", '"x"')]
    assert (await api.get(photo["url"], headers=headers)).status_code == 304


@on_one_engine
async def test_an_id_in_capitals_is_the_same(photo, owner, api):
    path = photo["url"].upper().replace("HTTP://LOCALHOST:8000/API/V2/ASSETS", "/api/v2/assets")
    assert (await api.get(path)).status_code == 200
    assert (await owner.delete(path)).status_code == 200
    assert (await api.get(photo["url"])).status_code == 404


@on_one_engine
async def test_pages_of_documents_stay_within_the_bounds(upload, api):
    paper = await upload(papers.pdf(1, 200, 2000), "a.pdf", "application/pdf")
    for query in ("width=2560", "format=png", "height=2560", "width=100&fit=fill"):
        answer = await api.get(f"{paper['url']}?{query}")
        assert max(Image.open(io.BytesIO(answer.content)).size) <= 2560
