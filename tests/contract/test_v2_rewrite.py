"""Images that are written anew at upload, as clients see it."""

import hashlib
import io

import pytest
from PIL import Image

from tests.samples import films, papers, pictures

DOOR = "/api/v2/upload-asset"
PLACE = (48.2, 16.37, 171.0)

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
def given():
    """Settings that differ from those of the other tests."""
    return {"upload_max_side": 100}


@pytest.fixture
def library_settings(library_settings, given):
    return library_settings.model_copy(update=given)


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset."""

    async def upload(data=None, file_name="a.jpg", client=None, key=None, **fields):
        data = pictures.jpeg(camera=True, place=PLACE) if data is None else data
        headers = {"Idempotency-Key": key} if key else {}
        files = {"file": (file_name, data)}
        answer = await (client or owner).post(DOOR, files=files, data=fields, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture
def keys(app):
    """The originals in the store."""

    async def keys():
        return [one.key async for one in app.state.library.store.iter_keys("files")]

    return keys


@pytest.fixture
def scratch(app):
    return lambda: list(app.state.library.store.scratch.iterdir())


@pytest.mark.parametrize("given", [{}], ids=["not asked for"])
async def test_without_the_settings_bytes_are_served_as_they_were_sent(upload, api):
    data = pictures.jpeg(640, 480, orientation=6, camera=True, place=PLACE)
    asset = await upload(data)
    assert (await api.get(asset["url"])).content == data
    assert asset["size"] == len(data)


async def test_the_asset_tells_what_is_served(upload, api, owner, scratch):
    asset = await upload(pictures.jpeg(640, 480, orientation=6))
    assert (asset["width"], asset["height"], asset["format"]) == (100, 75, "jpg")
    answer = await api.get(asset["url"])
    assert Image.open(io.BytesIO(answer.content)).size == (100, 75)
    assert asset["size"] == len(answer.content) == int(answer.headers["content-length"])
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert (await owner.get(f"{asset['url']}/info")).json() == asset
    assert scratch() == []


@on_one_engine
@pytest.mark.parametrize("given", [{"upload_format": "webp"}], ids=["webp"])
async def test_another_format_is_what_everybody_is_told(upload, api, owner):
    asset = await upload(pictures.png(), "a.png")
    assert asset["format"] == "webp"
    answer = await api.get(asset["url"])
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["content-disposition"] == 'inline; filename="a.png.webp"'
    assert Image.open(io.BytesIO(answer.content)).format == "WEBP"
    (listed,) = (await owner.get("/legacy/api/v2/assets")).json()["assets"]
    assert (listed["file_type"], listed["size_bytes"]) == ("image/webp", len(answer.content))


@on_one_engine
@pytest.mark.parametrize("given", [{"upload_format": "avif"}], ids=["avif"])
async def test_it_may_be_written_in_a_format_that_is_not_taken(upload, app):
    assert "avif" not in app.state.library.settings.allowed_types
    assert (await upload())["format"] == "avif"


@on_one_engine
async def test_the_older_dialect_does_the_same(owner, api):
    answer = await owner.post(f"/legacy{DOOR}", files={"file": ("a.jpg", pictures.jpeg(640, 480))})
    uploaded = answer.json()
    body = (await api.get(uploaded["url"])).content
    assert uploaded["size_bytes"] == len(body)
    assert Image.open(io.BytesIO(body)).size == (100, 75)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.gif", pictures.gif(3, 320, 240)),
        ("a.webp", pictures.webp(3)),
        ("a.mp4", films.video("mp4", 2.0)),
        ("a.mp3", films.sound("mp3")),
        ("a.pdf", papers.pdf()),
        ("a.jpg", pictures.jpeg(100, 75, camera=True, place=PLACE)),
    ],
    ids=["gif", "webp", "video", "sound", "pdf", "small"],
)
async def test_the_rest_is_served_as_it_was_sent(upload, api, name, data):
    assert (await api.get((await upload(data, name))["url"])).content == data


async def test_pictures_and_thumbnail_are_of_what_is_served(upload, api):
    asset = await upload(pictures.jpeg(640, 480, orientation=8))
    for address in (asset["thumbnailUrl"], f"{asset['url']}?width=500"):
        assert Image.open(io.BytesIO((await api.get(address)).content)).size == (100, 75)


async def test_the_owner_keeps_what_the_camera_told_and_nobody_else_learns_where(upload, owner, admin, api):
    asset = await upload()
    info = (await owner.get(f"{asset['url']}/info")).json()["metadata"]
    assert info["location"]["latitude"] == pytest.approx(48.2, abs=1e-3)
    assert (info["camera_model"], info["iso"]) == ("Tester 1", 400)
    assert "location" not in (await admin.get(f"{asset['url']}/info")).json()["metadata"]
    body = (await api.get(asset["url"])).content
    assert not Image.open(io.BytesIO(body)).getexif()
    assert b"Tester" not in body


@on_one_engine
async def test_whoever_uploads_what_they_were_served_does_not_learn_where_it_was_taken(upload, api, stranger):
    body = (await api.get((await upload())["url"])).content
    theirs = await upload(body, client=stranger)
    assert "location" not in theirs["metadata"]
    assert "camera_model" not in theirs["metadata"]


@on_one_engine
async def test_a_copy_without_a_place_does_not_hide_the_place_of_another(upload):
    await upload(pictures.jpeg())
    assert "location" in (await upload())["metadata"]


# Several times


async def test_the_same_original_twice_is_two_assets_of_one_file(upload, keys, owner, api):
    first, second = await upload(), await upload()
    assert first["id"] != second["id"]
    assert len(await keys()) == 1
    await owner.delete(first["url"])
    assert (await api.get(second["url"])).status_code == 200


async def test_a_key_gives_the_same_answer_and_one_asset(upload, owner, keys, scratch):
    first, second = await upload(key="k1"), await upload(key="k1")
    assert first == second
    assert len((await owner.get("/api/v2/assets")).json()) == 1
    assert len(await keys()) == 1
    assert scratch() == []


@on_one_engine
async def test_a_key_is_of_what_was_sent_not_of_what_was_made_of_it(upload, owner):
    """Two originals that become the same bytes are two requests."""
    await upload(pictures.jpeg(), key="k1")
    answer = await owner.post(
        DOOR,
        files={"file": ("a.jpg", pictures.jpeg(camera=True, place=PLACE))},
        headers={"Idempotency-Key": "k1"},
    )
    assert answer.status_code == 422


# Refusals


@pytest.mark.parametrize("given", [{"upload_max_side": 100, "upload_format": "webp"}], ids=["both"])
@pytest.mark.parametrize(
    ("name", "data"),
    [("a.jpg", pictures.jpeg()[:3000]), ("a.png", pictures.png()[:2000])],
    ids=["jpg", "png"],
)
async def test_a_damaged_image_is_refused_and_nothing_of_it_stays(owner, keys, scratch, name, data):
    answer = await owner.post(DOOR, files={"file": (name, data)})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await keys(), scratch()) == ([], [])


@on_one_engine
@pytest.mark.parametrize(
    "given",
    [{"upload_max_side": 100, "max_upload_bytes": len(pictures.png(640, 480)) - 1}],
    ids=["a byte less"],
)
async def test_the_limit_is_for_what_is_sent(owner, keys):
    answer = await owner.post(DOOR, files={"file": ("a.png", pictures.png(640, 480))})
    assert (answer.status_code, await keys()) == (400, [])


async def test_an_upload_to_a_collection_that_is_not_there_leaves_nothing(owner, keys, scratch):
    answer = await owner.post(DOOR, files={"file": ("a.jpg", pictures.jpeg())}, data={"clientId": "nonsense"})
    assert answer.status_code == 404
    assert (await keys(), scratch()) == ([], [])
