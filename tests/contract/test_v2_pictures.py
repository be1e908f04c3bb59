"""Pictures of an asset at the size and format that an address asks for."""

import asyncio
import io

import httpx
import pytest
from PIL import Image

from mediakeep.app import create_app
from mediakeep.errors import Unavailable
from tests.samples import films, papers, pictures

DOOR = "/api/v2/upload-asset"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset."""

    async def upload(data=None, file_name="a.jpg", media_type="image/jpeg", **fields):
        data = pictures.jpeg(640, 480) if data is None else data
        answer = await owner.post(DOOR, files={"file": (file_name, data, media_type)}, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture
async def photo(upload):
    return await upload()


@pytest.fixture
def given():
    """Settings that differ from those of the other tests."""
    return {}


@pytest.fixture
def library_settings(library_settings, given):
    return library_settings.model_copy(update=given)


def seen(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


# What is asked for


@pytest.mark.parametrize(
    ("query", "size", "kind"),
    [
        ("width=320", (320, 240), "JPEG"),
        ("height=120", (160, 120), "JPEG"),
        ("width=100&height=100", (100, 75), "JPEG"),
        ("width=100&height=100&fit=cover", (100, 100), "JPEG"),
        ("width=100&height=100&fit=contain", (100, 100), "JPEG"),
        ("width=100&height=100&fit=fill", (100, 100), "JPEG"),
        ("width=1000", (640, 480), "JPEG"),
        ("width=1280&enlarge=true", (1280, 960), "JPEG"),
        ("width=100&dpr=2", (200, 150), "JPEG"),
        ("format=webp", (640, 480), "WEBP"),
        ("format=png&width=64", (64, 48), "PNG"),
        ("format=jpeg&width=64", (64, 48), "JPEG"),
        ("format=avif&width=64", (64, 48), "AVIF"),
        ("format=gif&width=64", (64, 48), "GIF"),
        ("quality=10", (640, 480), "JPEG"),
    ],
)
async def test_a_picture_has_the_size_and_format_that_is_asked_for(photo, api, query, size, kind):
    answer = await api.get(f"{photo['url']}?{query}")
    picture = seen(answer)
    assert (picture.size, picture.format) == (size, kind)
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "vary" not in answer.headers


async def test_quality_decides_how_large_it_is(photo, api):
    sizes = [len((await api.get(f"{photo['url']}?quality={quality}")).content) for quality in (10, 50, 95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2


async def test_the_older_paths_have_pictures_too(photo, api):
    path = photo["url"].replace("/api/v2", "/legacy/api/v2")
    assert seen(await api.get(f"{path}?width=32")).size == (32, 24)


async def test_a_picture_is_called_like_the_asset_and_its_size(photo, api):
    answer = await api.get(f"{photo['url']}?width=320&format=webp&download=1")
    assert answer.headers["content-disposition"] == 'attachment; filename="a-320x240.webp"'


async def test_a_picture_tells_nothing_of_where_it_was_taken(upload, api):
    asset = await upload(pictures.jpeg(64, 48, place=(52.5, 13.4, 34.0)))
    assert asset["metadata"]["location"]
    for query in ("width=32", "format=webp", "format=png", "format=avif"):
        assert not seen(await api.get(f"{asset['url']}?{query}")).getexif()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/avif,image/webp,*/*", "AVIF"),
        ("image/webp,image/*;q=0.8", "WEBP"),
        ("image/avif;q=0, image/webp", "WEBP"),
        ("*/*", "JPEG"),
        ("", "JPEG"),
        ("image/avif;q=x", "JPEG"),
    ],
)
async def test_auto_is_the_best_that_the_caller_names(photo, api, accept, kind):
    answer = await api.get(f"{photo['url']}?width=64&format=auto", headers={"Accept": accept})
    assert seen(answer).format == kind
    assert answer.headers["vary"] == "Accept"


async def test_whatever_answers_an_auto_address_varies(photo, api):
    url = f"{photo['url']}?width=64&format=auto"
    etag = (await api.get(url)).headers["etag"]
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-Match": '"x"'}, 412),
        ({"Range": "bytes=0-0"}, 206),
        ({"Range": "bytes=999999-"}, 416),
    ):
        answer = await api.get(url, headers=headers)
        assert (answer.status_code, answer.headers["vary"]) == (status, "Accept")
    refused = await api.get(f"{photo['url']}?width=64&format=auto&dpr=8&height=8000")
    assert (refused.status_code, refused.headers["vary"]) == (400, "Accept")


async def test_a_page_of_a_document_is_a_picture(upload, api):
    asset = await upload(papers.pdf(3), "a.pdf", "application/pdf")
    first = await api.get(f"{asset['url']}?width=200&format=png")
    second = await api.get(f"{asset['url']}?width=200&format=png&page=2")
    assert seen(first).width == seen(second).width == 200
    assert second.headers["content-disposition"] == 'inline; filename="a-page-2.png"'


async def test_a_frame_of_a_video_is_a_picture(upload, api):
    asset = await upload(films.video(seconds=3.0), "a.mp4", "video/mp4")
    frames = [seen(await api.get(f"{asset['url']}?t={t}&width=64&format=png")) for t in (0, 2.5)]
    assert frames[0].width == 64
    assert frames[0].tobytes() != frames[1].tobytes()


async def test_a_moving_picture_keeps_moving_unless_it_is_asked_not_to(upload, api):
    asset = await upload(pictures.gif(3), "a.gif", "image/gif")
    counts = {}
    for query in ("width=32", "width=32&format=webp", "width=32&animated=false", "width=32&format=png"):
        counts[query] = getattr(seen(await api.get(f"{asset['url']}?{query}")), "n_frames", 1)
    assert list(counts.values()) == [3, 3, 1, 1]
    moving = await api.get(f"{asset['url']}?format=auto", headers={"Accept": "image/avif,image/webp"})
    assert seen(moving).n_frames == 3


async def test_the_point_that_matters_is_what_a_crop_keeps(upload, owner, api):
    asset = await upload(pictures.jpeg(400, 200))
    colors = []
    for point in ({"x": 0.0, "y": 0.5}, {"x": 1.0, "y": 0.5}):
        changed = await owner.patch(asset["url"], json={"focalPoint": point})
        assert changed.json()["focalPoint"] == point
        cut = seen(await api.get(f"{asset['url']}?width=50&height=100&fit=cover&format=png"))
        colors.append(cut.convert("RGB").getpixel((25, 10)))
    assert colors[0] != colors[1]
    listed = (await owner.get("/api/v2/assets")).json()
    assert listed[0]["focalPoint"] == {"x": 1.0, "y": 0.5}
    cleared = await owner.patch(asset["url"], json={"focalPoint": None})
    assert cleared.json()["focalPoint"] is None


async def test_a_date_is_no_tag_of_a_picture_that_is_another_by_now(upload, owner, api):
    asset = await upload(pictures.jpeg(400, 200))
    url = f"{asset['url']}?width=50&height=100&fit=cover&format=png"
    before = await api.get(url)
    await asyncio.sleep(1.1)  # dates of HTTP know seconds only
    await owner.patch(asset["url"], json={"focalPoint": {"x": 0.9, "y": 0.9}})
    since = await api.get(url, headers={"If-Modified-Since": before.headers["last-modified"]})
    assert since.status_code == 200
    assert since.headers["etag"] != before.headers["etag"]
    part = {"If-Range": before.headers["last-modified"], "Range": "bytes=0-9"}
    assert (await api.get(url, headers=part)).status_code == 200
    same = await api.get(url, headers={"If-Modified-Since": since.headers["last-modified"]})
    assert same.status_code == 304


@pytest.mark.parametrize(
    "point", [{"x": 2, "y": 0}, {"x": 0}, {"x": "none", "y": 0}, [0, 0], {"x": 0, "y": 0, "z": 0}]
)
@on_one_engine
async def test_a_point_outside_the_picture_is_refused(photo, owner, point):
    assert (await owner.patch(photo["url"], json={"focalPoint": point})).status_code == 422


# What cannot be had


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("width=0", "width"),
        ("width=-1", "width"),
        ("width=1000000000", "width"),
        ("width=NaN", "width"),
        ("height=8193", "height"),
        ("width=", "width"),
        ("width=1e2", "width"),
        ("format=bmp", "format"),
        ("format=", "format"),
        ("quality=101", "quality"),
        ("quality=0", "quality"),
        ("fit=squeeze", "fit"),
        ("gravity=up", "gravity"),
        ("dpr=NaN", "dpr"),
        ("dpr=0", "dpr"),
        ("dpr=inf", "dpr"),
        ("blur=-1", "blur"),
        ("blur=1e999", "blur"),
        ("background=red;", "background"),
        ("background=" + "f" * 10_000, "background"),
        ("page=0", "page"),
        ("t=-1", "t"),
        ("t=NaN", "t"),
        ("animated=perhaps", "animated"),
        ("width=٣", "width"),
    ],
)
@on_one_engine
async def test_what_makes_no_sense_is_refused_and_named(photo, api, query, field):
    answer = await api.get(f"{photo['url']}?{query}")
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]


@on_one_engine
async def test_what_is_too_large_for_anybody_is_refused_with_the_bound(photo, api, owner):
    answer = await api.get(f"{photo['url']}?width=3000")
    assert (answer.status_code, answer.json()["max_side"]) == (400, 2560)
    assert "2560" in answer.json()["detail"]
    assert (await api.get(f"{photo['url']}?width=2000&dpr=2")).status_code == 400
    mine = await owner.get(f"{photo['url']}?width=3000")
    assert seen(mine).size == (640, 480)
    assert mine.headers["cache-control"] == "private, no-store"
    assert (await owner.get(f"{photo['url']}?width=8000&dpr=2")).json()["max_side"] == 8192


@on_one_engine
async def test_what_is_too_large_in_all_is_refused_with_the_bound(photo, owner):
    answer = await owner.get(f"{photo['url']}?width=8192&height=8192&fit=fill&enlarge=1")
    assert (answer.status_code, answer.json()["max_pixels"]) == (400, 40_000_000)


@on_one_engine
async def test_auto_passes_over_a_format_that_cannot_be_so_large(photo, owner, api):
    query = "width=6400&height=4800&enlarge=1"
    refused = await owner.get(f"{photo['url']}?{query}&format=avif")
    assert (refused.status_code, refused.json()["max_pixels"]) == (400, 24_000_000)
    accept = {"Accept": "image/avif"}
    found = seen(await owner.get(f"{photo['url']}?{query}&format=auto&quality=1", headers=accept))
    assert (found.format, found.size) == ("JPEG", (6400, 4800))


@on_one_engine
async def test_a_stranger_has_no_more_than_nobody(photo, stranger):
    assert (await stranger.get(f"{photo['url']}?width=3000")).status_code == 400


async def test_what_has_no_picture_is_refused_in_words(upload, api):
    sound = await upload(films.sound("wav", 1.0), "a.wav", "audio/wav")
    paper = await upload(papers.pdf(3), "a.pdf", "application/pdf")
    film = await upload(films.video(), "a.mp4", "video/mp4")
    for url, sentence in (
        (f"{sound['url']}?width=100", "Audio has no picture"),
        (f"{paper['url']}?page=4", "The document has 3 pages; there is no page 4."),
        (f"{film['url']}?t=60", "The video ends after"),
    ):
        answer = await api.get(url)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(sentence)


@on_one_engine
async def test_a_picture_of_what_became_corrupt_is_not_there(photo, api, app):
    store = app.state.library.store
    path = store.path_of(await anext(key.key async for key in store.iter_keys("files")))
    path.write_bytes(path.read_bytes()[:2000])
    answer = await api.get(f"{photo['url']}?width=100")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("There is no such picture of this asset")


# How often it is made


@pytest.mark.parametrize("given", [{"rendition_misses_per_minute": 3}])
@on_one_engine
async def test_an_address_may_have_so_many_made_in_a_minute(photo, api):
    answers = [await api.get(f"{photo['url']}?width={width}") for width in range(10, 15)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert (await api.get(f"{photo['url']}?width=10")).status_code == 200
    assert (await api.get(f"{photo['url']}/thumbnail")).status_code == 200
    assert (await api.get(photo["url"])).status_code == 200


@on_one_engine
async def test_pictures_wait_in_a_line_of_bounded_length(photo, api, app, monkeypatch):
    def full():
        raise Unavailable("Too many pictures are waiting to be made.")

    async def run(*_, **__):
        full()

    monkeypatch.setattr(app.state.library.decoders, "run", run, raising=False)
    answer = await api.get(f"{photo['url']}?width=17")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


async def test_the_same_picture_asked_for_at_once_is_the_same(photo, api):
    answers = await asyncio.gather(*(api.get(f"{photo['url']}?width=77") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["etag"] for answer in answers}) == 1


# Presets and signatures

CARD = {"rendition_presets": {"card": "width=50&height=50&fit=cover&format=webp"}}


@pytest.mark.parametrize("given", [CARD])
@on_one_engine
async def test_a_preset_is_a_picture_by_name(photo, api):
    picture = seen(await api.get(f"{photo['url']}?preset=card"))
    assert (picture.size, picture.format) == ((50, 50), "WEBP")
    unknown = await api.get(f"{photo['url']}?preset=hero")
    assert (unknown.status_code, "card" in unknown.json()["detail"]) == (404, True)
    other = seen(await api.get(f"{photo['url']}?preset=card&width=60&height=60"))
    assert (other.size, other.format) == ((60, 60), "WEBP")


@pytest.mark.parametrize("given", [{**CARD, "renditions": "presets"}])
@on_one_engine
async def test_where_only_presets_count_nothing_else_is_made(photo, api, owner):
    assert seen(await api.get(f"{photo['url']}?preset=card")).size == (50, 50)
    for query in ("width=10", "preset=card&width=10", "format=webp"):
        assert (await owner.get(f"{photo['url']}?{query}")).status_code == 403
    assert (await api.get(photo["url"])).status_code == 200


@pytest.mark.parametrize("given", [{**CARD, "renditions": "signed"}])
@on_one_engine
async def test_where_pictures_are_signed_nobody_makes_up_his_own(photo, api, owner, stranger):
    for caller in (api, stranger):
        assert (await caller.get(f"{photo['url']}?width=10")).status_code == 403
    assert seen(await api.get(f"{photo['url']}?preset=card")).size == (50, 50)
    assert seen(await owner.get(f"{photo['url']}?width=10")).width == 10
    signed = await owner.post(
        f"{photo['url']}/sign", json={"expires_in": 60, "parameters": {"width": 20, "animated": False}}
    )
    url = signed.json()["url"]
    assert seen(await api.get(url)).width == 20
    assert (await api.get(url.replace("width=20", "width=21"))).status_code == 404


async def test_any_one_character_makes_a_signature_worthless(upload, owner, api):
    asset = await upload(visibility="private")
    parameters = {"expires_in": 60, "parameters": {"width": 3000, "download": "1"}}
    url = (await owner.post(f"{asset['url']}/sign", json=parameters)).json()["url"]
    answer = await api.get(url)
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"] == "private, no-store"
    assert (await api.head(url)).status_code == 200
    path, _, query = url.partition("?")
    for place in range(len(query)):
        other = "A" if query[place] != "A" else "B"
        changed = await api.get(f"{path}?{query[:place]}{other}{query[place + 1 :]}")
        assert changed.status_code == 404, (place, query[place])
    for method in ("DELETE", "PATCH"):
        assert (await api.request(method, url, json={})).status_code == 401


@pytest.mark.parametrize("parameters", [{"width": 0}, {"colour": "red"}, {"expires": "9"}, {"width": [1]}])
@on_one_engine
async def test_what_makes_no_sense_is_not_signed(photo, owner, parameters):
    answer = await owner.post(f"{photo['url']}/sign", json={"expires_in": 60, "parameters": parameters})
    assert answer.status_code == 422


@pytest.mark.parametrize("given", [CARD, {**CARD, "renditions": "presets"}])
@on_one_engine
async def test_a_preset_is_signed_if_there_is_one_of_the_name(upload, owner, api):
    asset = await upload(visibility="private")
    for parameters in ({"preset": "hero"}, {"preset": "hero", "width": 10}, {"preset": ""}):
        answer = await owner.post(f"{asset['url']}/sign", json={"expires_in": 60, "parameters": parameters})
        assert answer.status_code == 422, parameters
        assert answer.json()["detail"] == "There is no preset of this name. There are: card."
        assert answer.json()["errors"][0]["field"] == "parameters"
    for parameters in ({"preset": "card"}, {"preset": "card", "download": "1"}):
        signed = await owner.post(f"{asset['url']}/sign", json={"expires_in": 60, "parameters": parameters})
        assert seen(await api.get(signed.json()["url"])).size == (50, 50)


@pytest.mark.parametrize("given", [{**CARD, "renditions": "presets"}])
@on_one_engine
async def test_where_only_presets_count_nothing_else_is_signed(upload, owner, api):
    asset = await upload(visibility="private")
    for parameters in ({"width": 10}, {"preset": "card", "width": 10}, {"format": "webp"}):
        answer = await owner.post(f"{asset['url']}/sign", json={"expires_in": 60, "parameters": parameters})
        assert answer.status_code == 422, parameters
        sentence = "Only presets may be asked for here, such as ?preset=name and nothing else."
        assert answer.json()["detail"] == sentence
    for parameters in ({}, {"download": "1"}):
        signed = await owner.post(f"{asset['url']}/sign", json={"expires_in": 60, "parameters": parameters})
        assert (await api.get(signed.json()["url"])).status_code == 200


@on_one_engine
async def test_what_the_key_before_has_signed_stays_good(upload, owner, app):
    asset = await upload(visibility="private")
    url = (await owner.post(f"{asset['url']}/sign", json={"expires_in": 60})).json()["url"]
    old = app.state.settings.secret_key
    new = {"secret_key": type(old)("another key, of at least 32 characters"), "embedded_worker": False}
    for given, status in (({"previous_secret_key": old}, 200), ({}, 404)):
        other = create_app(app.state.settings.model_copy(update={**new, **given}))
        async with other.router.lifespan_context(other):
            transport = httpx.ASGITransport(app=other)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
                assert (await client.get(url)).status_code == status
                token = owner.headers["Authorization"]
                mine = await client.get(f"{asset['url']}/info", headers={"Authorization": token})
                assert mine.status_code == (200 if status == 200 else 401)
