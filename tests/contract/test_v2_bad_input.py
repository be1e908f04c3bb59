"""What `/api/v2` refuses, with which status and in which words."""

import dataclasses
import json
import struct
from urllib.parse import unquote

import pytest

from mediakeep.collections.models import Client
from tests.samples import films, hostile, papers, pictures

MIB = 1 << 20
ALLOWED = "Allowed: images (jpg, png, gif, webp), videos (mp4, mov), audio (mp3, wav), documents (pdf)"
DOOR = "/api/v2/upload-asset"
NOWHERE = "00000000-0000-4000-8000-000000000000"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
def limited(app):
    """The largest file is 1 MB."""
    library = app.state.library
    settings = library.settings.model_copy(update={"max_upload_bytes": MIB})
    app.state.library = dataclasses.replace(library, settings=settings)


@pytest.fixture
def upload(owner):
    """Uploads a file; returns the answer."""

    async def upload(data, file_name="a.jpg", media_type="image/jpeg", **fields):
        return await owner.post(DOOR, files={"file": (file_name, data, media_type)}, data=fields)

    return upload


@pytest.fixture
def send(owner):
    """Sends parts by hand, each a head and a body; returns the answer."""

    async def send(*parts, end=b"--b--\r\n", content_type="multipart/form-data; boundary=b", chunked=False):
        body = b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % part for part in parts) + end

        async def chunks():
            for start in range(0, len(body), 65536):
                yield body[start : start + 65536]

        headers = {"Content-Type": content_type} if content_type else {}
        return await owner.post(DOOR, content=chunks() if chunked else body, headers=headers)

    return send


@pytest.fixture
def nothing_is_left(app, owner):
    """Checks that the last request left neither a file nor a row behind."""

    async def check():
        store = app.state.library.store
        assert list(store.scratch.iterdir()) == []
        assert [one async for one in store.iter_keys("files")] == []
        assert (await owner.get("/api/v2/assets")).json() == []

    return check


@pytest.fixture
async def asset(upload):
    answer = await upload(pictures.jpeg())
    assert answer.status_code == 201, answer.text
    return answer.json()


def file_part(data=b"", head=b'name="file"; filename="a.jpg"', media_type=b"image/jpeg"):
    return b"Content-Disposition: form-data; %s\r\nContent-Type: %s" % (head, media_type), data


def field_part(name, data):
    return b'Content-Disposition: form-data; name="%s"' % name, data


def problem(answer, status):
    """The problem document of an answer with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    return document


# The file


async def test_an_empty_file_is_refused(upload, nothing_is_left):
    assert problem(await upload(b""), 400)["detail"] == "The file is empty."
    await nothing_is_left()


@on_one_engine
async def test_a_file_of_exactly_the_limit_is_taken(upload, limited):
    answer = await upload(pictures.jpeg().ljust(MIB, b"\0"))
    assert answer.status_code == 201, answer.text
    assert answer.json()["size"] == MIB


@on_one_engine
async def test_a_byte_more_than_the_limit_is_refused(upload, limited, nothing_is_left):
    answer = await upload(pictures.jpeg().ljust(MIB + 1, b"\0"))
    assert problem(answer, 400)["detail"] == "File too large. Maximum size is 1.0MB"
    await nothing_is_left()


@on_one_engine
async def test_fifty_megabytes_are_the_limit(upload):
    silence = bytearray(50 * MIB)
    silence[:44] = b"RIFF%sWAVEfmt %s" % (
        struct.pack("<I", 50 * MIB - 8),
        struct.pack("<IHHIIHH4sI", 16, 1, 1, 44_100, 88_200, 2, 16, b"data", 50 * MIB - 44),
    )
    answer = await upload(bytes(silence), "tone.wav", "audio/wav")
    assert answer.status_code == 201, answer.text
    answer = await upload(bytes(silence + b"\0"), "tone.wav", "audio/wav")
    assert problem(answer, 400)["detail"] == "File too large. Maximum size is 50.0MB"


async def test_a_chunked_file_past_the_limit_is_refused(send, limited, nothing_is_left):
    answer = await send(file_part(pictures.jpeg().ljust(2 * MIB, b"\0")), chunked=True)
    assert problem(answer, 400)["detail"] == "File too large. Maximum size is 1.0MB"
    await nothing_is_left()


@on_one_engine
async def test_a_chunked_body_is_refused_once_it_cannot_hold_a_file_any_more(send, limited):
    answer = await send(file_part(pictures.jpeg()), end=b"--b--\r\n" + b"." * 4 * MIB, chunked=True)
    problem(answer, 400)


@on_one_engine
async def test_a_bitmap_is_refused_in_the_words_of_the_specification(upload, nothing_is_left):
    detail = problem(await upload(pictures.bmp(), "a.bmp", "image/bmp"), 400)["detail"]
    assert detail == f"Invalid file type: image/bmp. {ALLOWED}"
    await nothing_is_left()


@on_one_engine
@pytest.mark.parametrize(
    ("data", "name", "media_type", "found"),
    [
        (hostile.HTML, "a.jpg", "image/jpeg", "text/html"),
        (hostile.SVG, "a.png", "image/png", "image/svg+xml"),
        (pictures.tiff(), "a.jpg", "image/jpeg", "image/tiff"),
        (hostile.zip_with_pdf(), "a.pdf", "application/pdf", "application/zip"),
        (b"\x7fELF" + b"\0" * 200, "a.png", "image/png", "application/x-elf"),
        (b"\x00\x01\x02\x03" * 50, "a.xyz", "application/x-unheard-of", "application/x-unheard-of"),
        (hostile.HLS, "a.mp4", "video/mp4", "application/vnd.apple.mpegurl"),
        (hostile.FFCONCAT, "a.mp4", "video/mp4", "text/plain"),
        (hostile.SDP, "a.mp4", "video/mp4", "application/sdp"),
        (hostile.FFMETADATA, "a.mp4", "video/mp4", "text/plain"),
    ],
)
async def test_content_of_another_type_is_refused_by_what_it_is(upload, data, name, media_type, found):
    detail = problem(await upload(data, name, media_type), 400)["detail"]
    assert detail == f"Invalid file type: {found}. {ALLOWED}"


@on_one_engine
@pytest.mark.parametrize(
    ("name", "media_type", "claim"),
    [
        ("a.png", "image/jpeg", "image/jpeg"),
        ("a.jpg", "image/png", "image/jpeg"),
        ("a.pdf", "", "application/pdf"),
        ("a.txt", "application/octet-stream", "text/plain"),
        ("a.png", "text/html", "text/html"),
    ],
)
async def test_content_that_is_not_what_it_is_called_is_refused(send, name, media_type, claim):
    head = b'name="file"; filename="%s"' % name.encode()
    answer = await send(file_part(pictures.png(), head, media_type.encode()))
    assert problem(answer, 400)["detail"] == (
        f"Invalid file type: the content is image/png, but the upload says {claim}."
    )


@on_one_engine
@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (pictures.jpeg(), "a.jpeg", "image/jpg"),
        (pictures.jpeg(), "A.JPG", "IMAGE/JPEG; q=1"),
        (pictures.png(), "a", "application/octet-stream"),
        (pictures.png(), "a.png", ""),
        (films.video("mov"), "a.mp4", "video/mp4"),
        (films.sound("wav"), "a.wav", "audio/x-wav"),
        (films.sound("mp3"), "a.mp3", "audio/mp3"),
    ],
)
async def test_names_of_the_same_type_agree(send, data, name, media_type):
    head = b'name="file"; filename="%s"' % name.encode()
    answer = await send(file_part(data, head, media_type.encode()))
    assert answer.status_code == 201, answer.text


@on_one_engine
@pytest.mark.parametrize(
    ("data", "name"),
    [
        (pictures.jpeg()[: len(pictures.jpeg()) // 2], "a.jpg"),
        (pictures.png()[: len(pictures.png()) // 2], "a.png"),
        (pictures.gif()[: len(pictures.gif()) // 2], "a.gif"),
        (pictures.webp()[: len(pictures.webp()) // 2], "a.webp"),
        (films.video("mp4")[: len(films.video("mp4")) // 2], "a.mp4"),
        (papers.pdf(20)[:300], "a.pdf"),
        (b"\xff\xd8\xff" + b"\0" * 500, "a.jpg"),
        (b"%PDF-1.7\n" + b"x" * 500, "a.pdf"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + hostile.HLS, "a.mp4"),
    ],
    ids=[
        "jpg",
        "png",
        "gif",
        "webp",
        "mp4",
        "pdf",
        "jpg without picture",
        "pdf without pages",
        "mp4 with a playlist",
    ],
)
async def test_a_damaged_file_is_refused_in_plain_words(upload, data, name, nothing_is_left):
    detail = problem(await upload(data, name, None), 400)["detail"]
    assert detail.endswith(".")
    assert not any(word in detail for word in ("/", "Traceback", "Error", "0x"))
    await nothing_is_left()


@on_one_engine
async def test_a_picture_of_too_many_pixels_is_refused_by_its_header(upload):
    detail = problem(await upload(hostile.png_bomb(), "a.png", "image/png"), 400)["detail"]
    assert detail == "The image has 2500000000 pixels (50000 × 50000); the limit is 100000000."


@on_one_engine
async def test_an_animation_of_too_many_frames_is_refused(upload):
    detail = problem(await upload(hostile.gif_bomb(), "a.gif", "image/gif"), 400)["detail"]
    assert detail == "The animation has 10000 frames; the limit is 300."


async def test_a_pdf_that_needs_a_password_is_taken_without_pages(upload, owner):
    answer = await upload(papers.pdf(password="secret"), "a.pdf", "application/pdf")
    assert answer.status_code == 201, answer.text
    assert (answer.json()["pageCount"], answer.json()["thumbnailUrl"]) == (None, None)
    assert (await owner.get(answer.json()["url"])).content == papers.pdf(password="secret")
    problem(await owner.get(f"{answer.json()['url']}/thumbnail"), 404)


@on_one_engine
@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [(hostile.gif_and_script(), "a.gif", "image/gif"), (hostile.pdf_and_zip(), "a.pdf", "application/pdf")],
    ids=["gif and script", "pdf and zip"],
)
async def test_a_file_of_two_types_is_only_ever_its_outer_one(upload, owner, data, name, media_type):
    answer = await upload(data, name, media_type)
    assert answer.status_code == 201, answer.text
    served = await owner.get(answer.json()["url"])
    assert served.content == data
    assert served.headers["content-type"] == media_type
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["content-security-policy"].startswith("default-src 'none'")


# Its name


@on_one_engine
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd.jpg", "passwd.jpg"),
        ("..\\..\\boot.jpg", "boot.jpg"),
        ("C:\\fakepath\\a.jpg", "a.jpg"),
        ("/abs/olute.jpg", "olute.jpg"),
        ("a\0b\x07.jpg", "ab.jpg"),
        ("gpj.\u202eexe.jpg", "gpj.exe.jpg"),
        ("x" * 3996 + ".jpg", "x" * 251 + ".jpg"),
        ("🎬" * 3996 + ".jpg", "🎬" * 251 + ".jpg"),
        ('say \\"hello\\".jpg', 'say "hello".jpg'),
        ("Grüße aus 日本.jpg", "Grüße aus 日本.jpg"),
        ("zwei e\u0301.jpg", "zwei e\u0301.jpg"),
        ("100% sure; really, 'yes'.jpg", "100% sure; really, 'yes'.jpg"),
        ("..", "file"),
        ("", "file"),
    ],
    ids=range(14),
)
async def test_a_file_name_is_data_and_never_a_path(send, owner, sent, kept):
    answer = await send(file_part(pictures.jpeg(), b'name="file"; filename="%s"' % sent.encode()))
    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == kept
    shown = (await owner.get(f"{answer.json()['url']}?download=1")).headers["content-disposition"]
    plain, _, extended = shown.partition("; filename*=UTF-8''")
    assert plain.startswith('attachment; filename="')
    assert plain.isascii()
    assert plain.count('"') == 2  # nothing in the name ends the quoted string (RFC 6266 §4.1)
    name = unquote(extended) if extended else plain.removeprefix('attachment; filename="')[:-1]
    assert name == (kept if kept.endswith(".jpg") else f"{kept}.jpg")


# The form


@on_one_engine
async def test_a_form_without_a_file_is_refused(send):
    document = problem(await send(field_part(b"name", b"x")), 422)
    assert document["detail"] == "The form has no file part named 'file'."
    assert document["errors"] == [{"field": "file", "reason": document["detail"]}]


@on_one_engine
async def test_a_form_with_two_files_is_refused(send, nothing_is_left):
    answer = await send(file_part(pictures.jpeg()), file_part(pictures.jpeg()))
    assert problem(answer, 422)["detail"] == "The form must have exactly one file part."
    await nothing_is_left()


@on_one_engine
async def test_a_file_under_another_name_is_refused(send):
    answer = await send(file_part(pictures.jpeg(), b'name="upload"; filename="a.jpg"'))
    document = problem(answer, 422)
    assert document["detail"] == "The file part must be named 'file'."
    assert document["errors"][0]["field"] == "upload"


@on_one_engine
async def test_a_field_of_ten_megabytes_is_refused(send, nothing_is_left):
    answer = await send(file_part(pictures.jpeg()), field_part(b"name", b"x" * 10 * MIB))
    assert problem(answer, 422)["detail"] == "A form field has at most 65536 bytes."
    await nothing_is_left()


@on_one_engine
async def test_ten_thousand_parts_are_refused(send):
    answer = await send(*[field_part(b"tags", b"x")] * 10_000)
    assert (
        problem(answer, 400)["detail"]
        == "The form is too large: at most 100 parts with headers of 32768 bytes."
    )


@on_one_engine
async def test_a_header_without_end_is_refused(send):
    answer = await send((b"Content-Disposition: " + b"x" * 100_000, b""))
    problem(answer, 400)


@on_one_engine
@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b"]
)
async def test_a_body_that_is_no_form_is_refused(send, content_type):
    document = problem(await send(file_part(pictures.jpeg()), content_type=content_type), 422)
    assert document["detail"] == "The body must be multipart/form-data with a part named 'file'."


@on_one_engine
@pytest.mark.parametrize("end", [b"", b"--b", b"--b-"])
async def test_a_form_that_ends_too_early_is_refused(send, end, nothing_is_left):
    answer = await send(file_part(pictures.jpeg()), end=end)
    assert problem(answer, 400)["detail"] == "The multipart body is malformed or ends too early."
    await nothing_is_left()


@on_one_engine
async def test_an_empty_form_is_refused(send):
    problem(await send(end=b""), 400)


@on_one_engine
async def test_a_field_that_is_no_utf_8_is_refused(send, nothing_is_left):
    answer = await send(file_part(pictures.jpeg()), field_part(b"name", b"\xff\xfe"))
    assert problem(answer, 422)["errors"][0]["field"] == "name"
    await nothing_is_left()


# What is said of the asset


@pytest.mark.parametrize(
    ("field", "kind"),
    [("clientId", "Client"), ("campaignId", "Campaign"), ("personaId", "Persona"), ("projectId", "Project")],
)
async def test_a_collection_that_is_not_there_is_not_found(upload, asset, owner, field, kind):
    for unknown in (NOWHERE, "7", "../x", "x" * 5000):
        answer = await upload(pictures.png(), "a.png", "image/png", **{field: unknown})
        assert problem(answer, 404)["detail"] == f"{kind} not found"
        answer = await owner.patch(f"/api/v2/assets/{asset['id']}", json={field: unknown})
        assert problem(answer, 404)["detail"] == f"{kind} not found"
    assert len((await owner.get("/api/v2/assets")).json()) == 1


async def test_somebody_else_s_client_is_not_found(upload, app, admin):
    theirs = (await admin.get("/api/v2/auth/me")).json()["id"]
    async with app.state.library.database.write() as session:
        session.add(Client(public_id=NOWHERE, owner_id=theirs, name="Theirs"))
    answer = await upload(pictures.jpeg(), clientId=NOWHERE)
    assert problem(answer, 404)["detail"] == "Client not found"


async def test_a_refused_description_leaves_no_bytes(upload, nothing_is_left):
    problem(await upload(pictures.jpeg(), clientId=NOWHERE), 404)
    await nothing_is_left()


@on_one_engine
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tags", '["a", 1]'),
        ("tags", "[NaN]"),
        ("tags", "[" * 30_000),
        ("tags", '["a"'),
        ("tags", "x" * 65),
        ("tags", ",".join(map(str, range(101)))),
        ("tags", "a\0b"),
        ("tags", '["\\ud800"]'),
        ("visibility", "secret"),
        ("name", "x" * 256),
        ("name", "a\0b"),
        ("name", "a\nb"),
    ],
    ids=range(12),
)
async def test_a_bad_field_of_an_upload_is_named(upload, nothing_is_left, field, value):
    document = problem(await upload(pictures.jpeg(), **{field: value}), 422)
    assert [one["field"] for one in document["errors"]] == [field]
    await nothing_is_left()


@on_one_engine
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"metadata": {"a": NaN}}', "metadata"),
        ('{"metadata": {"a": 1e999}}', "metadata"),
        ('{"metadata": {"a": "\\u0000"}}', "metadata"),
        ('{"metadata": {"\\u0000": 1}}', "metadata"),
        ('{"metadata": {"a": "\\ud800"}}', "metadata"),
        ('{"metadata": {"a": %s}}' % ("[" * 40 + "]" * 40), "metadata"),
        ('{"metadata": {"a": "%s"}}' % ("x" * MIB), "metadata"),
        ('{"metadata": []}', "metadata"),
        ('{"tags": "a"}', "tags"),
        ('{"tags": [1]}', "tags.0"),
        ('{"tags": ["\\u0000"]}', "tags"),
        ('{"tags": ["%s"]}' % ("x" * 65), "tags"),
        (json.dumps({"tags": [str(number) for number in range(101)]}), "tags"),
        ('{"visibility": "secret"}', "visibility"),
        ('{"visibility": null}', "visibility"),
        ('{"name": null}', "name"),
        ('{"name": ""}', "name"),
        ('{"name": "  "}', "name"),
        ('{"name": "a\\u0000b"}', "name"),
        ('{"name": "\\ud800"}', "name"),
        ('{"name": "%s"}' % ("x" * 256), "name"),
        ('{"description": "%s"}' % ("x" * 10_001), "description"),
        ('{"description": "a\\u0000b"}', "description"),
        ('{"nmae": "a"}', "nmae"),
        ("[]", "body"),
    ],
    ids=range(25),
)
async def test_a_bad_field_of_a_change_is_named(owner, asset, body, field):
    headers = {"Content-Type": "application/json"}
    document = problem(await owner.patch(f"/api/v2/assets/{asset['id']}", content=body, headers=headers), 422)
    assert document["errors"][0]["field"] == field
    assert (await owner.get(f"/api/v2/assets/{asset['id']}/info")).json() == asset


@on_one_engine
@pytest.mark.parametrize("depth", [1_000, 100_000])
async def test_metadata_too_deep_to_read_is_refused(owner, asset, depth):
    body = '{"metadata": {"a": %s}}' % ("[" * depth + "]" * depth)
    headers = {"Content-Type": "application/json"}
    problem(await owner.patch(f"/api/v2/assets/{asset['id']}", content=body, headers=headers), 422)


async def test_a_very_large_number_in_metadata_is_kept_or_refused(owner, asset):
    body = '{"metadata": {"a": %s}}' % ("9" * 400)
    headers = {"Content-Type": "application/json"}
    answer = await owner.patch(f"/api/v2/assets/{asset['id']}", content=body, headers=headers)
    if answer.status_code == 200:
        read = (await owner.get(f"/api/v2/assets/{asset['id']}/info")).json()
        assert read["metadata"]["a"] == int("9" * 400)
    else:
        problem(answer, 422)


@on_one_engine
@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"\xff\xfe", b'{"name": "a"} x'])
async def test_what_is_no_json_is_refused(owner, asset, body):
    headers = {"Content-Type": "application/json"}
    problem(await owner.patch(f"/api/v2/assets/{asset['id']}", content=body, headers=headers), 422)


@on_one_engine
async def test_a_body_of_another_type_is_refused(owner, asset):
    answer = await owner.patch(f"/api/v2/assets/{asset['id']}", data={"name": "b"})
    problem(answer, 422)


@on_one_engine
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_json_body_over_the_limit_is_refused(owner, asset, chunked):
    body = b'{"description": "%s"}' % (b"x" * 3 * MIB)

    async def chunks():
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    headers = {"Content-Type": "application/json"}
    content = chunks() if chunked else body
    answer = await owner.patch(f"/api/v2/assets/{asset['id']}", content=content, headers=headers)
    detail = problem(answer, 413)["detail"]
    assert detail == "The request body is too large. This address takes at most 2097152 bytes."


@on_one_engine
@pytest.mark.parametrize("seconds", [0, -1, 604_801, "x", 1.5, None])
async def test_a_signature_s_life_outside_its_range_is_refused(owner, asset, seconds):
    answer = await owner.post(f"/api/v2/assets/{asset['id']}/sign", json={"expires_in": seconds})
    assert problem(answer, 422)["errors"][0]["field"] == "expires_in"


# Addresses and parameters


@on_one_engine
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "-1"),
        ("limit", "many"),
        ("limit", ""),
        ("limit", "9" * 30),
        ("offset", "-1"),
        ("offset", "9" * 30),
        ("asset_type", "text"),
        ("sort_by", "owner_id"),
        ("sort_order", "up"),
        ("created_after", "yesterday"),
        ("created_before", "2024-13-01"),
        ("all", "maybe"),
    ],
)
async def test_a_list_parameter_outside_its_range_is_refused(owner, name, value):
    document = problem(await owner.get("/api/v2/assets", params={name: value}), 422)
    assert document["errors"][0]["field"] == name
    assert document["detail"].startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("created_after", "0001-01-01T00:00:00+14:00"),
        ("created_before", "9999-12-31T23:59:59-14:00"),
        ("tag", "a\0b"),
        ("tag", "x" * 5000),
        ("clientId", "a\0b"),
        ("clientId", NOWHERE),
        ("personaId", "9" * 30),
        ("offset", str(2**31)),
    ],
    ids=range(8),
)
async def test_an_odd_list_parameter_is_no_fault_of_the_server(owner, asset, name, value):
    answer = await owner.get("/api/v2/assets", params={name: value})
    assert answer.status_code in {200, 422}, answer.text
    if answer.status_code == 422:
        assert problem(answer, 422)["errors"][0]["field"] == name


@pytest.mark.parametrize(
    "asset_id",
    [NOWHERE, "x", "1", "%00", "a%00b", "%F0%9F%98%80", "'%3B%20DROP%20TABLE%20assets", "x" * 4000, "%FF"],
)
async def test_an_id_that_is_none_is_not_found(owner, asset_id):
    address = f"/api/v2/assets/{asset_id}"
    answers = [
        await owner.get(address),
        await owner.head(address),
        await owner.get(f"{address}/info"),
        await owner.get(f"{address}/thumbnail"),
        await owner.get(f"{address}/waveform"),
        await owner.patch(address, json={"name": "a"}),
        await owner.delete(address),
        await owner.post(f"{address}/sign", json={"expires_in": 60}),
    ]
    assert [answer.status_code for answer in answers] == [404] * 8
    assert {answer.json()["detail"] for answer in answers if answer.content} == {"Asset not found"}


@on_one_engine
async def test_an_address_that_leads_nowhere_is_a_problem(owner):
    document = problem(await owner.get("/api/v2/nothing"), 404)
    assert document["detail"] == "There is nothing at this address."


@on_one_engine
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"/api/v2/assets/{NOWHERE}", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("POST", "/api/v2/assets", {"GET"}),
        ("GET", DOOR, {"POST"}),
        ("DELETE", f"/api/v2/assets/{NOWHERE}/thumbnail", {"GET", "HEAD"}),
    ],
)
async def test_a_method_that_an_address_does_not_take_is_a_problem(owner, method, path, allowed):
    answer = await owner.request(method, path)
    problem(answer, 405)
    assert {one.strip() for one in answer.headers["allow"].split(",")} == allowed


# Who asks


@on_one_engine
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer mk_wrong"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "mk_wrong"},
    ],
    ids=range(7),
)
async def test_an_upload_of_nobody_known_is_refused(api, headers):
    files = {"file": ("a.jpg", pictures.jpeg(), "image/jpeg")}
    answer = await api.post(DOOR, files=files, headers=headers)
    assert problem(answer, 401)["detail"] == "Not authenticated"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_that_may_only_read_may_not_upload(owner, api, nothing_is_left):
    made = (await owner.post("/api/v2/auth/keys", json={"name": "reader", "scopes": ["read"]})).json()
    files = {"file": ("a.jpg", pictures.jpeg(), "image/jpeg")}
    answer = await api.post(DOOR, files=files, headers={"X-API-Key": made["key"]})
    assert problem(answer, 403)["detail"] == "This API key may not write."
    await nothing_is_left()


@on_one_engine
async def test_a_refusal_says_nothing_of_the_inside(upload, tmp_path):
    answer = await upload(b"\xff\xd8\xff" + b"\0" * 500)
    assert str(tmp_path) not in answer.text
    assert "Traceback" not in answer.text


@on_one_engine
async def test_every_refusal_carries_a_request_id(upload):
    assert (await upload(b"")).headers["x-request-id"]
