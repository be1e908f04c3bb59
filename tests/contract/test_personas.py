"""`/personas`: whom media files belong to."""

import re

import pytest

from mediakeep import features
from mediakeep.tasks.worker import drain
from tests.samples import papers, pictures

assert features.task_modules

MEMBERS = {"id", "name", "description", "user_id", "asset_count", "created_at", "updated_at"}

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
async def me(owner):
    return (await owner.get("/api/v2/auth/me")).json()["id"]


@pytest.fixture
async def persona(owner):
    return (await owner.post("/personas", json={"name": "Ada", "description": "Curious"})).json()


@pytest.fixture
def upload(owner):
    """Uploads a picture of its own to a persona; returns the media file."""
    sides = iter(range(40, 400))

    async def upload(persona_id):
        files = {"file": ("a.png", pictures.png(next(sides), 32), "image/png")}
        answer = await owner.post(f"/media/upload/{persona_id}", files=files)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


def refused(answer, status, detail):
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_persona_is_created(owner, me):
    answer = await owner.post("/personas", json={"name": "Ada", "description": "Curious\nand dry"})
    assert answer.status_code == 201
    shown = answer.json()
    assert set(shown) == MEMBERS
    for name in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", shown.pop(name))
    assert isinstance(shown.pop("id"), int)
    assert shown == {"name": "Ada", "description": "Curious\nand dry", "user_id": me, "asset_count": 0}
    assert answer.headers["cache-control"] == "no-store"


@on_one_engine
@pytest.mark.parametrize("body", [{"name": "Ada"}, {"name": "Ada", "description": None}])
async def test_a_persona_needs_no_description(owner, body):
    answer = await owner.post("/personas", json=body)
    assert (answer.status_code, answer.json()["description"]) == (201, None)


async def test_a_persona_is_read_and_listed(owner, persona):
    assert (await owner.get(f"/personas/{persona['id']}")).json() == persona
    second = (await owner.post("/personas", json={"name": "Bea"})).json()
    listed = await owner.get("/personas")
    assert listed.json() == [second, persona]
    assert listed.headers["x-total-count"] == "2"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_is_absent_stays_as_it_is_and_null_clears(owner, persona, method):
    path = f"/personas/{persona['id']}"
    renamed = await owner.request(method, path, json={"name": "Ada L."})
    assert renamed.status_code == 200
    assert set(renamed.json()) == MEMBERS
    assert (renamed.json()["name"], renamed.json()["description"]) == ("Ada L.", "Curious")
    cleared = (await owner.request(method, path, json={"description": None})).json()
    assert (cleared["name"], cleared["description"]) == ("Ada L.", None)
    assert (await owner.request(method, path, json={})).json()["name"] == "Ada L."
    assert (await owner.get(path)).json()["name"] == "Ada L."


async def test_pages_of_personas_link_to_one_another(owner):
    for number in range(5):
        await owner.post("/personas", json={"name": f"Persona {number}"})
    page = await owner.get("/personas?limit=2&offset=2")
    assert [one["name"] for one in page.json()] == ["Persona 2", "Persona 1"]
    assert page.headers["x-total-count"] == "5"
    assert '<http://localhost:8000/personas?limit=2&offset=4>; rel="next"' in page.headers["link"]


@on_one_engine
@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "offset=-1", "all=perhaps"])
async def test_a_page_that_makes_no_sense_is_refused(owner, query):
    answer = await owner.get(f"/personas?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_a_persona_counts_all_that_deleting_it_would_take_along(owner, persona, upload):
    await upload(persona["id"])
    files = {"file": ("a.pdf", papers.pdf(), "application/pdf")}
    await owner.post("/api/v2/upload-asset", files=files, data={"personaId": persona["id"]})
    assert (await owner.get(f"/personas/{persona['id']}")).json()["asset_count"] == 2
    assert (await owner.get("/personas")).json()[0]["asset_count"] == 2
    changed = await owner.patch(f"/personas/{persona['id']}", json={"name": "Bea"})
    assert changed.json()["asset_count"] == 2


async def test_what_belongs_to_a_deleted_persona_is_gone_at_once_and_its_bytes_follow(
    app, owner, persona, upload
):
    media = [await upload(persona["id"]) for _ in range(3)]
    other = (await owner.post("/personas", json={"name": "Bea"})).json()
    kept = await upload(other["id"])
    answer = await owner.delete(f"/personas/{persona['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    for one in media:
        refused(await owner.get(f"/media/files/{one['id']}"), 404, f"Media file {one['id']} not found")
        refused(await owner.get(f"/media/download/{one['id']}"), 404, f"Media file {one['id']} not found")
        for method in ("PUT", "DELETE"):
            assert (await owner.request(method, f"/media/files/{one['id']}")).status_code == 404
    assert [one["id"] for one in (await owner.get("/media/files")).json()] == [kept["id"]]
    assert (await owner.get("/media/stats")).json()["files_per_persona"] == {str(other["id"]): 1}
    assert (await owner.get(f"/personas/{persona['id']}")).status_code == 404
    await drain(app.state.library)
    assert len([one async for one in app.state.library.store.iter_keys("files")]) == 1
    assert (await owner.get(f"/media/download/{kept['id']}")).status_code == 200


async def test_the_id_of_a_deleted_persona_is_never_used_again(app, owner, persona):
    await owner.delete(f"/personas/{persona['id']}")
    await drain(app.state.library)
    assert (await owner.post("/personas", json={"name": "Bea"})).json()["id"] > persona["id"]


async def test_somebody_elses_persona_is_as_one_that_does_not_exist(stranger, admin, persona):
    path, detail = f"/personas/{persona['id']}", f"Persona {persona['id']} not found"
    for client, methods in ((stranger, ("GET", "PUT", "PATCH", "DELETE")), (admin, ("PUT", "PATCH"))):
        for method in methods:
            body = {"json": {"name": "Mine"}} if method in {"PUT", "PATCH"} else {}
            refused(await client.request(method, path, **body), 404, detail)
    assert (await stranger.get("/personas")).json() == []
    refused(await stranger.get("/personas?all=true"), 403, "Only an admin may do this.")


async def test_an_admin_sees_everybodys_when_asked_to_and_may_delete(owner, admin, persona):
    assert (await admin.get("/personas")).json() == []
    assert (await admin.get("/personas?all=true")).json() == [persona]
    assert (await admin.get(f"/personas/{persona['id']}")).json() == persona
    assert (await admin.delete(f"/personas/{persona['id']}")).status_code == 204
    assert (await owner.get("/personas")).json() == []


@pytest.mark.parametrize("given", ["0", "-1", "999999", "9" * 15, "9" * 19, "9" * 90])
async def test_an_id_that_nothing_has_is_told_as_it_was_given(owner, given):
    for method in ("GET", "PATCH", "DELETE"):
        answer = await owner.request(
            method, f"/personas/{given}", **({"json": {}} if method == "PATCH" else {})
        )
        refused(answer, 404, f"Persona {given} not found")


@on_one_engine
@pytest.mark.parametrize("given", ["ada", "1.0", "1_0", "+1", " 1", "1e3", "٣", "9" * 5000, "%00"])
async def test_an_id_that_is_no_number_is_refused(owner, given):
    for method in ("GET", "PUT", "DELETE"):
        answer = await owner.request(
            method, f"/personas/{given}", **({"json": {}} if method == "PUT" else {})
        )
        refused(answer, 422, "persona_id: Input should be a valid integer")


@on_one_engine
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"name": ["a"]}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a", "description": 7}, "description"),
        ({"name": "a", "description": "x" * 10_001}, "description"),
        ({"name": "a", "description": "a\0b"}, "description"),
        ({"name": "a", "user_id": 1}, "user_id"),
        ([], "body"),
        ("Ada", "body"),
    ],
    ids=range(15),
)
async def test_a_persona_that_makes_no_sense_is_refused(owner, persona, body, field):
    answer = await owner.post("/personas", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    if body:
        answer = await owner.put(f"/personas/{persona['id']}", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert (await owner.get("/personas")).json() == [persona]


async def test_names_are_kept_as_they_are_written(owner):
    answer = await owner.post(
        "/personas", json={"name": " Zoë 🎬 ", "description": "日本\n\t'; DROP TABLE--"}
    )
    shown = (await owner.get(f"/personas/{answer.json()['id']}")).json()
    assert (shown["name"], shown["description"]) == ("Zoë 🎬", "日本\n\t'; DROP TABLE--")
