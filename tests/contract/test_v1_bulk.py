"""Bulk calls of `/api/v1` when others are in the way, when they are large, and when an admin makes them."""

import asyncio
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from mediakeep.assets import many

V1 = "/api/v1"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
def make_project():
    async def make_project(client):
        answer = await client.post(f"{V1}/projects", json={"name": "Forge"})
        return answer.json()["id"]

    return make_project


@pytest.fixture
async def project(make_project, owner):
    return await make_project(owner)


@pytest.fixture
def create(owner, project):
    """Creates assets of these items; returns the whole answer."""

    async def create(items, *, client=owner, project=project):
        answer = await client.post(f"{V1}/projects/{project}/assets/bulk", json={"assets": items})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return create


@pytest.fixture
def failing(monkeypatch):
    """Has the creation of an asset of this name fail so many times."""

    def failing(name, error, *, times):
        original = many.create
        failures = []

        async def create(session, actor, project_id, items, **options):
            made = await original(session, actor, project_id, items, **options)
            if any(item["name"] == name for item in items) and len(failures) < times:
                failures.append(error)
                raise error
            return made

        monkeypatch.setattr(many, "create", create)
        return failures

    return failing


def collision():
    return DBAPIError("", {}, SimpleNamespace(sqlstate="40P01"))


def words(turn):
    return [f"{turn}word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(100)]


async def test_two_create_the_same_words_and_tags_in_opposite_orders(
    owner, stranger, make_project, project, create
):
    theirs, other = await make_project(stranger), await make_project(owner)
    for turn in "ab":
        items = [{"name": word, "tags": [word]} for word in words(turn)]
        answers = await asyncio.gather(
            create(items),
            create(items[::-1], project=other),
            create(items[::-1], client=stranger, project=theirs),
        )
        assert [(len(one["created"]), one["failed"]) for one in answers] == [(100, [])] * 3


async def test_two_tag_and_delete_the_same_assets_in_opposite_orders(owner, project, create):
    ids = [one["id"] for one in (await create([{"name": word} for word in words("a")]))["created"]]
    url = f"{V1}/projects/{project}/assets/bulk"

    async def tag(ids, tags):
        body = {"asset_ids": ids, "operation": "add", "tags": tags}
        answer = await owner.put(f"{V1}/assets/bulk/tags", json=body)
        assert answer.json() == {"updated": len(ids), "failed": []}

    async def delete(ids):
        return (await owner.request("DELETE", url, json={"asset_ids": ids})).json()

    await asyncio.gather(tag(ids, ["x", "y"]), tag(ids[::-1], ["y", "z"]))
    one, other = await asyncio.gather(delete(ids), delete(ids[::-1]))
    assert sorted(one["deleted"] + other["deleted"]) == sorted(ids)
    assert {each["error"] for each in one["failed"] + other["failed"]} == {"Asset not found"}


async def test_a_chunk_that_collides_is_created_once(create, failing, owner, project):
    failures = failing("Asset 60", collision(), times=2)
    answer = await create([{"name": f"Asset {number}"} for number in range(110)])
    assert len(failures) == 2
    assert [one["name"] for one in answer["created"]] == [f"Asset {number}" for number in range(110)]
    assert answer["failed"] == []
    assert (await owner.get(f"{V1}/projects/{project}/assets")).json()["total"] == 110


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (collision(), "Others are changing the same things. Try again in a moment."),
        (OperationalError("", {}, Exception()), "The database does not answer. Try again in a moment."),
    ],
)
async def test_a_chunk_that_cannot_be_created_is_told_of_with_what_was(
    error, told, create, failing, owner, project
):
    failing("Asset 60", error, times=100)
    answer = await create([{"name": f"Asset {number}"} for number in range(110)])
    kept = [*range(50), *range(100, 110)]
    assert [one["name"] for one in answer["created"]] == [f"Asset {number}" for number in kept]
    assert answer["failed"] == [{"index": index, "error": told} for index in range(50, 100)]
    assert (await owner.get(f"{V1}/projects/{project}/assets")).json()["total"] == 60


async def test_an_admin_deletes_in_anybody_s_project_and_the_log_has_it(admin, owner, create, project):
    ids = [one["id"] for one in (await create([{"name": "a"}, {"name": "b"}]))["created"]]
    url = f"{V1}/projects/{project}/assets/bulk"
    answer = await admin.request("DELETE", url, json={"asset_ids": ids})
    assert answer.json() == {"deleted": ids, "failed": []}
    assert (await owner.get(f"{V1}/projects/{project}/assets")).json()["total"] == 0
    log = (await admin.get("/api/v2/audit?action=asset.deleted_by_admin")).json()
    assert {entry["subject"] for entry in log} == set(ids)


async def test_of_others_only_an_admin_deletes(admin, stranger, owner, create, project, make_project):
    [asset] = (await create([{"name": "a"}]))["created"]
    body = {"asset_ids": [asset["id"]]}
    for client, its, status in ((stranger, project, 404), (stranger, await make_project(stranger), 200)):
        answer = await client.request("DELETE", f"{V1}/projects/{its}/assets/bulk", json=body)
        assert answer.status_code == status
    assert (await owner.get(f"{V1}/assets/{asset['id']}")).status_code == 200


@on_one_engine
async def test_force_is_true_or_false(owner, project, create):
    ids = [one["id"] for one in (await create([{"name": "a"}]))["created"]]
    url = f"{V1}/projects/{project}/assets/bulk"
    for force in (0, 1, "yes", None):
        body = {"asset_ids": ids, "force": force}
        assert (await owner.request("DELETE", url, json=body)).status_code == 422


async def test_a_thousand_ordinary_assets_are_created_at_once(create):
    item = {"name": "Asset", "description": "Words of a description. " * 80, "tags": ["one", "two", "three"]}
    answer = await create([item | {"metadata": {"source": "x" * 200}}] * 1000)
    assert (len(answer["created"]), answer["failed"]) == (1000, [])


@on_one_engine
async def test_a_thousand_descriptions_may_have_their_full_length(create):
    """Three bytes a character; nothing is created, which would take longer."""
    item = {"name": "", "description": "字" * 10_000, "tags": [f"tag {n}" for n in range(100)]}
    answer = await create([item | {"metadata": {"source": "x" * 2000}}] * 1000)
    assert (len(answer["created"]), len(answer["failed"])) == (0, 1000)


@on_one_engine
async def test_a_large_body_is_taken_from_known_callers_only(api, owner, project):
    url = f"{V1}/projects/{project}/assets/bulk"
    assert (await api.post(url, content=b" " * (3 << 20))).status_code == 401
    assert (await owner.post(url, content=b" " * (41 << 20))).status_code == 413
    assert (await owner.put(f"{V1}/assets/bulk/tags", content=b" " * (3 << 20))).status_code == 413


@on_one_engine
async def test_the_document_tells_the_largest_body(api):
    paths = (await api.get("/openapi.json")).json()["paths"]

    def told(path, method):
        return str(paths[path][method]["responses"]["413"])

    assert f"at most {40 << 20} bytes" in told("/api/v1/projects/{project_id}/assets/bulk", "post")
    assert f"at most {2 << 20} bytes" in told("/api/v1/assets/bulk/tags", "put")
