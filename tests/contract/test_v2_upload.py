"""What an upload to `/api/v2` answers, and what it keeps."""

import re
import uuid

import pytest

from mediakeep.collections.models import Campaign, Client, Persona, Project
from tests.samples import films, papers, pictures

DOOR = "/api/v2/upload-asset"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)

BASE = {
    "id", "userId", "clientId", "campaignId", "personaId", "projectId", "name", "description", "url", "size",
    "uploadedAt", "updatedAt", "tags", "metadata", "visibility", "focalPoint", "format", "type", "thumbnailUrl",
}  # fmt: skip


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset."""

    async def upload(data, file_name="a.jpg", media_type="image/jpeg", **fields):
        answer = await owner.post(DOOR, files={"file": (file_name, data, media_type)}, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture
async def me(owner):
    return (await owner.get("/api/v2/auth/me")).json()["id"]


@pytest.fixture
async def collections(app, me):
    """One collection of each kind that belongs to the owner: its fields of an upload."""
    ids = {name: str(uuid.uuid4()) for name in ("clientId", "campaignId", "projectId")}
    async with app.state.library.database.write() as session:
        session.add(Client(public_id=ids["clientId"], owner_id=me, name="Client"))
        session.add(Campaign(public_id=ids["campaignId"], owner_id=me, name="Campaign"))
        session.add(Project(public_id=ids["projectId"], owner_id=me, name="Project"))
        persona = Persona(owner_id=me, name="Persona")
        session.add(persona)
        await session.flush()
        ids["personaId"] = persona.id
    return ids


@pytest.mark.parametrize(
    ("data", "name", "media_type", "kind", "own"),
    [
        (pictures.jpeg(), "a.jpg", "image/jpeg", "image", {"width", "height"}),
        (films.video("mp4"), "a.mp4", "video/mp4", "video", {"width", "height", "duration"}),
        (films.sound("mp3"), "a.mp3", "audio/mpeg", "audio", {"duration", "waveformUrl"}),
        (papers.pdf(), "a.pdf", "application/pdf", "document", {"pageCount"}),
    ],
    ids=["image", "video", "audio", "document"],
)
async def test_an_asset_has_the_fields_of_its_type_and_no_others(upload, data, name, media_type, kind, own):
    asset = await upload(data, name, media_type)
    assert asset["type"] == kind
    assert set(asset) == BASE | own


async def test_an_upload_answers_with_all_that_is_known(upload, me):
    asset = await upload(pictures.png(200, 100), "logo.png", "image/png")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", asset["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", asset["uploadedAt"])
    assert asset["url"] == f"http://localhost:8000/api/v2/assets/{asset['id']}"
    assert asset["thumbnailUrl"] == f"{asset['url']}/thumbnail"
    expected = {
        "userId": me,
        "clientId": None,
        "campaignId": None,
        "personaId": None,
        "projectId": None,
        "name": "logo.png",
        "description": "",
        "size": len(pictures.png(200, 100)),
        "tags": None,
        "visibility": "public",
        "focalPoint": None,
        "type": "image",
        "format": "png",
        "width": 200,
        "height": 100,
    }
    assert {name: asset[name] for name in expected} == expected


async def test_an_upload_says_where_the_asset_is(owner):
    answer = await owner.post(DOOR, files={"file": ("a.jpg", pictures.jpeg(), "image/jpeg")})
    assert answer.headers["location"] == answer.json()["url"]


async def test_what_is_read_later_is_what_the_upload_answered(upload, owner, collections):
    asset = await upload(pictures.jpeg(), tags="b, a", name="Hero", visibility="private", **collections)
    assert (await owner.get(f"/api/v2/assets/{asset['id']}/info")).json() == asset
    assert (await owner.get("/api/v2/assets")).json() == [asset]


async def test_an_upload_belongs_to_the_collections_that_it_names(upload, collections):
    asset = await upload(pictures.jpeg(), **collections)
    assert {name: asset[name] for name in collections} == collections


@on_one_engine
@pytest.mark.parametrize(
    ("given", "tags"),
    [
        ('["a", "b c"]', ["a", "b c"]),
        ("a, b c", ["a", "b c"]),
        (["a", "b c"], ["a", "b c"]),
        (['["a"]', "b c,d"], ["a", "b c", "d"]),
        (" Hero ,hero,HERO", ["Hero"]),
        ("Grüße,日本", ["Grüße", "日本"]),
        ("", None),
        ("[]", None),
        (" , ", None),
    ],
    ids=range(9),
)
async def test_tags_come_as_json_or_as_words(upload, given, tags):
    assert (await upload(pictures.jpeg(), tags=given))["tags"] == tags


@on_one_engine
async def test_a_name_of_its_own_takes_the_place_of_the_file_s(upload):
    assert (await upload(pictures.jpeg(), "logo.jpg", name="Company Logo"))["name"] == "Company Logo"


@on_one_engine
async def test_an_empty_name_is_none(upload):
    assert (await upload(pictures.jpeg(), "logo.jpg", name="  "))["name"] == "logo.jpg"


@on_one_engine
async def test_fields_may_come_before_or_after_the_file(owner):
    def part(head, data):
        return b"--b\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head, data)

    file, name = part(b'name="file"; filename="a.jpg"', pictures.jpeg()), part(b'name="name"', b"Hero")
    for body in (file + name, name + file):
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await owner.post(DOOR, content=body + b"--b--\r\n", headers=headers)
        assert answer.json()["name"] == "Hero"


@on_one_engine
@pytest.mark.parametrize("size", [1, 3, 7, 64, 4095, 4096, 4097])
async def test_a_body_may_arrive_in_pieces_of_any_size(owner, size):
    data = pictures.jpeg(64, 48)
    request = owner.build_request(
        "POST", DOOR, files={"file": ("a.jpg", data, "image/jpeg")}, data={"name": "x"}
    )
    body = request.read()

    async def pieces():
        for start in range(0, len(body), size):
            yield body[start : start + size]

    headers = {"Content-Type": request.headers["content-type"]}
    asset = (await owner.post(DOOR, content=pieces(), headers=headers)).json()
    assert (await owner.get(asset["url"])).content == data
    assert asset["name"] == "x"


async def test_the_same_content_is_kept_once(upload, app):
    first, second = await upload(pictures.jpeg(), "a.jpg"), await upload(pictures.jpeg(), "b.jpg")
    assert first["id"] != second["id"]
    assert len([one async for one in app.state.library.store.iter_keys("files")]) == 1


async def test_an_upload_leaves_no_temporary_file(upload, app):
    await upload(pictures.jpeg())
    await upload(pictures.jpeg())
    await upload(films.sound("wav"), "a.wav", "audio/wav")
    assert list(app.state.library.store.scratch.iterdir()) == []


@on_one_engine
async def test_sound_in_a_video_container_is_audio(upload):
    asset = await upload(films.sound("mp4"), "voice.mp4", "video/mp4")
    assert (asset["type"], asset["duration"]) == ("audio", 2)


@on_one_engine
@pytest.mark.parametrize(("seconds", "duration"), [(1.4, 1), (1.5, 2), (0.3, 0)])
async def test_a_duration_is_rounded_half_up_and_kept_exactly(upload, seconds, duration):
    asset = await upload(films.sound("wav", seconds), "a.wav", "audio/wav")
    assert asset["duration"] == duration
    assert asset["metadata"]["duration_seconds"] == pytest.approx(seconds, abs=0.001)


@on_one_engine
async def test_bytes_after_the_end_of_a_picture_are_kept(upload, owner):
    data = pictures.jpeg() + b"and more"
    asset = await upload(data)
    assert (await owner.get(asset["url"])).content == data


@on_one_engine
async def test_an_upload_may_be_private(upload, api):
    asset = await upload(pictures.jpeg(), visibility="private")
    assert asset["visibility"] == "private"
    assert (await api.get(asset["url"])).status_code == 404
