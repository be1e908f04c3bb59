"""`/media`: the images and videos of personas, as document 003 and the contract's section 4 have them."""

import asyncio
import dataclasses
import hashlib
import re

import pytest

from mediakeep import features
from mediakeep.assets import persona_media
from mediakeep.files.receive import HEAD_BYTES
from mediakeep.media.formats import get_format
from mediakeep.tasks.worker import drain
from tests.samples import films, hostile, papers, pictures

assert features.task_modules

MIB = 1 << 20

MEMBERS = {
    "id", "filename", "original_filename", "file_size", "mime_type", "media_type", "persona_id", "user_id",
    "description", "created_at", "updated_at",
}  # fmt: skip

STATS = {
    "total_files", "total_images", "total_videos", "total_size_bytes", "total_size_mb", "files_per_persona",
}  # fmt: skip

IMAGE_TYPES = "image/jpeg, image/png, image/gif, image/webp, image/bmp, image/tiff"
VIDEO_TYPES = "video/mp4, video/avi, video/mov, video/wmv, video/flv, video/webm, video/mkv, video/3gp"
NO_IMAGE = f"Invalid image type. Allowed types: {IMAGE_TYPES}"
NO_VIDEO = f"Invalid video type. Allowed types: {VIDEO_TYPES}"

IMAGES = {
    "jpg": pictures.jpeg(),
    "png": pictures.png(),
    "gif": pictures.gif(),
    "webp": pictures.webp(),
    "bmp": pictures.bmp(),
    "tiff": pictures.tiff(),
}

#: What 003 and the world call each container.
VIDEOS = {
    "mp4": ("video/mp4", "video/x-m4v"),
    "avi": ("video/avi", "video/x-msvideo"),
    "mov": ("video/mov", "video/quicktime"),
    "wmv": ("video/wmv", "video/x-ms-wmv"),
    "flv": ("video/flv", "video/x-flv"),
    "webm": ("video/webm", "video/webm"),
    "mkv": ("video/mkv", "video/x-matroska"),
    "3gp": ("video/3gp", "video/3gpp"),
}

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
async def persona(owner):
    """The id of one of the owner's."""
    return (await owner.post("/personas", json={"name": "Ada"})).json()["id"]


@pytest.fixture
def send(owner, persona):
    """Uploads a file; returns the answer."""

    async def send(data, file_name="a.png", media_type="image/png", *, to=None, key=None, **fields):
        files = {"file": (file_name, data, media_type)}
        headers = {"Idempotency-Key": key} if key else {}
        return await owner.post(f"/media/upload/{to or persona}", files=files, data=fields, headers=headers)

    return send


@pytest.fixture
def upload(send):
    """Uploads a file; returns the media file."""

    async def upload(*args, **fields):
        answer = await send(*args, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture
def limits(app):
    """Changes the settings of the running server."""

    def limits(**changes):
        library = app.state.library
        settings = library.settings.model_copy(update=changes)
        app.state.library = dataclasses.replace(library, settings=settings)

    return limits


@pytest.fixture
def nothing_is_left(app, owner):
    """Checks that the last request left neither a file nor a row behind."""

    async def check():
        store = app.state.library.store
        assert list(store.scratch.iterdir()) == []
        assert [one async for one in store.iter_keys("files")] == []
        assert (await owner.get("/media/files")).json() == []

    return check


def refused(answer, status, detail):
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def bitmap(size):
    """A bitmap of so many bytes: decoders take what follows its pixels for nothing."""
    return pictures.bmp().ljust(size, b"\0")


def film(size):
    """A Matroska film of so many bytes, the rest of which is a void element."""
    data = films.video("mkv")
    return data + b"\xec" + (size - len(data) - 9 | 1 << 56).to_bytes(8) + bytes(size - len(data) - 9)


# Upload


async def test_an_upload_answers_with_the_members_of_003(owner, send, persona):
    me = (await owner.get("/api/v2/auth/me")).json()["id"]
    answer = await send(pictures.png(), "my-image.png", description="My image description")
    assert answer.status_code == 201
    shown = answer.json()
    assert set(shown) == MEMBERS
    assert answer.headers["location"] == f"http://localhost:8000/media/files/{shown['id']}"
    assert answer.headers["ratelimit-limit"] == "600"
    for name in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", shown.pop(name))
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.png", shown.pop("filename"))
    assert isinstance(shown.pop("id"), int)
    assert shown == {
        "original_filename": "my-image.png",
        "file_size": len(pictures.png()),
        "mime_type": "image/png",
        "media_type": "image",
        "persona_id": persona,
        "user_id": me,
        "description": "My image description",
    }


@on_one_engine
async def test_a_file_without_description_has_none(upload):
    assert (await upload(pictures.png()))["description"] is None
    assert (await upload(pictures.png(), description=""))["description"] is None


@pytest.mark.parametrize("name", IMAGES)
async def test_every_kind_of_image_is_taken(owner, upload, name):
    media_type = get_format(name).media_type
    shown = await upload(IMAGES[name], f"a.{name}", media_type)
    assert (shown["media_type"], shown["mime_type"]) == ("image", media_type)
    assert shown["filename"].endswith(f".{name}")
    assert (await owner.get(f"/media/download/{shown['id']}")).content == IMAGES[name]


@pytest.mark.parametrize("name", VIDEOS)
async def test_every_container_is_taken_by_its_names(owner, upload, name):
    data = films.video(name, seconds=0.5)
    for media_type in VIDEOS[name]:
        shown = await upload(data, f"a.{name}", media_type)
        assert (shown["media_type"], shown["mime_type"]) == ("video", get_format(name).media_type)
        assert shown["filename"].endswith(f".{name}")
    assert (await owner.get(f"/media/download/{shown['id']}")).content == data


@on_one_engine
@pytest.mark.parametrize("name", [*IMAGES, *VIDEOS])
async def test_a_file_may_claim_nothing(upload, name):
    data = IMAGES.get(name) or films.video(name, seconds=0.5)
    shown = await upload(data, "file", "application/octet-stream")
    assert shown["mime_type"] == get_format(name).media_type


@on_one_engine
async def test_image_jpg_is_a_name_of_jpeg(upload):
    assert (await upload(pictures.jpeg(), "a.jpeg", "image/jpg"))["mime_type"] == "image/jpeg"


async def test_ids_are_never_used_again(app, owner, upload):
    first = await upload(pictures.png())
    await owner.delete(f"/media/files/{first['id']}")
    await drain(app.state.library)
    assert (await upload(pictures.png()))["id"] > first["id"]


async def test_an_upload_is_private_through_every_door(api, owner, stranger, upload, persona):
    shown = await upload(pictures.png(), visibility="public")
    public_id = shown["filename"].partition(".")[0]
    for client, status in ((api, 404), (stranger, 404), (owner, 200)):
        for suffix in ("", "/thumbnail"):
            assert (await client.get(f"/api/v2/assets/{public_id}{suffix}")).status_code == status
    asset = (await owner.get(f"/api/v2/assets/{public_id}/info")).json()
    assert (asset["visibility"], asset["personaId"]) == ("private", persona)
    assert asset["name"] == "a.png"


async def test_what_is_sent_twice_under_one_key_is_stored_once(owner, send, persona):
    first, second = await send(pictures.png(), key="k"), await send(pictures.png(), key="k")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len((await owner.get("/media/files")).json()) == 1
    other = await send(pictures.png(), key="k", description="other")
    refused(other, 422, "This key was used for another request.")
    await owner.delete(f"/personas/{persona}")
    assert (await send(pictures.png(), key="k")).json() == first.json()
    refused(await send(pictures.png(), key="new"), 404, f"Persona {persona} not found")


@on_one_engine
async def test_the_other_doors_have_a_limit_of_their_own(owner, send, limits):
    limits(other_uploads_per_minute=2, uploads_per_minute=1)
    answers = [await send(pictures.png()) for _ in range(3)]
    assert [one.status_code for one in answers] == [201, 201, 429]
    assert [one.headers["ratelimit-remaining"] for one in answers] == ["1", "0", "0"]
    refused(answers[2], 429, "Too many requests")
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60
    files = {"file": ("a.png", pictures.png(), "image/png")}
    assert (await owner.post("/api/v2/upload-asset", files=files)).status_code == 201


@on_one_engine
async def test_a_key_with_a_limit_of_its_own_has_it_at_every_door(app, owner, admin, api, limits):
    limits(uploads_per_minute=10)
    body = {"name": "k", "uploads_per_minute": 2}
    key = (await admin.post("/api/v2/auth/keys", json=body)).json()["key"]
    headers = {"X-API-Key": key}
    made = (await admin.post("/personas", json={"name": "Bea"})).json()["id"]
    files = {"file": ("a.png", pictures.png(), "image/png")}
    doors = [f"/media/upload/{made}", "/api/v2/upload-asset", f"/media/upload/{made}"]
    answers = [await api.post(door, files=files, headers=headers) for door in doors]
    assert [one.status_code for one in answers] == [201, 201, 429]


# What is refused


@on_one_engine
@pytest.mark.parametrize(
    ("data", "name", "media_type", "detail"),
    [
        (pictures.avif(), "a.avif", "image/avif", NO_IMAGE),
        (pictures.heic(), "a.heic", "image/heic", NO_IMAGE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "image/svg+xml", NO_IMAGE),
        (b"not a picture", "a.png", "image/png", NO_IMAGE),
        (b"\x80\x81\x82" * 99, "a.jpg", "image/jpeg", NO_IMAGE),
        (b"\x80\x81\x82" * 99, "a.jpg", None, NO_IMAGE),
        (b"not a film", "a.mp4", "video/mp4", NO_VIDEO),
        (b"OggS\0" + b"\x80theora" * 9, "a.ogv", "video/ogg", NO_VIDEO),
        (b"G" + b"\0" * 187 + b"G" + b"\0" * 187, "a.ts", "video/mp2t", NO_VIDEO),
        (films.sound("mp3"), "a.mp3", "audio/mpeg", "Invalid file type"),
        (films.sound("mp3"), "a.mp4", "video/mp4", "Invalid file type"),
        (films.sound("mp4"), "a.mp4", "video/mp4", "Invalid file type"),
        (papers.pdf(), "a.pdf", "application/pdf", "Invalid file type"),
        (papers.pdf(), "a.png", "image/png", "Invalid file type"),
        (b"text", "a.txt", "text/plain", "Invalid file type"),
        (b"PK\3\4" + bytes(99), "a.zip", "application/zip", "Invalid file type"),
        (b"\x80\x81\x82" * 99, "a", None, "Invalid file type"),
    ],
    ids=range(17),
)
async def test_other_types_are_refused_in_the_words_of_their_family(
    send, nothing_is_left, data, name, media_type, detail
):
    refused(await send(data, name, media_type), 400, detail)
    await nothing_is_left()


@on_one_engine
@pytest.mark.parametrize(
    ("name", "media_type", "claim"),
    [("a.png", "image/jpeg", "image/jpeg"), ("a.mp4", "image/png", "video/mp4"), ("a.png", "x", "x")],
)
async def test_a_file_that_is_not_what_it_says_is_refused(send, nothing_is_left, name, media_type, claim):
    answer = await send(pictures.png(), name, media_type)
    detail = f"Invalid file type: the content is image/png, but the upload says {claim}."
    refused(answer, 400, detail)
    await nothing_is_left()


@on_one_engine
@pytest.mark.parametrize(
    ("data", "name"),
    [
        (pictures.jpeg()[:1000], "a.jpg"),
        (pictures.png()[:1000], "a.png"),
        (pictures.tiff()[:200], "a.tiff"),
        (films.video("mp4")[:900], "a.mp4"),
        (films.video("mkv")[:300], "a.mkv"),
        (films.video("flv")[:40], "a.flv"),
        (hostile.png_bomb(), "a.png"),
        (b"", "a.png"),
    ],
    ids=["jpg", "png", "tiff", "mp4", "mkv", "flv", "bomb", "empty"],
)
async def test_a_damaged_file_is_refused_in_plain_words(send, nothing_is_left, data, name):
    answer = await send(data, name, None)
    assert answer.status_code == 400
    assert answer.json()["detail"].endswith(".")
    await nothing_is_left()


@on_one_engine
async def test_a_form_without_one_file_is_refused(owner, persona, nothing_is_left):
    path = f"/media/upload/{persona}"
    picture = ("a.png", pictures.png(), "image/png")
    refused(await owner.post(path, data={"description": "x"}), 422, "The body must be multipart/form-data with a part named 'file'.")  # fmt: skip
    refused(await owner.post(path, json={}), 422, "The body must be multipart/form-data with a part named 'file'.")  # fmt: skip
    refused(await owner.post(path, files={"description": (None, "x")}), 422, "The form has no file part named 'file'.")  # fmt: skip
    refused(await owner.post(path, files={"image": picture}), 422, "The file part must be named 'file'.")
    two = [("file", picture), ("file", picture)]
    refused(await owner.post(path, files=two), 422, "The form must have exactly one file part.")
    await nothing_is_left()


@on_one_engine
@pytest.mark.parametrize("description", ["x" * 10_001, "x" * 70_000, "a\0b", "\x1b[2J"])
async def test_a_description_that_makes_no_sense_is_refused(send, nothing_is_left, description):
    answer = await send(pictures.png(), description=description)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "description")
    await nothing_is_left()


@pytest.mark.parametrize("given", ["0", "-1", "999999", "9" * 15, "9" * 19, "9" * 90])
async def test_a_persona_that_is_not_there_is_told_as_it_was_given(send, nothing_is_left, given):
    refused(await send(pictures.png(), to=given), 404, f"Persona {given} not found")
    await nothing_is_left()


@on_one_engine
@pytest.mark.parametrize("given", ["ada", "1.5", "+1", "%20"])
async def test_a_persona_that_is_no_number_is_refused(send, given):
    refused(await send(pictures.png(), to=given), 422, "persona_id: Input should be a valid integer")


async def test_nobody_uploads_to_somebody_elses_persona(stranger, admin, persona, nothing_is_left):
    files = {"file": ("a.png", pictures.png(), "image/png")}
    for client in (stranger, admin):
        answer = await client.post(f"/media/upload/{persona}", files=files)
        refused(answer, 404, f"Persona {persona} not found")
    await nothing_is_left()


async def test_a_persona_that_is_deleted_meanwhile_takes_nothing(owner, persona, nothing_is_left):
    """Its bytes are on their way when it goes."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'

    async def chunks():
        yield head + pictures.png()[:100]
        assert (await owner.delete(f"/personas/{persona}")).status_code == 204
        yield pictures.png()[100:] + b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await owner.post(f"/media/upload/{persona}", content=chunks(), headers=headers)
    refused(answer, 404, f"Persona {persona} not found")
    await nothing_is_left()


# Limits


@on_one_engine
async def test_ten_megabytes_are_the_limit_of_an_image(send, nothing_is_left):
    refused(
        await send(bitmap(10 * MIB + 1), "a.bmp", "image/bmp"),
        413,
        "Image file too large. Maximum size is 10MB",
    )
    await nothing_is_left()
    answer = await send(bitmap(10 * MIB), "a.bmp", "image/bmp")
    assert (answer.status_code, answer.json()["file_size"]) == (201, 10 * MIB)


@on_one_engine
async def test_fifty_megabytes_are_the_limit_of_a_video(send, nothing_is_left):
    refused(
        await send(film(50 * MIB + 1), "a.mkv", "video/mkv"),
        413,
        "Video file too large. Maximum size is 50MB",
    )
    await nothing_is_left()
    answer = await send(film(50 * MIB), "a.mkv", "video/mkv")
    assert (answer.status_code, answer.json()["file_size"]) == (201, 50 * MIB)


@on_one_engine
@pytest.mark.parametrize(
    ("changes", "image", "video"),
    [
        ({"media_max_bytes": MIB}, "1MB", "1MB"),
        ({"media_max_bytes": 2 * MIB, "media_max_image_bytes": MIB * 3 // 2}, "1.5MB", "2MB"),
        ({"media_max_video_bytes": MIB, "media_max_image_bytes": 2 * MIB}, "2MB", "1MB"),
    ],
)
async def test_the_smaller_limit_binds_and_is_named(send, limits, changes, image, video):
    limits(**changes)
    most_image, most_video = (int(float(one[:-2]) * MIB) for one in (image, video))
    answer = await send(bitmap(most_image + 1), "a.bmp", "image/bmp")
    refused(answer, 413, f"Image file too large. Maximum size is {image}")
    answer = await send(film(most_video + 1), "a.mkv", "video/mkv")
    refused(answer, 413, f"Video file too large. Maximum size is {video}")
    assert (await send(bitmap(most_image), "a.bmp", "image/bmp")).status_code == 201
    assert (await send(film(most_video), "a.mkv", "video/mkv")).status_code == 201


@on_one_engine
async def test_a_limit_below_what_is_looked_at_first_binds_too(send, limits):
    limits(media_max_image_bytes=100)
    small = pictures.gif(1, 8, 8)
    assert 100 < len(small) < HEAD_BYTES < len(pictures.png())
    for data in (small, pictures.png()):
        answer = await send(data, "a", None)
        refused(answer, 413, "Image file too large. Maximum size is 9.53674e-05MB")


class Sending:
    """A body that is sent in pieces, and notes how much of it was asked for."""

    def __init__(self, data, declared=None):
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        self.body = head + data + b"\r\n--b--\r\n"
        self.sent = 0
        self.headers = {"Content-Type": "multipart/form-data; boundary=b"}
        if declared:
            self.headers["Content-Length"] = str(len(self.body))

    async def pieces(self):
        for start in range(0, len(self.body), 65_536):
            piece = self.body[start : start + 65_536]
            self.sent += len(piece)
            yield piece


@pytest.fixture
def stream(owner, persona, monkeypatch):
    """Sends a body in pieces; returns the answer and how many bytes of it were read before that."""

    # What comes after an answer is read and thrown away; here that is not counted.
    async def no_drain(*_):
        pass

    monkeypatch.setattr("mediakeep.http.middleware.EarlyAnswer._drain", no_drain)

    async def stream(data, **given):
        sending = Sending(data, **given)
        answer = await owner.post(
            f"/media/upload/{persona}", content=sending.pieces(), headers=sending.headers
        )
        return answer, sending.sent

    return stream


@on_one_engine
async def test_an_image_is_refused_while_it_is_received(stream, nothing_is_left):
    answer, sent = await stream(bitmap(40 * MIB))
    refused(answer, 413, "Image file too large. Maximum size is 10MB")
    assert 10 * MIB < sent < 10 * MIB + 4 * 65_536
    await nothing_is_left()


@on_one_engine
async def test_a_file_that_says_it_is_too_large_is_refused_by_its_first_bytes(stream, nothing_is_left):
    for data, detail in (
        (bitmap(12 * MIB), "Image file too large. Maximum size is 10MB"),
        (film(52 * MIB), "Video file too large. Maximum size is 50MB"),
        (b"text" * 15 * MIB, "Invalid file type"),
    ):
        answer, sent = await stream(data, declared=True)
        refused(answer, 400 if "type" in detail else 413, detail)
        assert sent <= 2 * 65_536
    await nothing_is_left()


@on_one_engine
async def test_a_form_without_end_is_refused(owner, persona, stream):
    async def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield pictures.png() + b"\r\n--b--\r\n"
        for _ in range(60):
            yield bytes(MIB)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await owner.post(f"/media/upload/{persona}", content=endless(), headers=headers)
    assert answer.status_code in {400, 413}


# Lists


@pytest.fixture
async def three(owner, upload):
    """A picture of one persona, then a film and a picture of another."""
    other = (await owner.post("/personas", json={"name": "Bea"})).json()["id"]
    return [
        await upload(pictures.png(), "c.png", to=other),
        await upload(films.video("webm", seconds=0.5), "b.webm", "video/webm"),
        await upload(pictures.jpeg(), "a.jpg", "image/jpeg"),
    ]


async def test_a_list_is_an_array_of_ones_own_newest_first(owner, stranger, three, persona):
    newest = three[::-1]
    answer = await owner.get("/media/files")
    assert answer.status_code == 200
    assert answer.json() == newest
    assert answer.headers["x-total-count"] == "3"
    assert answer.headers["link"] == '<http://localhost:8000/media/files>; rel="first"'

    async def listed(query, client=owner):
        answer = await client.get(f"/media/files?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert await listed(f"persona_id={persona}") == newest[:2]
    assert await listed("media_type=image") == [newest[0], newest[2]]
    assert await listed("media_type=video") == [newest[1]]
    assert await listed(f"media_type=video&persona_id={three[0]['persona_id']}") == []
    assert await listed("limit=2") == newest[:2]
    assert await listed("limit=2&offset=2") == newest[2:]
    assert await listed("offset=1") == newest[1:]
    assert await listed("offset=50") == []
    for unknown in ("0", "-1", "999999", "9" * 19, "9" * 90):
        assert await listed(f"persona_id={unknown}") == []
    assert await listed("", stranger) == []
    assert await listed(f"persona_id={persona}", stranger) == []


async def test_pages_link_to_one_another(owner, three):
    answer = await owner.get("/media/files?limit=1&offset=1")
    base = "http://localhost:8000/media/files?limit=1"
    assert answer.headers["x-total-count"] == "3"
    assert answer.headers["link"] == (
        f'<{base}&offset=0>; rel="first", <{base}&offset=0>; rel="prev", '
        f'<{base}&offset=2>; rel="next", <{base}&offset=2>; rel="last"'
    )
    answer = await owner.get("/media/files?media_type=video&offset=7")
    assert answer.headers["x-total-count"] == "1"
    assert answer.headers["link"] == '<http://localhost:8000/media/files?media_type=video>; rel="first"'


async def test_a_long_list_is_whole_however_it_is_read(owner, upload, monkeypatch):
    made = [(await upload(pictures.png()))["id"] for _ in range(7)]
    for chunk in (1, 2, 3, 6, 7, 8):
        monkeypatch.setattr(persona_media, "CHUNK", chunk)
        answer = await owner.get("/media/files")
        assert [one["id"] for one in answer.json()] == made[::-1], chunk
        assert answer.headers["content-type"] == "application/json"
        answer = await owner.get("/media/files?offset=3")
        assert [one["id"] for one in answer.json()] == made[::-1][3:], chunk
        assert (await owner.get("/media/files?offset=7")).json() == []


async def test_an_admin_sees_everybodys_when_asked_to(owner, admin, three):
    assert (await admin.get("/media/files")).json() == []
    assert (await admin.get("/media/files?all=true")).json() == three[::-1]
    assert (await admin.get("/media/files?all=true&limit=1")).json() == three[:1:-1]
    for path in ("/media/files?all=true", "/media/files?all=true&limit=1", "/media/stats?all=true"):
        refused(await owner.get(path), 403, "Only an admin may do this.")


@on_one_engine
@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=1001", "limit=x", "limit=", "offset=-1", "offset=2147483649", "offset=x",
        "media_type=audio", "media_type=", "media_type=IMAGE", "persona_id=ada", "persona_id=", "persona_id=1.5",
        "all=perhaps",
    ],
)  # fmt: skip
async def test_a_list_that_makes_no_sense_is_refused(owner, query):
    answer = await owner.get(f"/media/files?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]
    assert answer.json()["detail"]


async def test_what_came_through_another_door_is_found_where_it_fits(owner, persona, stranger):
    async def send(file_name, data, media_type, **fields):
        files = {"file": (file_name, data, media_type)}
        return (await owner.post("/api/v2/upload-asset", files=files, data=fields)).json()

    picture = await send("p.png", pictures.png(), "image/png", personaId=persona, name="Portrait")
    film = await send("f.mp4", films.video("mp4"), "video/mp4", personaId=persona)
    await send("t.mp3", films.sound("mp3"), "audio/mpeg", personaId=persona)
    await send("d.pdf", papers.pdf(), "application/pdf", personaId=persona)
    await send("n.png", pictures.png(), "image/png")
    listed = (await owner.get("/media/files")).json()
    assert [one["filename"] for one in listed] == [f"{film['id']}.mp4", f"{picture['id']}.png"]
    assert [one["original_filename"] for one in listed] == ["f.mp4", "p.png"]
    assert all(set(one) == MEMBERS for one in listed)
    stats = (await owner.get("/media/stats")).json()
    assert (stats["total_files"], stats["files_per_persona"]) == (2, {str(persona): 2})
    # Their numbers are no secret, their bytes are: also of what is public through the other door.
    assert (await owner.get(f"/media/download/{listed[0]['id']}")).status_code == 200
    assert (await stranger.get(f"/media/download/{listed[0]['id']}")).status_code == 404
    # Only these: the sound, the document and what belongs to no persona have numbers as well.
    for other in range(listed[0]["id"] + 1, listed[0]["id"] + 4):
        refused(await owner.get(f"/media/files/{other}"), 404, f"Media file {other} not found")
        for method, path in (("GET", "download"), ("PUT", "files"), ("DELETE", "files")):
            assert (await owner.request(method, f"/media/{path}/{other}")).status_code == 404
    await owner.patch(f"/api/v2/assets/{picture['id']}", json={"personaId": None})
    assert [one["original_filename"] for one in (await owner.get("/media/files")).json()] == ["f.mp4"]


# One


async def test_a_media_file_is_read_by_its_number(owner, admin, upload):
    shown = await upload(pictures.png(), description="One")
    answer = await owner.get(f"/media/files/{shown['id']}")
    assert answer.json() == shown
    assert answer.headers["cache-control"] == "no-store"
    assert (await admin.get(f"/media/files/{shown['id']}")).json() == shown


@pytest.mark.parametrize("how", ["data", "json", "files"])
async def test_its_description_is_changed_by_a_form_or_json(owner, upload, how):
    shown = await upload(pictures.png(), description="One")
    path = f"/media/files/{shown['id']}"

    async def put(description):
        given = (None, description) if how == "files" else description
        return await owner.put(path, **{how: {"description": given}})

    answer = await put("Two\nlines & ümlauts")
    assert answer.status_code == 200
    assert answer.json() == {
        **shown, "description": "Two\nlines & ümlauts", "updated_at": answer.json()["updated_at"],
    }  # fmt: skip
    assert (await owner.get(path)).json() == answer.json()
    assert (await put("")).json()["description"] is None


async def test_what_is_absent_stays_and_null_clears(owner, upload):
    path = f"/media/files/{(await upload(pictures.png(), description='One'))['id']}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for same in ({}, {"json": {}}, {"content": b"", "headers": form}):
        answer = await owner.put(path, **same)
        assert (answer.status_code, answer.json()["description"]) == (200, "One")
    assert (await owner.put(path, json={"description": None})).json()["description"] is None


@on_one_engine
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"json": {"description": 7}}, "description"),
        ({"json": {"description": ["a"]}}, "description"),
        ({"json": {"description": "x" * 10_001}}, "description"),
        ({"json": {"description": "a\0b"}}, "description"),
        ({"json": {"text": "a"}}, "text"),
        ({"json": []}, "body"),
        ({"json": "a"}, "body"),
        ({"content": b"null", "headers": {"Content-Type": "application/json"}}, "body"),
        ({"data": {"description": "x" * 10_001}}, "description"),
        ({"data": {"description": "a\0b"}}, "description"),
        ({"data": {"text": "a"}}, "text"),
        ({"data": {str(number): "a" for number in range(101)}}, "body"),
        ({"content": b"description=%ff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, "body"),
        ({"content": b"\xff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, "body"),
        ({"content": b"\xff", "headers": {"Content-Type": "application/json"}}, "body"),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, "body"),
        ({"content": b"a", "headers": {"Content-Type": "text/plain"}}, "content-type"),
        ({"files": {"description": ("a.txt", "a")}}, "description"),
        ({"files": {"text": (None, "a")}}, "text"),
        ({"files": {"description": (None, b"\xff")}}, "body"),
        ({"content": b"a", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, "body"),
        ({"content": b"--b", "headers": {"Content-Type": "multipart/form-data"}}, "body"),
    ],
    ids=range(22),
)  # fmt: skip
async def test_a_change_that_makes_no_sense_is_refused(owner, upload, body, field):
    shown = await upload(pictures.png(), description="One")
    answer = await owner.put(f"/media/files/{shown['id']}", **body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["detail"]
    assert (await owner.get(f"/media/files/{shown['id']}")).json() == shown


@on_one_engine
async def test_a_change_of_many_megabytes_is_refused(owner, upload):
    shown = await upload(pictures.png())
    answer = await owner.put(f"/media/files/{shown['id']}", data={"description": "x" * 3 * MIB})
    assert answer.status_code == 413


async def test_a_media_file_is_deleted_with_its_bytes(app, owner, upload):
    shown = await upload(pictures.png())
    answer = await owner.delete(f"/media/files/{shown['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    for method, path in (("GET", "files"), ("PUT", "files"), ("DELETE", "files"), ("GET", "download")):
        answer = await owner.request(method, f"/media/{path}/{shown['id']}")
        refused(answer, 404, f"Media file {shown['id']} not found")
    await drain(app.state.library)
    assert [one async for one in app.state.library.store.iter_keys("files")] == []


async def test_content_that_another_shares_stays(app, owner, upload):
    first, second = await upload(pictures.png()), await upload(pictures.png())
    await owner.delete(f"/media/files/{first['id']}")
    await drain(app.state.library)
    assert (await owner.get(f"/media/download/{second['id']}")).content == pictures.png()


async def test_what_is_deleted_is_gone_from_the_other_doors_at_once(owner, upload):
    shown = await upload(pictures.png())
    path = f"/api/v2/assets/{shown['filename'].partition('.')[0]}"
    assert (await owner.get(path)).status_code == 200
    await owner.delete(f"/media/files/{shown['id']}")
    assert (await owner.get(path)).status_code == 404


async def test_somebody_elses_is_as_one_that_does_not_exist(owner, stranger, admin, upload):
    shown = await upload(pictures.png())
    detail = f"Media file {shown['id']} not found"
    for method, path in (("GET", "files"), ("PUT", "files"), ("DELETE", "files"), ("GET", "download")):
        refused(await stranger.request(method, f"/media/{path}/{shown['id']}"), 404, detail)
    refused(await admin.put(f"/media/files/{shown['id']}", json={"description": "x"}), 404, detail)
    assert (await owner.get(f"/media/files/{shown['id']}")).json() == shown
    assert (await admin.get(f"/media/download/{shown['id']}")).content == pictures.png()
    assert (await admin.delete(f"/media/files/{shown['id']}")).status_code == 204
    assert (await owner.get("/media/files")).json() == []


@pytest.mark.parametrize("given", ["0", "-1", "999999", "9" * 19, "9" * 90])
async def test_a_number_that_nothing_has_is_told_as_it_was_given(owner, given):
    for method, path in (("GET", "files"), ("PUT", "files"), ("DELETE", "files"), ("GET", "download")):
        answer = await owner.request(method, f"/media/{path}/{given}")
        refused(answer, 404, f"Media file {given} not found")


@on_one_engine
@pytest.mark.parametrize("given", ["x", "1.0", "1_0", "+1", " 1", "٣", "9" * 5000, "%00"])
async def test_what_is_no_number_is_refused(owner, given):
    for method, path in (("GET", "files"), ("PUT", "files"), ("DELETE", "files"), ("GET", "download")):
        answer = await owner.request(method, f"/media/{path}/{given}")
        refused(answer, 422, "media_id: Input should be a valid integer")


# Download


async def test_a_download_is_a_file_of_its_original_name_and_nobody_elses(owner, upload):
    data = pictures.jpeg()
    shown = await upload(data, "Grüße.jpg", "image/jpeg")
    answer = await owner.get(f"/media/download/{shown['id']}")
    assert (answer.status_code, answer.content) == (200, data)
    expected = {
        "content-type": "image/jpeg",
        "content-length": str(len(data)),
        "content-disposition": "attachment; filename=\"Gr__e.jpg\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.jpg",
        "accept-ranges": "bytes",
        "etag": f'"{hashlib.sha256(data).hexdigest()}"',
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    head = await owner.head(f"/media/download/{shown['id']}")
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers.get(name) for name in expected} == expected


async def test_a_download_keeps_its_name_when_the_asset_is_renamed(owner, upload):
    shown = await upload(pictures.jpeg(), "a.jpg", "image/jpeg")
    path = f"/api/v2/assets/{shown['filename'].partition('.')[0]}"
    await owner.patch(path, json={"name": "Portrait", "visibility": "public"})
    answer = await owner.get(f"/media/download/{shown['id']}")
    assert answer.headers["content-disposition"] == 'attachment; filename="a.jpg"'
    assert answer.headers["cache-control"] == "private, no-store"


async def test_a_download_has_ranges_and_conditions(owner, upload):
    data = pictures.bmp()
    shown = await upload(data, "a.bmp", "image/bmp")

    async def ask(method="GET", **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await owner.request(method, f"/media/download/{shown['id']}", headers=given)

    etag = (await ask()).headers["etag"]
    part = await ask(Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"
    assert (await ask(Range="bytes=-5")).content == data[-5:]
    several = await ask(Range="bytes=0-0,5-9")
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert (await ask(Range=f"bytes={len(data)}-")).status_code == 416
    assert (await ask(Range="bytes=0-9", If_Range='"other"')).status_code == 200
    assert (await ask(If_None_Match=etag)).status_code == 304
    assert (await ask("HEAD", If_None_Match=etag)).status_code == 304
    assert (await ask(If_Match='"other"')).status_code == 412
    assert (await ask(If_Modified_Since="Fri, 01 Jan 2100 00:00:00 GMT")).status_code == 304


async def test_a_download_needs_its_owner(api, owner, stranger, upload):
    shown = await upload(pictures.png())
    path = f"/media/download/{shown['id']}"
    for method in ("GET", "HEAD"):
        answer = await api.request(method, path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    refused(await api.get(path), 401, "Not authenticated")
    refused(await api.get("/media/download/999999"), 401, "Not authenticated")
    key = (await owner.post("/api/v2/auth/keys", json={"name": "k", "scopes": ["write"]})).json()["key"]
    refused(await api.get(path, headers={"X-API-Key": key}), 403, "This API key may not read.")
    asked = f"/api/v2/assets/{shown['filename'].partition('.')[0]}"
    signed = (await owner.post(f"{asked}/sign", json={"expires_in": 60})).json()["url"]
    assert (await api.get(signed)).status_code == 200
    assert (await api.get(f"{path}?{signed.partition('?')[2]}")).status_code == 401
    refused(await stranger.get(path), 404, f"Media file {shown['id']} not found")


async def test_a_download_whose_bytes_are_missing_is_not_found(app, owner, upload):
    shown = await upload(pictures.png())
    store = app.state.library.store
    await store.delete([one.key async for one in store.iter_keys("files")])
    for method in ("GET", "HEAD"):
        answer = await owner.request(method, f"/media/download/{shown['id']}")
        assert answer.status_code == 404
        assert "files/" not in answer.text


# Statistics


async def test_nobody_with_nothing_has_statistics_of_nothing(owner):
    answer = await owner.get("/media/stats")
    assert answer.json() == {
        "total_files": 0,
        "total_images": 0,
        "total_videos": 0,
        "total_size_bytes": 0,
        "total_size_mb": 0.0,
        "files_per_persona": {},
    }


async def test_statistics_are_of_ones_own(owner, stranger, admin, three, persona):
    theirs = (await stranger.post("/personas", json={"name": "Cleo"})).json()["id"]
    files = {"file": ("a.bmp", pictures.bmp(), "image/bmp")}
    assert (await stranger.post(f"/media/upload/{theirs}", files=files)).status_code == 201
    size = sum(one["file_size"] for one in three)
    stats = (await owner.get("/media/stats")).json()
    assert set(stats) == STATS
    assert stats == {
        "total_files": 3,
        "total_images": 2,
        "total_videos": 1,
        "total_size_bytes": size,
        "total_size_mb": round(size / MIB, 2),
        "files_per_persona": {str(persona): 2, str(three[0]["persona_id"]): 1},
    }
    assert (await admin.get("/media/stats")).json()["total_files"] == 0
    everybodys = (await admin.get("/media/stats?all=true")).json()
    assert everybodys["total_files"] == 4
    assert everybodys["files_per_persona"][str(theirs)] == 1


async def test_megabytes_are_told_to_two_places(owner, upload):
    await upload(bitmap(1_363_149), "a.bmp", "image/bmp")
    stats = (await owner.get("/media/stats")).json()
    assert (stats["total_size_bytes"], stats["total_size_mb"]) == (1_363_149, 1.3)


# The tool of the document


async def test_uploads_at_the_same_time_are_each_told_their_own(owner, send):
    answers = await asyncio.gather(
        *(send(pictures.png(40 + n, 30), f"{n}.png", description=str(n)) for n in range(6))
    )
    assert [one.json()["description"] for one in answers] == [str(n) for n in range(6)]
    assert len({one.json()["id"] for one in answers}) == 6
