"""`/api/v1`: projects, image assets, generations, as the fourth document has them."""

import asyncio
import io
import string
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from mediakeep.assets import generations, many
from mediakeep.errors import NotFound
from tests.samples import films, pictures

V1 = "/api/v1"
NOWHERE = "00000000-0000-4000-8000-000000000000"
PNG = pictures.png(64, 48)

ASSET = {
    *("id", "project_id", "name", "description", "created_at", "updated_at", "thumbnail"),
    *("favorite_generation_id", "tags", "metadata", "file_size", "total_generations"),
}
GENERATION = {
    *("id", "asset_id", "image_path", "image_url", "parameters", "created_at", "updated_at", "status"),
    *("is_favorite", "file_size", "dimensions", "format", "metadata"),
}

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
def make(owner):
    """Creates things and gives their JSON."""

    class Make:
        async def project(self, name="Forge", client=owner):
            return await created(client.post(f"{V1}/projects", json={"name": name}))

        async def asset(self, project, client=owner, **body):
            return await created(
                client.post(f"{V1}/projects/{project['id']}/assets", json={"name": "Portrait", **body})
            )

        async def generation(self, asset, client=owner, **body):
            return await created(client.post(f"{V1}/assets/{asset['id']}/generations", json=body))

        async def image(self, generation, data=PNG, name="a.png", client=owner):
            answer = await client.post(
                f"{V1}/generations/{generation['id']}/upload", files={"file": (name, data)}
            )
            assert answer.status_code == 200, answer.text
            return answer.json()

    return Make()


async def created(asking):
    answer = await asking
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
async def project(make):
    return await make.project()


@pytest.fixture
async def asset(make, project):
    return await make.asset(project)


# Projects


async def test_a_project_is_created_read_changed_and_deleted(owner, make):
    project = await make.project("Arcane")
    assert set(project) == {"id", "name", "description", "asset_count", "created_at", "updated_at"}
    assert (project["name"], project["description"], project["asset_count"]) == ("Arcane", "", 0)
    url = f"{V1}/projects/{project['id']}"
    await make.asset(project)
    changed = await owner.put(url, json={"description": "Cards"})
    assert (changed.json()["name"], changed.json()["description"]) == ("Arcane", "Cards")
    assert changed.json()["asset_count"] == 1
    assert (await owner.get(url)).json() == changed.json()
    listed = (await owner.get(f"{V1}/projects")).json()
    assert (listed["total"], listed["projects"][0], listed["has_more"]) == (1, changed.json(), False)
    assert (await owner.delete(url)).status_code == 204
    assert (await owner.get(url)).json()["detail"] == "Project not found"
    assert (await owner.get(f"{url}/assets")).status_code == 404


# Assets


async def test_an_asset_has_the_document_s_fields(owner, make, project):
    given = {"description": "Epic", "tags": ["b", "A", "a"], "metadata": {"x": [1]}}
    asset = await make.asset(project, **given)
    assert set(asset) == ASSET
    assert asset["project_id"] == project["id"]
    assert (asset["tags"], asset["metadata"], asset["description"]) == (["b", "A"], {"x": [1]}, "Epic")
    assert (asset["thumbnail"], asset["file_size"], asset["total_generations"]) == (None, None, 0)
    assert asset["favorite_generation_id"] is None
    assert asset["created_at"].endswith("Z")
    read = (await owner.get(f"{V1}/assets/{asset['id']}")).json()
    assert read == {**asset, "generations": []}
    bare = (await owner.get(f"{V1}/assets/{asset['id']}?include_generations=false")).json()
    assert bare == asset


async def test_what_is_absent_stays_and_null_clears(owner, make, project):
    asset = await make.asset(project, description="a", tags=["x"], metadata={"k": 1})
    url = f"{V1}/assets/{asset['id']}"
    changed = (await owner.put(url, json={"name": "Other"})).json()
    assert (changed["name"], changed["tags"], changed["metadata"]) == ("Other", ["x"], {"k": 1})
    cleared = (await owner.put(url, json={"description": None, "tags": None, "metadata": None})).json()
    assert (cleared["description"], cleared["tags"], cleared["metadata"]) == ("", [], {})


async def test_lists_are_narrowed_sorted_and_paged(owner, make, project):
    names = ["Castle", "castle gate", "Dragon", "Inn"]
    assets = [await make.asset(project, name=name, tags=[name[0], "all"]) for name in names]
    await make.generation(assets[2])
    url = f"{V1}/projects/{project['id']}/assets"

    async def listed(query):
        answer = await owner.get(f"{url}?{query}")
        assert answer.status_code == 200, answer.text
        return [one["name"] for one in answer.json()["assets"]]

    assert await listed("") == names[::-1]
    assert await listed("sort_by=name&sort_order=asc") == ["Castle", "Dragon", "Inn", "castle gate"]
    assert (await listed("sort_by=generation_count"))[0] == "Dragon"
    assert await listed("search=castle") == ["castle gate", "Castle"]
    assert await listed("tags=C,ALL") == ["castle gate", "Castle"]
    assert await listed("tags=D,I") == []
    assert await listed("tags=D,I&tags_match=any") == ["Inn", "Dragon"]
    assert await listed("has_generations=true") == ["Dragon"]
    assert len(await listed("has_generations=false")) == 3
    assert await listed("created_after=2999-01-01") == []
    assert len(await listed("created_before=2999-01-01")) == 4
    page = (await owner.get(f"{url}?limit=2&offset=1")).json()
    assert (page["total"], page["limit"], page["offset"], page["has_more"]) == (4, 2, 1, True)
    assert (await owner.get(f"{url}?limit=2&offset=100")).json()["total"] == 4


async def test_as_many_tags_as_an_asset_can_have_are_asked_for_and_no_more(owner, make, project):
    tags = [f"{number:064}" for number in range(100)]
    asset = await make.asset(project, name="Portrait", tags=tags)
    urls = [f"{V1}/projects/{project['id']}/assets", f"{V1}/projects/{project['id']}/assets/search"]
    for url in [*urls, f"{V1}/search"]:
        for given, status, found in (
            (tags, 200, [asset["id"]]),
            ([*tags[:60], "other"], 200, []),
            ([*(tag[1:] for tag in tags), "other"], 422, None),
        ):
            answer = await owner.get(url, params={"q": "portrait", "tags": ",".join(given)})
            assert answer.status_code == status, (url, answer.text)
            if found is None:
                assert answer.json()["detail"] == "At most 100 tags can be asked for."
                assert answer.json()["errors"][0]["field"] == "tags"
            else:
                assert [one["id"] for one in answer.json()["assets"]] == found, url


@on_one_engine
async def test_text_that_is_too_long_is_counted_in_characters(owner, project):
    url = f"{V1}/projects/{project['id']}/assets"
    for path, name, most in (
        (url, "search", 2000),
        (f"{url}/search", "q", 2000),
        (f"{V1}/search", "q", 2000),
        (url, "tags", 6500),
        ("/api/v2/assets", "q", 1000),
    ):
        answer = await owner.get(path, params={name: "é" * (most + 1)})
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"{name}: String should have at most {most} characters"


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=x", "offset=-1", "sort_by=size", "sort_order=up"),
        *("has_generations=perhaps", "created_after=yesterday", "tags_match=none", "search=%00"),
    ],
)
@on_one_engine
async def test_a_list_that_makes_no_sense_is_refused(owner, project, query):
    assert (await owner.get(f"{V1}/projects/{project['id']}/assets?{query}")).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"name": ""}, {"name": " "}, {"name": "a" * 256}, {"name": 1}, {"name": "a", "tags": "x"}),
        *({"name": "a", "tags": ["x" * 65]}, {"name": "a", "tags": [str(n) for n in range(101)]}),
        *({"name": "a", "metadata": []}, {"name": "a", "metadata": {"a": "x" * 70_000}}),
        *({"name": "a", "id": "x"}, {"name": "a\0"}, {"name": "a", "description": "x" * 10_001}),
    ],
    ids=range(13),
)
@on_one_engine
async def test_an_asset_that_makes_no_sense_is_refused(owner, project, body):
    assert (await owner.post(f"{V1}/projects/{project['id']}/assets", json=body)).status_code == 422


@on_one_engine
async def test_metadata_without_a_bottom_is_refused(owner, project):
    nested = "{" + '"a":{' * 1000 + "}" * 1001
    body = f'{{"name": "a", "metadata": {nested}}}'
    answer = await owner.post(
        f"{V1}/projects/{project['id']}/assets", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422


async def test_an_asset_with_generations_is_deleted_by_force_only(owner, make, project, asset, app):
    generation = await make.generation(asset)
    await make.image(generation)
    url = f"{V1}/assets/{asset['id']}"
    refused = await owner.delete(url)
    assert (refused.status_code, refused.json()["detail"]) == (409, "Asset has active generations")
    assert (await owner.delete(f"{url}?force=true")).status_code == 204
    assert (await owner.get(url)).status_code == 404
    assert (await owner.get(f"{V1}/generations/{generation['id']}")).status_code == 404
    bare = await make.asset(project)
    assert (await owner.delete(f"{V1}/assets/{bare['id']}")).status_code == 204


@pytest.mark.parametrize("method", ["get", "put", "delete"])
async def test_somebody_else_s_things_are_not_there(owner, stranger, make, project, asset, method):
    generation = await make.generation(asset)
    for path, sentence in (
        (f"projects/{project['id']}", "Project not found"),
        (f"assets/{asset['id']}", "Asset not found"),
        (f"generations/{generation['id']}", "Generation not found"),
    ):
        for one in (path, path.rpartition("/")[0] + f"/{NOWHERE}", path.rpartition("/")[0] + "/x"):
            more = {"json": {"name": "x"} if "generations" not in one else {"is_favorite": True}}
            answer = await getattr(stranger, method)(f"{V1}/{one}", **(more if method == "put" else {}))
            assert (answer.status_code, answer.json()["detail"]) == (404, sentence)


async def test_what_goes_with_another_collection_is_gone_from_its_project_at_once(owner, make, project):
    client = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()
    form = {"projectId": project["id"], "clientId": client["id"]}
    await owner.post("/api/v2/upload-asset", files={"file": ("a.png", PNG)}, data=form)
    url = f"{V1}/projects/{project['id']}/assets"
    assert (await owner.get(url)).json()["total"] == 1
    assert (await owner.delete(f"/api/v2/clients/{client['id']}")).status_code == 204
    listed = (await owner.get(url)).json()
    assert (listed["assets"], listed["total"]) == ([], 0)


async def test_a_deleted_user_s_project_is_not_there_for_an_admin_either(admin, stranger, make):
    theirs = await make.project(client=stranger)
    url = f"{V1}/projects/{theirs['id']}/assets"
    assert (await admin.get(url)).status_code == 200
    me = (await stranger.get("/api/v2/auth/me")).json()["id"]
    assert (await admin.delete(f"/api/v2/users/{me}")).status_code == 204
    assert (await admin.get(url)).status_code == 404


# Generations


async def test_a_generation_has_the_document_s_fields(owner, make, asset):
    parameters = {"model": "Realistic_Vision_V5.1", "seed": 123456, "cfg_scale": 7.5}
    generation = await make.generation(asset, parameters=parameters)
    assert set(generation) == GENERATION
    assert generation["parameters"] == parameters
    assert generation["dimensions"] == {"width": 0, "height": 0}
    unfinished = ("image_path", "image_url", "format", "file_size", "status", "is_favorite")
    assert [generation[name] for name in unfinished] == ["", "", "", 0, "pending", False]
    assert (await owner.get(f"{V1}/generations/{generation['id']}")).json() == generation
    read = (await owner.get(f"{V1}/assets/{asset['id']}")).json()
    assert (read["total_generations"], read["generations"]) == (1, [generation])


async def test_an_asset_has_all_its_generations_however_many(owner, make, asset, monkeypatch):
    made = [await make.generation(asset, parameters={"é": [1, 1.5, None]}) for _ in range(5)]
    for chunk in (1, 2, 4, 5, 6):
        monkeypatch.setattr(generations, "CHUNK", chunk)
        answer = await owner.get(f"{V1}/assets/{asset['id']}")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {**answer.json(), "total_generations": 5, "generations": made[::-1]}, chunk


async def test_many_generations_are_sent_as_they_are_read(app, owner, make, asset):
    for number in range(45):
        await make.generation(asset, parameters={"number": number, "more": "x" * 10_000})
    sizes = []

    async def counted(scope, receive, send):
        async def send_counted(message):
            sizes.append(len(message.get("body", b"")))
            await send(message)

        await app(scope, receive, send_counted)

    transport = httpx.ASGITransport(app=counted)
    async with httpx.AsyncClient(transport=transport, headers=owner.headers) as client:
        answer = await client.get(f"http://localhost:8000{V1}/assets/{asset['id']}")
    numbers = [one["parameters"]["number"] for one in answer.json()["generations"]]
    assert numbers == list(range(45))[::-1]
    assert 450_000 < len(answer.content) == sum(sizes)
    assert max(sizes) < 300_000


async def test_an_uploaded_image_completes_a_generation(owner, make, asset, api):
    generation = await make.generation(asset)
    told = await make.image(generation)
    assert set(told) == {"image_path", "image_url", "file_size", "dimensions", "format"}
    assert (told["file_size"], told["dimensions"], told["format"]) == (
        len(PNG),
        {"width": 64, "height": 48},
        "png",
    )
    done = (await owner.get(f"{V1}/generations/{generation['id']}")).json()
    assert done["status"] == "completed"
    assert {name: done[name] for name in told} == told
    image = await api.get(told["image_url"])
    assert (image.status_code, image.content) == (200, PNG)
    assert told["image_url"].endswith(f"/api/v1/files/images/{generation['id']}.png")
    again = await owner.post(f"{V1}/generations/{generation['id']}/upload", files={"file": ("a.png", PNG)})
    assert again.status_code == 409


async def test_an_upload_that_is_sent_again_under_its_key_is_answered_as_before(owner, make, asset):
    generation = await make.generation(asset)
    url = f"{V1}/generations/{generation['id']}/upload"

    async def send(key="k1", data=PNG):
        return await owner.post(url, files={"file": ("a.png", data)}, headers={"Idempotency-Key": key})

    first, again = await send(), await send()
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    other = await send(data=pictures.png(32, 32))
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    late = await send("k2")
    assert (late.status_code, late.json()["detail"]) == (409, "A generation that has ended takes no image.")


async def test_an_upload_that_is_sent_several_times_at_once_is_carried_out_once(app, owner, make, asset):
    generation = await make.generation(asset)
    url = f"{V1}/generations/{generation['id']}/upload"
    files, headers = {"file": ("a.png", PNG)}, {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(owner.post(url, files=files, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len([one async for one in app.state.library.store.iter_keys("files")]) == 1


@on_one_engine
async def test_an_upload_is_described_as_it_is_read(app, owner, make, asset):
    operation = app.openapi()["paths"][f"{V1}/generations/{{generation_id}}/upload"]["post"]
    schema = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert list(schema["properties"]) == schema["required"] == ["file"]
    generation = await make.generation(asset)
    answer = await owner.post(
        f"{V1}/generations/{generation['id']}/upload",
        files={"file": ("a.png", PNG)},
        data={"name": "x", "visibility": "private", "projectId": NOWHERE},
    )
    assert answer.status_code == 200
    for header in operation["responses"]["200"]["headers"]:
        assert header in answer.headers
    assert (await owner.get(f"/api/v2/assets/{asset['id']}/info")).json()["visibility"] == "public"


async def test_an_image_is_private_with_its_asset_and_gone_with_its_generation_at_once(
    owner, make, asset, api
):
    generation = await make.generation(asset)
    url = (await make.image(generation))["image_url"]
    assert (await api.get(url)).status_code == 200
    here = f"/api/v2/assets/{asset['id']}"
    for visibility, status in (("private", 404), ("public", 200)):
        assert (await owner.patch(here, json={"visibility": visibility})).status_code == 200
        assert (await api.get(url)).status_code == status
    assert (await owner.delete(f"{V1}/generations/{generation['id']}")).status_code == 204
    assert (await api.get(url)).status_code == 404


@on_one_engine
async def test_only_pictures_of_the_web_complete_a_generation(owner, make, asset):
    generation = await make.generation(asset)
    for data, name in ((pictures.gif(), "a.gif"), (films.video(), "a.mp4")):
        answer = await owner.post(f"{V1}/generations/{generation['id']}/upload", files={"file": (name, data)})
        assert answer.status_code == 400
        assert answer.json()["detail"].endswith("Allowed: images (png, jpg, webp)")
    missing = await owner.post(f"{V1}/generations/{NOWHERE}/upload", files={"file": ("a.png", PNG)})
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("moves", "status"),
    [
        (["generating", "failed"], 200),
        (["pending"], 200),
        (["cancelled"], 200),
        (["generating", "pending"], 409),
        (["failed", "generating"], 409),
        (["cancelled", "failed"], 409),
        (["completed"], 409),
    ],
)
async def test_states_follow_one_another(owner, make, asset, moves, status):
    generation = await make.generation(asset)
    url = f"{V1}/generations/{generation['id']}"
    for move in moves[:-1]:
        assert (await owner.put(url, json={"status": move})).status_code == 200
    assert (await owner.put(url, json={"status": moves[-1]})).status_code == status


async def test_an_image_path_is_a_storage_key_of_one_s_own(owner, stranger, make, asset):
    done = await make.image(await make.generation(asset))
    waiting = await make.generation(asset)
    url = f"{V1}/generations/{waiting['id']}"
    for path in ("/etc/passwd", "../x", "files/00/none", "library/id"):
        answer = await owner.put(url, json={"status": "completed", "image_path": path})
        assert answer.status_code == 400, path
        assert (await owner.get(url)).json()["status"] == "pending"
    none = await owner.put(url, json={"status": "completed", "image_path": ""})
    assert none.status_code == 409
    taken = await owner.put(url, json={"status": "completed", "image_path": done["image_path"]})
    assert (taken.status_code, taken.json()["dimensions"]) == (200, {"width": 64, "height": 48})
    theirs = await make.project(client=stranger)
    other = await make.generation(await make.asset(theirs, client=stranger), client=stranger)
    refused = await stranger.put(f"{V1}/generations/{other['id']}", json={"image_path": done["image_path"]})
    assert refused.status_code == 400


async def test_there_is_one_favourite(owner, make, asset):
    first, second = [await make.generation(asset) for _ in range(2)]
    for one in (first, second):
        marked = await owner.post(f"{V1}/generations/{one['id']}/favorite")
        assert (marked.status_code, marked.json()["is_favorite"]) == (200, True)
    read = (await owner.get(f"{V1}/assets/{asset['id']}")).json()
    assert read["favorite_generation_id"] == second["id"]
    assert {one["id"]: one["is_favorite"] for one in read["generations"]} == {
        first["id"]: False,
        second["id"]: True,
    }
    unmarked = await owner.delete(f"{V1}/generations/{second['id']}/favorite")
    assert (unmarked.status_code, unmarked.json()["is_favorite"]) == (200, False)
    assert (await owner.get(f"{V1}/assets/{asset['id']}")).json()["favorite_generation_id"] is None


async def test_two_who_choose_at_once_leave_one_favourite(owner, make, asset):
    found = [await make.generation(asset) for _ in range(6)]
    answers = await asyncio.gather(*(owner.post(f"{V1}/generations/{one['id']}/favorite") for one in found))
    assert {answer.status_code for answer in answers} <= {200, 503}
    listed = (await owner.get(f"{V1}/assets/{asset['id']}/generations?is_favorite=true")).json()
    assert listed["total"] == 1


async def test_generations_are_narrowed_and_paged(owner, make, asset):
    found = [await make.generation(asset) for _ in range(3)]
    await owner.put(f"{V1}/generations/{found[0]['id']}", json={"status": "failed"})
    url = f"{V1}/assets/{asset['id']}/generations"
    listed = (await owner.get(url)).json()
    assert [one["id"] for one in listed["generations"]] == [one["id"] for one in found[::-1]]
    assert (listed["total"], listed["limit"], listed["offset"]) == (3, 20, 0)
    assert (await owner.get(f"{url}?status=failed")).json()["total"] == 1
    assert len((await owner.get(f"{url}?limit=1&offset=1")).json()["generations"]) == 1
    assert (await owner.get(f"{url}?status=done")).status_code == 422


async def test_an_image_path_of_null_is_one_of_no_image(owner, make, asset):
    done = await make.image(await make.generation(asset))
    url = f"{V1}/generations/{(await make.generation(asset))['id']}"
    assert (await owner.put(url, json={"image_path": None})).status_code == 200
    taken = await owner.put(url, json={"image_path": done["image_path"]})
    assert taken.json()["file_size"] == len(PNG)
    cleared = await owner.put(url, json={"image_path": None})
    assert (cleared.status_code, cleared.json()["image_path"], cleared.json()["file_size"]) == (200, "", 0)


async def test_an_asset_with_generations_stays_in_a_project(owner, make, project, asset):
    generation = await make.generation(asset)
    await make.image(generation)
    persona = (await owner.post("/personas", json={"name": "Ada"})).json()
    here = f"/api/v2/assets/{asset['id']}"
    refused = await owner.patch(here, json={"projectId": None, "personaId": str(persona["id"])})
    assert refused.status_code == 409
    assert refused.json()["detail"] == (
        "An asset with generations needs a project: move it to another one, or delete them first."
    )
    assert (await owner.get(f"{V1}/assets/{asset['id']}")).json()["project_id"] == project["id"]
    other = await make.project()
    moved = await owner.patch(here, json={"projectId": other["id"], "personaId": str(persona["id"])})
    assert moved.status_code == 200
    assert (await owner.get(f"{V1}/assets/{asset['id']}")).json()["project_id"] == other["id"]
    assert (await owner.delete(f"{V1}/generations/{generation['id']}")).status_code == 204
    assert (await owner.delete(f"{V1}/assets/{asset['id']}")).status_code == 204


async def test_an_asset_without_generations_leaves_its_project(owner, project):
    form = {"projectId": project["id"]}
    door = "/api/v2/upload-asset"
    uploaded = (await owner.post(door, files={"file": ("a.png", PNG)}, data=form)).json()
    answer = await owner.patch(f"/api/v2/assets/{uploaded['id']}", json={"projectId": None})
    assert answer.status_code == 200
    assert (await owner.get(f"{V1}/projects/{project['id']}/assets")).json()["total"] == 0


# Images and thumbnails


async def test_an_image_comes_at_any_size(make, asset, api):
    image = await make.image(await make.generation(asset), pictures.jpeg(640, 480), "a.jpg")
    url = image["image_url"].rpartition(".")[0]
    for address in (url, f"{url}.jpg", f"{url}.anything"):
        assert (await api.get(address)).status_code == 200
    small = await api.get(f"{url}?width=64&height=64&fit=cover&format=webp")
    assert Image.open(io.BytesIO(small.content)).size == (64, 64)
    assert (await api.get(f"{url}?width=0")).status_code == 422
    assert (await api.get(f"{V1}/files/images/{NOWHERE}")).status_code == 404


@pytest.mark.parametrize(("size", "side"), [("small", 160), ("medium", 320), ("large", 640), ("", 320)])
async def test_a_thumbnail_shows_the_favourite_else_the_first(owner, make, asset, api, size, side):
    url = f"{V1}/assets/{asset['id']}/thumbnail" + (f"?size={size}" if size else "")
    assert (await api.get(url)).status_code == 404
    first = await make.generation(asset)
    await make.image(first, pictures.jpeg(800, 400), "a.jpg")
    second = await make.generation(asset)
    await make.image(second, pictures.jpeg(400, 800), "a.jpg")
    shown = Image.open(io.BytesIO((await api.get(url)).content))
    assert shown.size == (side, side // 2)
    await owner.post(f"{V1}/generations/{second['id']}/favorite")
    assert Image.open(io.BytesIO((await api.get(url)).content)).size == (side // 2, side)
    assert (await api.get(f"{V1}/assets/{asset['id']}/thumbnail?size=huge")).status_code == 422
    read = (await owner.get(f"{V1}/assets/{asset['id']}")).json()
    assert read["thumbnail"].endswith(f"/api/v1/assets/{asset['id']}/thumbnail")


# Many at once


async def test_many_are_created_and_one_bad_one_undoes_no_other(owner, project):
    url = f"{V1}/projects/{project['id']}/assets/bulk"
    items = [{"name": "a"}, {"name": ""}, {"name": "b", "tags": ["t"]}, {"title": "c"}, {"name": "d" * 300}]
    answer = (await owner.post(url, json={"assets": items})).json()
    assert [one["name"] for one in answer["created"]] == ["a", "b"]
    assert set(answer["created"][0]) == ASSET
    assert [one["index"] for one in answer["failed"]] == [1, 3, 4]
    assert all(one["error"] for one in answer["failed"])
    for bad in ([], [{"name": "a"}] * 1001):
        assert (await owner.post(url, json={"assets": bad})).status_code == 422


async def test_a_project_that_goes_meanwhile_undoes_nothing_and_is_told(owner, project, monkeypatch):
    create = many.create
    made = []

    async def create_some(session, actor, project_id, items, **options):
        if made:
            raise NotFound("Project not found")
        made.extend(item["name"] for item in items)
        return await create(session, actor, project_id, items, **options)

    monkeypatch.setattr(many, "create", create_some)
    items = [{"name": ""}, *({"name": f"Asset {number}"} for number in range(60))]
    answer = await owner.post(f"{V1}/projects/{project['id']}/assets/bulk", json={"assets": items})
    assert answer.status_code == 200
    assert [one["name"] for one in answer.json()["created"]] == made
    told = [(one["index"], one["error"]) for one in answer.json()["failed"]]
    assert told[0][0] == 0
    assert told[1:] == [(index, "Project not found") for index in range(51, 61)]


async def test_a_thousand_are_created_at_once(owner, project):
    items = [{"name": f"Asset {number}", "tags": [f"t{number % 7}"]} for number in range(1000)]
    answer = await owner.post(f"{V1}/projects/{project['id']}/assets/bulk", json={"assets": items})
    assert len(answer.json()["created"]) == 1000
    assert (await owner.get(f"{V1}/projects/{project['id']}/assets?limit=1")).json()["total"] == 1000


async def test_many_are_deleted_and_the_others_named(owner, stranger, make, project):
    bare, full = await make.asset(project), await make.asset(project)
    await make.generation(full)
    elsewhere = await make.asset(await make.project())
    theirs = await make.asset(await make.project(client=stranger), client=stranger)
    ids = [bare["id"], full["id"], theirs["id"], elsewhere["id"], NOWHERE, bare["id"]]
    url = f"{V1}/projects/{project['id']}/assets/bulk"
    answer = (await owner.request("DELETE", url, json={"asset_ids": ids})).json()
    assert answer["deleted"] == [bare["id"]]
    assert {one["asset_id"]: one["error"] for one in answer["failed"]} == {
        full["id"]: "Asset has active generations",
        theirs["id"]: "Asset not found",
        elsewhere["id"]: "Asset not found",
        NOWHERE: "Asset not found",
    }
    forced = await owner.request("DELETE", url, json={"asset_ids": [full["id"]], "force": True})
    assert forced.json() == {"deleted": [full["id"]], "failed": []}


async def test_tags_of_many_are_added_removed_and_replaced(owner, make, project):
    assets = [await make.asset(project, tags=["One"]) for _ in range(2)]
    ids = [one["id"] for one in assets]

    async def change(operation, tags, asset_ids=ids):
        body = {"asset_ids": asset_ids, "operation": operation, "tags": tags}
        answer = await owner.put(f"{V1}/assets/bulk/tags", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def tags():
        return [(await owner.get(f"{V1}/assets/{one}")).json()["tags"] for one in ids]

    assert await change("add", ["one", "Two"]) == {"updated": 2, "failed": []}
    assert await tags() == [["One", "Two"]] * 2
    assert await change("remove", ["ONE"]) == {"updated": 2, "failed": []}
    assert await tags() == [["Two"]] * 2
    missing = await change("replace", ["x"], [ids[0], NOWHERE])
    assert missing == {"updated": 1, "failed": [{"asset_id": NOWHERE, "error": "Asset not found"}]}
    assert await tags() == [["x"], ["Two"]]


# Search


async def test_words_are_found_best_first_with_their_places(owner, make, project):
    named = await make.asset(project, name="Dragon keep", tags=["castle"])
    told = await make.asset(project, name="Inn", description="Below the dragon's keep")
    tagged = await make.asset(project, name="Gate", tags=["dragon"])
    await make.asset(project, name="Sea")
    url = f"{V1}/projects/{project['id']}/assets/search"
    found = (await owner.get(f"{url}?q=dragon")).json()
    assert [one["id"] for one in found["assets"]] == [named["id"], tagged["id"], told["id"]]
    assert (found["total"], found["limit"], found["offset"], found["has_more"]) == (3, 50, 0, False)
    best = found["assets"][0]
    assert set(best) == ASSET | {"score", "matches"}
    assert best["matches"] == [{"field": "name", "start": 0, "end": 6, "index": None}]
    scores = [one["score"] for one in found["assets"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1

    async def ids(query):
        answer = await owner.get(f"{url}?{query}")
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["assets"]]

    assert await ids("q=dragon&fields=tags") == [tagged["id"]]
    assert await ids('q="dragon keep"') == [named["id"]]
    assert await ids("q=drag*&tags=castle") == [named["id"]]
    assert await ids("q=dragno") == []
    assert named["id"] in await ids("q=dragno&fuzzy=true")
    assert await ids("q=dragon&created_after=2999-01-01") == []
    assert await ids("q=%22*%22") == []
    everywhere = (await owner.get(f"{V1}/search?q=dragon")).json()
    assert everywhere["total"] == 3


async def test_a_search_is_narrowed_to_what_has_generations(owner, make, project):
    bare, full = await make.asset(project, name="Dragon"), await make.asset(project, name="Dragon")
    await make.generation(full)
    for url in (f"{V1}/projects/{project['id']}/assets/search", f"{V1}/search"):
        for query, wanted in (("true", [full]), ("false", [bare])):
            found = (await owner.get(f"{url}?q=dragon&has_generations={query}")).json()
            assert [one["id"] for one in found["assets"]] == [one["id"] for one in wanted]
            assert found["total"] == 1


async def test_somebody_else_s_words_do_not_hide_the_one_that_was_meant(owner, stranger, make, project):
    mine = await make.asset(project, name="Main character")
    theirs = await make.project(client=stranger)
    names = ["charcter", *(f"charcter{letter}" for letter in string.ascii_lowercase)]
    items = {"assets": [{"name": name} for name in names]}
    await stranger.post(f"{V1}/projects/{theirs['id']}/assets/bulk", json=items)
    for url in (f"{V1}/projects/{project['id']}/assets/search", f"{V1}/search"):
        found = (await owner.get(f"{url}?q=charcter&fuzzy=true")).json()
        assert [one["id"] for one in found["assets"]] == [mine["id"]], url


async def test_a_search_ends_where_one_s_own_ends(owner, stranger, make, project):
    await make.asset(project, name="Dragon")
    theirs = await make.project(client=stranger)
    assert (await stranger.get(f"{V1}/search?q=dragon")).json()["total"] == 0
    assert (await stranger.get(f"{V1}/projects/{theirs['id']}/assets/search?q=dragon")).json()["total"] == 0
    assert (await stranger.get(f"{V1}/projects/{project['id']}/assets/search?q=dragon")).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        *("", "fields=name", "q=a&fields=size", "q=a&limit=0", "q=a&fuzzy=no+idea", "q=%00", "q=a&tags=%00"),
        "q=a&has_generations=perhaps",
    ],
)
@on_one_engine
async def test_a_search_that_makes_no_sense_is_refused(owner, project, query):
    for url in (f"{V1}/projects/{project['id']}/assets/search", f"{V1}/search"):
        assert (await owner.get(f"{url}?{query}")).status_code == 422


@pytest.mark.parametrize(
    "q",
    [
        *(
            '"',
            "'",
            "NEAR(a b",
            "a AND",
            "* *",
            "a:b",
            "-",
            "(",
            "^a",
            "é",
            "😀",
            "%_",
            "'; DROP TABLE assets--",
        ),
        "word " * 300,
    ],
)
async def test_no_text_breaks_a_search(owner, project, q):
    for url in (f"{V1}/projects/{project['id']}/assets/search", f"{V1}/projects/{project['id']}/assets"):
        answer = await owner.get(url, params={"q": q, "search": q, "fuzzy": "true"})
        assert answer.status_code == 200, answer.text


# Tags and statistics


async def test_tags_are_counted_renamed_and_merged(owner, make, project):
    for tags in (["Hero", "night"], ["hero"], ["night", "Villain"]):
        await make.asset(project, tags=tags)
    url = f"{V1}/projects/{project['id']}/tags"
    counted = {one["name"].lower(): one["count"] for one in (await owner.get(url)).json()["tags"]}
    assert counted == {"hero": 2, "night": 2, "villain": 1}
    assert (await owner.put(f"{url}/HERO", json={"name": "villain"})).json() == {"updated": 2}
    counted = {one["name"].lower(): one["count"] for one in (await owner.get(url)).json()["tags"]}
    assert counted == {"villain": 3, "night": 2}
    assert (await owner.put(f"{url}/none", json={"name": "x"})).json() == {"updated": 0}


@pytest.mark.parametrize("tag", ["a/b", "/", "a/", "a b?", "50%", "é", "tags/a"])
async def test_a_tag_of_any_letters_is_renamed(owner, make, project, tag):
    asset = await make.asset(project, tags=[tag])
    url = f"{V1}/projects/{project['id']}/tags/{quote(tag, safe='')}"
    answer = await owner.put(url, json={"name": "hero"})
    assert (answer.status_code, answer.json()) == (200, {"updated": 1})
    assert (await owner.get(f"{V1}/assets/{asset['id']}")).json()["tags"] == ["hero"]


async def test_tags_come_in_pages(owner, make, project):
    await make.asset(project, tags=[f"t{number}" for number in range(5)])
    url = f"{V1}/projects/{project['id']}/tags"
    pages = [await owner.get(url, params={"limit": 2, "offset": offset}) for offset in (0, 2, 4, 6)]
    names = [[one["name"] for one in page.json()["tags"]] for page in pages]
    assert names == [["t0", "t1"], ["t2", "t3"], ["t4"], []]
    assert {page.headers["x-total-count"] for page in pages} == {"5"}
    assert f'<http://localhost:8000{url}?limit=2&offset=4>; rel="next"' in pages[1].headers["link"]
    whole = await owner.get(url)
    assert (len(whole.json()["tags"]), whole.headers["x-total-count"]) == (5, "5")
    assert (await owner.get(f"{url}?offset=-1")).status_code == 422


async def test_statistics_count_what_is_there(owner, make, project, asset):
    done = await make.generation(asset, parameters={"model": "M1"})
    await make.image(done)
    failed = await make.generation(asset, parameters={"model": "M2"})
    await owner.put(f"{V1}/generations/{failed['id']}", json={"status": "failed"})
    await make.generation(asset)
    await owner.post(f"{V1}/generations/{done['id']}/favorite")
    stats = (await owner.get(f"{V1}/projects/{project['id']}/stats")).json()
    assert (stats["total_assets"], stats["total_generations"]) == (1, 3)
    assert stats["generations_by_status"] == {"completed": 1, "failed": 1, "pending": 1}
    assert stats["storage_used"] == len(PNG)
    assert stats["generation_trends"]["models_used"] == {"M1": 1, "M2": 1}
    daily = stats["generation_trends"]["daily"]
    assert len(daily) == 30
    assert daily == sorted(daily, key=lambda day: day["date"])
    assert {name: daily[-1][name] for name in ("count", "completed", "failed")} == {
        "count": 3,
        "completed": 1,
        "failed": 1,
    }
    mine = (await owner.get(f"{V1}/assets/{asset['id']}/stats")).json()
    assert (mine["total_generations"], mine["successful_generations"], mine["failed_generations"]) == (
        3,
        1,
        1,
    )
    assert (mine["favorite_generation_id"], mine["total_file_size"]) == (done["id"], len(PNG))
    assert mine["generation_history"][0]["id"] == done["id"]


# One library


async def test_what_one_door_takes_the_others_show(owner, make, project, asset):
    url = "/api/v2/upload-asset"
    form = {"projectId": project["id"], "name": "Uploaded"}
    uploaded = (await owner.post(url, files={"file": ("a.png", PNG)}, data=form)).json()
    listed = (await owner.get(f"{V1}/projects/{project['id']}/assets")).json()["assets"]
    here = {one["name"]: one for one in listed}
    assert here["Uploaded"]["total_generations"] == 0
    assert here["Uploaded"]["thumbnail"]
    assert asset["id"] not in [one["id"] for one in (await owner.get("/api/v2/assets")).json()]
    here = f"/api/v2/assets/{asset['id']}"
    for method, body in (("PATCH", {"json": {"name": "x"}}), ("DELETE", {}), ("GET", {})):
        assert (await owner.request(method, here, **body)).status_code == 404
    generation = await make.generation(asset)
    await make.image(generation)
    shown = {one["id"]: one for one in (await owner.get("/api/v2/assets")).json()}
    assert {asset["id"], uploaded["id"]} <= set(shown)
    assert (shown[asset["id"]]["width"], shown[asset["id"]]["type"]) == (64, "image")
    assert (await owner.get(shown[asset["id"]]["url"])).content == PNG
    old = (await owner.get("/legacy/api/v2/assets")).json()["assets"]
    assert {asset["id"], uploaded["id"]} <= {one["asset_id"] for one in old}
    await owner.delete(f"{V1}/generations/{generation['id']}")
    assert asset["id"] not in [one["id"] for one in (await owner.get("/api/v2/assets")).json()]
