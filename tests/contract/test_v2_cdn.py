"""A CDN in front of the server: it is told for what is public, and told to forget."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from mediakeep import features
from mediakeep.assets import cdn
from mediakeep.assets.served import SECONDS
from mediakeep.db import now_plus
from mediakeep.tasks.models import Task
from mediakeep.tasks.worker import drain
from tests.conftest import PASSWORD
from tests.samples import films, papers, pictures

assert features.task_modules

DOOR = "/api/v2/upload-asset"
CDN = "https://cdn.example.com/media"
SERVER = "http://localhost:8000"
TOKEN = "a token for purging"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


class Purges(ThreadingHTTPServer):
    """What a CDN has for purging: notes what it is told, and answers as `statuses` say, then with 200."""

    def __init__(self) -> None:
        self.told: list[dict[str, object]] = []
        self.statuses: list[int] = []
        super().__init__(("127.0.0.1", 0), _Purge)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/client/v4/zones/1/purge_cache"

    @property
    def tags(self) -> list[str]:
        return sorted(tag for one in self.told for tag in one["body"]["tags"])


class _Purge(BaseHTTPRequestHandler):
    server: Purges

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.told.append({"path": self.path, "headers": headers, "body": body})
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: pytest's output is not for it."""


@pytest.fixture
def purges() -> Iterator[Purges]:
    with Purges() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def given(purges):
    """Settings that differ from those of the other tests."""
    return {"cdn_url": CDN, "cdn_purge_url": purges.url, "cdn_purge_token": TOKEN}


@pytest.fixture
def library_settings(library_settings, given):
    return type(library_settings)(**library_settings.model_dump() | given)


@pytest.fixture
def at_once(monkeypatch):
    """Purges need not wait."""
    monkeypatch.setattr(cdn, "_DELAY_SECONDS", 0)


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset."""

    async def upload(data=None, file_name="a.jpg", **fields):
        data = pictures.jpeg(64, 48) if data is None else data
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


@pytest.fixture
def tasks(app):
    """The purges that are not done, dead ones too."""

    async def tasks():
        async with app.state.library.database.read() as session:
            return list(await session.scalars(select(Task).where(Task.name == "assets.purge_cdn")))

    return tasks


def path(asset):
    return f"/api/v2/assets/{asset['id']}"


# What is told


@pytest.mark.parametrize(("visibility", "base"), [("public", CDN), ("private", SERVER)])
async def test_the_cdn_is_told_for_what_is_public_and_the_server_for_the_rest(
    owner, upload, visibility, base
):
    asset = await upload(films.sound("mp3"), "a.mp3", visibility=visibility)
    expected = {
        "url": f"{base}{path(asset)}",
        "thumbnailUrl": f"{base}{path(asset)}/thumbnail",
        "waveformUrl": f"{base}{path(asset)}/waveform",
    }
    info = (await owner.get(f"{path(asset)}/info")).json()
    (listed,) = (await owner.get("/api/v2/assets")).json()
    for told in (asset, info, listed):
        assert {name: told[name] for name in expected} == expected


async def test_both_kinds_in_one_list_are_told_apart(owner, photo, private):
    listed = {one["id"]: one["url"] for one in (await owner.get("/api/v2/assets")).json()}
    assert listed == {photo["id"]: f"{CDN}{path(photo)}", private["id"]: f"{SERVER}{path(private)}"}


async def test_an_upload_s_location_is_what_its_body_tells(owner):
    answer = await owner.post(DOOR, files={"file": ("a.jpg", pictures.jpeg(64, 48))})
    assert answer.headers["location"] == answer.json()["url"]
    assert answer.headers["location"].startswith(CDN)


@pytest.mark.parametrize(("visibility", "base"), [("public", CDN), ("private", SERVER)])
async def test_the_older_dialect_tells_the_same(owner, visibility, base):
    files = {"file": ("a.jpg", pictures.jpeg(64, 48))}
    answer = await owner.post(f"/legacy{DOOR}", files=files, data={"visibility": visibility})
    uploaded = answer.json()
    (listed,) = (await owner.get("/legacy/api/v2/assets")).json()["assets"]
    for told in (uploaded, listed):
        assert told["url"] == f"{base}/api/v2/assets/{uploaded['asset_id']}"


async def test_what_becomes_private_is_told_at_the_server_from_then_on(owner, photo):
    changed = (await owner.patch(path(photo), json={"visibility": "private"})).json()
    assert changed["url"] == f"{SERVER}{path(photo)}"
    changed = (await owner.patch(path(photo), json={"visibility": "public"})).json()
    assert changed["url"] == f"{CDN}{path(photo)}"


async def test_a_signed_address_is_the_server_s(owner, photo, private):
    for asset in (photo, private):
        signed = (await owner.post(f"{path(asset)}/sign", json={"expires_in": 60})).json()
        assert signed["url"].startswith(f"{SERVER}{path(asset)}?")


@on_one_engine
@pytest.mark.parametrize("given", [{}], ids=["without a CDN"])
async def test_without_a_cdn_nothing_is_different(owner, photo, api, tasks):
    assert photo["url"] == f"{SERVER}{path(photo)}"
    assert "cache-tag" not in (await api.get(path(photo))).headers
    await owner.patch(path(photo), json={"name": "b"})
    await owner.delete(path(photo))
    assert await tasks() == []


# What answers carry


@pytest.mark.parametrize("suffix", ["", "?width=32", "/thumbnail", "/waveform", "/waveform?format=png"])
async def test_answers_with_public_bytes_carry_the_asset_s_id(upload, api, suffix):
    is_sound = "waveform" in suffix
    asset = await (upload(films.sound("mp3"), "a.mp3") if is_sound else upload())
    for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-9"})):
        answer = await api.request(method, path(asset) + suffix, headers=headers)
        assert (answer.is_success, answer.headers["cache-tag"]) == (True, asset["id"])
    again = await api.get(path(asset) + suffix, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["cache-tag"]) == (304, asset["id"])


@on_one_engine
async def test_a_page_of_a_paper_carries_it_too(upload, api):
    asset = await upload(papers.pdf(), "a.pdf")
    assert (await api.get(f"{path(asset)}?page=1&width=50")).headers["cache-tag"] == asset["id"]


@pytest.mark.parametrize("suffix", ["", "?width=32", "/thumbnail"])
async def test_answers_with_private_bytes_carry_none(owner, private, suffix):
    answer = await owner.get(path(private) + suffix)
    assert answer.headers["cache-control"] == "private, no-store"
    assert "cache-tag" not in answer.headers


@on_one_engine
async def test_what_only_its_owner_may_have_carries_none(owner, upload):
    asset = await upload(pictures.jpeg(64, 48))
    answer = await owner.get(f"{path(asset)}?width=3000&enlarge=true")
    assert answer.headers["cache-control"] == "private, no-store"
    assert "cache-tag" not in answer.headers


@on_one_engine
async def test_a_signed_address_s_answer_is_forgotten_with_the_rest(owner, photo, private, api):
    for asset, tag in ((photo, photo["id"]), (private, None)):
        signed = (await owner.post(f"{path(asset)}/sign", json={"expires_in": 60})).json()["url"]
        assert (await api.get(signed)).headers.get("cache-tag") == tag


@on_one_engine
async def test_a_refusal_carries_none(api, photo, private):
    for address, headers in (
        (path(private), {}),
        (path(photo), {"If-Match": '"other"'}),
        (path(photo), {"Range": "bytes=9999999-"}),
        (f"{path(photo)}/waveform", {}),
    ):
        answer = await api.get(address, headers=headers)
        assert answer.is_client_error
        assert "cache-tag" not in answer.headers


# What the CDN is told to forget


@pytest.mark.parametrize("door", ["", "/legacy"])
async def test_a_deleted_asset_is_forgotten(owner, photo, app, purges, at_once, door):
    assert (await owner.delete(door + path(photo))).status_code == 200
    await drain(app.state.library)
    (told,) = purges.told
    assert told["path"] == "/client/v4/zones/1/purge_cache"
    assert told["body"] == {"tags": [photo["id"]]}
    assert told["headers"]["authorization"] == f"Bearer {TOKEN}"
    assert told["headers"]["content-type"] == "application/json"


async def test_an_asset_that_an_admin_deletes_is_forgotten(admin, photo, app, purges, at_once):
    assert (await admin.delete(path(photo))).status_code == 200
    await drain(app.state.library)
    assert purges.tags == [photo["id"]]


@pytest.mark.parametrize(
    "changes", [{"visibility": "private"}, {"name": "b"}, {"focalPoint": {"x": 0, "y": 1}}], ids=str
)
async def test_an_asset_that_was_changed_is_forgotten(owner, photo, app, purges, at_once, changes):
    assert (await owner.patch(path(photo), json=changes)).status_code == 200
    await drain(app.state.library)
    assert purges.tags == [photo["id"]]


@on_one_engine
async def test_what_was_refused_or_rolled_back_is_not(owner, stranger, photo, tasks):
    assert (await stranger.patch(path(photo), json={"name": "b"})).status_code == 404
    assert (await stranger.delete(path(photo))).status_code == 403
    assert (await owner.patch(path(photo), json={"name": ""})).status_code == 422
    assert await tasks() == []


async def test_what_goes_with_its_collection_is_forgotten(owner, upload, app, purges, at_once):
    client = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    campaign = (await owner.post("/api/v2/campaigns", json={"name": "Spring", "clientId": client})).json()
    within = [await upload(clientId=client) for _ in range(2)]
    within.append(await upload(campaignId=campaign["id"]))
    await upload()
    assert (await owner.delete(f"/api/v2/clients/{client}")).is_success
    await drain(app.state.library)
    assert purges.tags == sorted(one["id"] for one in within)


@on_one_engine
async def test_what_goes_with_its_owner_is_forgotten(owner, photo, private, app, purges, at_once):
    answer = await owner.request("DELETE", "/api/v2/auth/me", json={"password": PASSWORD})
    assert answer.is_success, answer.text
    await drain(app.state.library)
    assert purges.tags == sorted([photo["id"], private["id"]])


@on_one_engine
async def test_a_large_collection_is_told_in_parts(owner, upload, app, purges, at_once, monkeypatch):
    monkeypatch.setattr("mediakeep.assets.tasks.CHUNK", 2)
    client = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    within = [await upload(clientId=client) for _ in range(5)]
    await owner.delete(f"/api/v2/clients/{client}")
    library = app.state.library
    # One after the other: side by side they arrive in any order.
    await drain(replace(library, settings=library.settings.model_copy(update={"task_concurrency": 1})))
    assert [len(one["body"]["tags"]) for one in purges.told] == [2, 2, 1]
    assert purges.tags == sorted(one["id"] for one in within)


async def test_the_cdn_is_told_once_no_server_process_can_answer_as_before(owner, photo, app, purges):
    """Else it would ask again at once, and keep what it then gets."""
    await owner.delete(path(photo))
    await drain(app.state.library)
    assert purges.told == []
    await asyncio.sleep(SECONDS)
    await drain(app.state.library)
    assert purges.told == []
    await asyncio.sleep(cdn._DELAY_SECONDS - SECONDS + 0.1)
    await drain(app.state.library)
    assert purges.tags == [photo["id"]]


@pytest.mark.parametrize("status", [302, 401, 429, 500, 503])
async def test_what_the_cdn_does_not_take_is_told_again(
    owner, photo, app, purges, tasks, at_once, monkeypatch, status
):
    monkeypatch.setattr("mediakeep.tasks.worker.back_off_seconds", lambda _: 60.0)
    purges.statuses = [status]
    await owner.delete(path(photo))
    await drain(app.state.library)
    assert len(purges.told) == 1
    (task,) = await tasks()
    assert TOKEN not in (task.last_error or "")
    async with app.state.library.database.write() as session:
        await session.execute(update(Task).where(Task.id == task.id).values(run_at=now_plus()))
    await drain(app.state.library)
    assert len(purges.told) == 2
    assert await tasks() == []


@pytest.fixture
def drain_with(app):
    """Runs the tasks that are due with other settings than they were queued with."""

    async def drain_with(**settings):
        library = app.state.library
        await drain(replace(library, settings=library.settings.model_copy(update=settings)))

    return drain_with


@on_one_engine
async def test_a_cdn_that_is_away_is_told_later(owner, photo, tasks, drain_with, at_once):
    await owner.delete(path(photo))
    await drain_with(cdn_purge_url="http://127.0.0.1:1/")
    (task,) = await tasks()
    assert task.attempts == 1


@on_one_engine
@pytest.mark.parametrize("given", [{"cdn_url": CDN}], ids=["no purge address"])
async def test_without_an_address_for_it_nothing_is_queued(owner, photo, tasks):
    await owner.patch(path(photo), json={"name": "b"})
    await owner.delete(path(photo))
    assert await tasks() == []


@on_one_engine
async def test_a_purge_of_a_time_when_there_was_an_address_ends(owner, photo, tasks, drain_with, at_once):
    await owner.delete(path(photo))
    await drain_with(cdn_purge_url="")
    assert await tasks() == []


@on_one_engine
async def test_without_a_token_none_is_sent(owner, photo, purges, drain_with, at_once):
    await owner.delete(path(photo))
    await drain_with(cdn_purge_token=SecretStr(""))
    assert "authorization" not in purges.told[0]["headers"]
