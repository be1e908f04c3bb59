"""What a user does, against two API processes and a worker."""

import hashlib
import io
import signal
import time

import pytest
from PIL import Image

from tests.samples import films, papers, pictures


@pytest.fixture
def picture():
    """Opens an answer's body as a picture."""

    def picture(answer):
        assert answer.status_code == 200, answer.text
        return Image.open(io.BytesIO(answer.content)).convert("RGB")

    return picture


@pytest.fixture
def until():
    """Waits until a condition holds."""

    def wait(condition, *, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.05)

    return wait


@pytest.mark.parametrize("installation", ["sqlite-disk"], indirect=True)
def test_the_first_account_is_the_admin_and_no_other(installation):
    server = installation.serve()
    server.wait_until_ready()
    with server.client(server.register("first@example.com")) as first:
        assert first.get("/api/v2/auth/me").json()["is_admin"] is True
    with server.client(server.register("second@example.com")) as second:
        assert second.get("/api/v2/auth/me").json()["is_admin"] is False


def test_a_photo_is_as_wide_and_high_as_it_is_displayed(upload):
    asset = upload("photo.jpg", pictures.jpeg(320, 240, orientation=6), "image/jpeg")
    assert (asset["type"], asset["format"], asset["width"], asset["height"]) == ("image", "jpg", 320, 240)


def test_a_turned_photo_has_an_upright_thumbnail(upload, nobody, picture):
    asset = upload("photo.jpg", pictures.jpeg(1000, 500, orientation=6), "image/jpeg")
    answer = nobody.get(asset["thumbnailUrl"])
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content.startswith(b"\xff\xd8\xff")
    shown = picture(answer)
    assert shown.size == (512, 256)
    red, green, blue = shown.getpixel((20, 20))
    assert red > 150 > max(green, blue)  # the corner that is red in the upright picture


def test_where_a_photo_was_taken_is_shown_to_its_owner(upload):
    asset = upload("photo.jpg", pictures.jpeg(place=(48.137, 11.575, 520.0)), "image/jpeg")
    assert asset["metadata"]["location"]["latitude"] == pytest.approx(48.137, abs=0.001)


def test_where_a_photo_was_taken_is_shown_to_nobody_else(upload, other, nobody):
    asset = upload("photo.jpg", pictures.jpeg(321, 240, place=(48.137, 11.575, 520.0)), "image/jpeg")
    info = f"/api/v2/assets/{asset['id']}/info"
    assert other.first.get(info).status_code == 404
    assert nobody.get(info).status_code == 401


def test_where_a_photo_was_taken_is_not_in_its_thumbnail(upload, nobody):
    asset = upload(
        "photo.jpg", pictures.jpeg(322, 240, camera=True, place=(48.137, 11.575, 520.0)), "image/jpeg"
    )
    body = nobody.get(asset["thumbnailUrl"]).content
    assert not Image.open(io.BytesIO(body)).getexif()
    assert b"Exif" not in body


@pytest.mark.parametrize("name", ["mp4", "mov"])
def test_a_video_tells_its_size_and_duration(upload, name):
    asset = upload(f"film.{name}", films.video(name, seconds=3.0))
    facts = ("type", "format", "width", "height", "duration")
    assert [asset[one] for one in facts] == ["video", name, 160, 120, 3]
    assert asset["metadata"]["duration_seconds"] == pytest.approx(3.0, abs=0.15)


def test_a_video_filmed_upright_is_higher_than_wide(upload, nobody, picture):
    asset = upload("film.mp4", films.video("mp4", seconds=2.0, rotation=90), "video/mp4")
    assert (asset["width"], asset["height"]) == (120, 160)
    assert picture(nobody.get(asset["thumbnailUrl"])).size == (120, 160)


def test_a_video_s_poster_is_its_frame_at_one_second(upload, nobody, picture):
    asset = upload("film.mp4", films.video("mp4", seconds=3.0, width=200), "video/mp4")
    poster = picture(nobody.get(asset["thumbnailUrl"]))
    assert poster.size == (200, 120)
    red, green, blue = poster.getpixel((100, 100))
    assert green > 130 > max(red, blue)  # a second of red, then a second of green


@pytest.mark.parametrize(("name", "media_type"), [("mp3", "audio/mpeg"), ("wav", "audio/wav")])
def test_a_sound_tells_its_duration(upload, nobody, name, media_type):
    asset = upload(f"tone.{name}", films.sound(name, seconds=2.0))
    assert (asset["type"], asset["format"], asset["duration"]) == ("audio", name, 2)
    assert nobody.get(asset["url"]).headers["content-type"] == media_type


def test_a_waveform_grows_louder_as_the_sound_does(upload, nobody):
    asset = upload("tone.wav", films.sound("wav", seconds=2.0))
    answer = nobody.get(asset["waveformUrl"])
    assert answer.headers["content-type"] == "application/json"
    peaks = answer.json()["peaks"]
    early, late = peaks[: len(peaks) // 4], peaks[-len(peaks) // 4 :]
    assert 0 < max(early) < max(late) <= 127


def test_a_waveform_can_be_had_as_a_picture(upload, nobody):
    asset = upload("tone.mp3", films.sound("mp3", seconds=2.0))
    answer = nobody.get(f"{asset['waveformUrl']}?format=png")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).format == "PNG"


def test_a_pdf_tells_its_pages_and_shows_the_first(upload, nobody, picture):
    asset = upload("paper.pdf", papers.pdf(3), "application/pdf")
    assert (asset["type"], asset["format"], asset["pageCount"]) == ("document", "pdf", 3)
    page = picture(nobody.get(asset["thumbnailUrl"]))
    assert max(page.size) == 512
    assert page.width / page.height == pytest.approx(595 / 842, abs=0.01)


def test_lists_are_narrowed_by_type_and_tag_and_ordered(upload, user):
    upload("b.jpg", pictures.jpeg(), "image/jpeg", tags="red, Warm")
    upload("a.png", pictures.png(), "image/png", tags="red")
    upload("c.pdf", papers.pdf(), "application/pdf")

    def names(**query):
        answer = user.second.get("/api/v2/assets", params=query)
        assert answer.status_code == 200, answer.text
        return [one["name"] for one in answer.json()]

    assert names() == ["c.pdf", "a.png", "b.jpg"]
    assert names(asset_type="image", sort_by="name", sort_order="asc") == ["a.png", "b.jpg"]
    assert names(tag="WARM") == ["b.jpg"]
    assert names(limit=1, offset=1) == ["a.png"]


def test_a_list_says_how_many_there_are_in_all(upload, user):
    upload("b.jpg", pictures.jpeg(), "image/jpeg")
    upload("a.png", pictures.png(), "image/png")
    answer = user.second.get("/api/v2/assets", params={"limit": 1})
    assert (len(answer.json()), answer.headers["x-total-count"]) == (1, "2")


def test_a_part_of_a_file_can_be_fetched(upload, nobody):
    data = films.video("mp4", seconds=3.0)
    asset = upload("film.mp4", data, "video/mp4")
    answer = nobody.get(asset["url"], headers={"Range": "bytes=100-199"})
    assert (answer.status_code, answer.content) == (206, data[100:200])
    assert answer.headers["content-range"] == f"bytes 100-199/{len(data)}"


def test_head_tells_what_get_would_send(upload, nobody):
    data = pictures.png(200, 100)
    asset = upload("a.png", data, "image/png")
    answer = nobody.head(asset["url"])
    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["content-length"], answer.headers["content-type"]) == (str(len(data)), "image/png")


def test_what_has_not_changed_is_not_sent_again(upload, nobody):
    data = pictures.png(201, 100)
    asset = upload("a.png", data, "image/png")
    etag = nobody.get(asset["url"]).headers["etag"]
    assert etag == f'"{hashlib.sha256(data).hexdigest()}"'
    answer = nobody.get(asset["url"], headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_download_has_the_file_s_name(upload, nobody):
    asset = upload("Grüße.jpg", pictures.jpeg(), "image/jpeg")
    disposition = nobody.get(f"{asset['url']}?download=1").headers["content-disposition"]
    assert disposition == "attachment; filename=\"Gr__e.jpg\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.jpg"


def test_an_asset_can_be_described_anew(upload, user):
    asset = upload("a.jpg", pictures.jpeg(), "image/jpeg", tags="old")
    changes = {"name": "Hero", "description": "Night", "tags": ["hero"], "metadata": {"take": 2}}
    changed = user.second.patch(f"/api/v2/assets/{asset['id']}", json=changes)
    assert changed.status_code == 200, changed.text
    read = user.first.get(f"/api/v2/assets/{asset['id']}/info").json()
    assert read == changed.json() | {"url": read["url"], "thumbnailUrl": read["thumbnailUrl"]}
    assert (read["name"], read["description"], read["tags"]) == ("Hero", "Night", ["hero"])
    assert read["metadata"]["take"] == 2


def test_a_private_file_is_its_owner_s_alone(upload, user, other, nobody):
    asset = upload("a.jpg", pictures.jpeg(), "image/jpeg", visibility="private")
    assert user.second.get(f"/api/v2/assets/{asset['id']}").content == pictures.jpeg()
    for address in (asset["url"], asset["thumbnailUrl"]):
        assert nobody.get(address).status_code == 404
        assert other.first.get(address).status_code == 404


def test_a_private_file_can_be_lent_by_a_signed_address(upload, user, nobody):
    asset = upload("a.jpg", pictures.jpeg(), "image/jpeg", visibility="private")
    signed = user.first.post(f"/api/v2/assets/{asset['id']}/sign", json={"expires_in": 60}).json()
    answer = nobody.get(signed["url"])
    assert (answer.status_code, answer.content) == (200, pictures.jpeg())
    assert answer.headers["cache-control"] == "private, no-store"
    assert nobody.get(signed["thumbnailUrl"]).status_code == 200


def test_a_deleted_asset_is_gone_from_both_servers(upload, user, nobody):
    asset = upload("a.jpg", pictures.jpeg(300, 200), "image/jpeg")
    answer = user.second.delete(f"/api/v2/assets/{asset['id']}")
    assert answer.json() == {"success": True, "message": f"Asset {asset['id']} deleted successfully"}
    for client in (user.first, user.second, nobody):
        for suffix in ("", "/thumbnail"):
            assert client.get(f"/api/v2/assets/{asset['id']}{suffix}").status_code == 404
    assert user.first.delete(f"/api/v2/assets/{asset['id']}").status_code == 404


def test_a_deleted_asset_s_bytes_leave_the_storage(upload, user, two_servers, until):
    before = two_servers.installation.stored_keys()
    asset = upload("film.mp4", films.video("mp4", seconds=1.0, width=176), "video/mp4")
    # The file and its poster, which the worker makes.
    until(lambda: len(two_servers.installation.stored_keys() - before) >= 2)
    user.first.delete(f"/api/v2/assets/{asset['id']}")
    until(lambda: two_servers.installation.stored_keys() <= before)


def test_content_that_another_asset_shares_survives_a_delete(upload, user, nobody, two_servers, until):
    data = pictures.jpeg(302, 200)
    kept, deleted = upload("a.jpg", data, "image/jpeg"), upload("b.jpg", data, "image/jpeg")
    user.first.delete(f"/api/v2/assets/{deleted['id']}")
    until(lambda: not two_servers.installation.query("SELECT 1 FROM tasks WHERE name = 'files.delete_bytes'"))
    assert nobody.get(kept["url"]).content == data


def test_an_api_key_uploads_and_reads(user, two_servers):
    made = user.first.post("/api/v2/auth/keys", json={"name": "program", "scopes": ["read", "write"]}).json()
    with two_servers.second.client(made["key"]) as program:
        answer = program.post("/api/v2/upload-asset", files={"file": ("a.png", pictures.png(), "image/png")})
        assert answer.status_code == 201, answer.text
        assert [one["name"] for one in program.get("/api/v2/assets").json()] == ["a.png"]


def test_the_page_s_cookie_reads_and_never_writes(upload, user, nobody):
    asset = upload("a.jpg", pictures.jpeg(), "image/jpeg", visibility="private")
    nobody.post("/api/v2/auth/login", json={"email": user.email, "password": "correct horse battery"})
    assert nobody.get(asset["url"]).content == pictures.jpeg()
    assert nobody.delete(asset["url"]).status_code == 401


def test_an_upload_through_one_server_is_seen_through_the_other(upload, user):
    for number in range(3):
        asset = upload(f"{number}.jpg", pictures.jpeg(310 + number, 200), "image/jpeg")
        assert user.second.get(f"/api/v2/assets/{asset['id']}").content == pictures.jpeg(310 + number, 200)
        assert user.second.get("/api/v2/assets").json()[0]["id"] == asset["id"]


def test_a_restart_keeps_everything(installation):
    server = installation.serve(EMBEDDED_WORKER="true")
    server.wait_until_ready()
    token = server.register("first@example.com")
    with server.client(token) as client:
        file = ("film.mp4", films.video("mp4", seconds=2.0), "video/mp4")
        asset = client.post("/api/v2/upload-asset", files={"file": file}, data={"tags": "kept"}).json()
        thumbnail = client.get(f"/api/v2/assets/{asset['id']}/thumbnail").content
    assert server.stop() in {0, -signal.SIGTERM}

    server = installation.serve(EMBEDDED_WORKER="true")
    server.wait_until_ready()
    with server.client(token) as client:  # tokens outlive a restart as well
        (listed,) = client.get("/api/v2/assets").json()
        assert (listed["id"], listed["tags"], listed["uploadedAt"]) == (
            asset["id"],
            ["kept"],
            asset["uploadedAt"],
        )
        assert client.get(f"/api/v2/assets/{asset['id']}").content == films.video("mp4", seconds=2.0)
        assert client.get(f"/api/v2/assets/{asset['id']}/thumbnail").content == thumbnail
