"""The dialect of 000 and 001 below `/legacy`, and the two doors that 002 deprecated."""

import re

import pytest

from tests.samples import papers, pictures

JPEG = {"file": ("image.jpg", pictures.jpeg(), "image/jpeg")}


async def test_an_upload_answers_in_the_older_shape(owner):
    answer = await owner.post("/legacy/api/v2/upload-asset", files=JPEG)
    assert answer.status_code == 200
    asset_id = answer.json()["asset_id"]
    assert answer.json() == {
        "success": True,
        "url": f"http://localhost:8000/api/v2/assets/{asset_id}",
        "asset_id": asset_id,
        "filename": "image.jpg",
        "size_bytes": len(pictures.jpeg()),
    }


async def test_a_list_answers_in_the_older_shape(owner):
    uploaded = (await owner.post("/legacy/api/v2/upload-asset", files=JPEG)).json()
    answer = (await owner.get("/legacy/api/v2/assets?limit=10")).json()
    asset = answer["assets"].pop()
    assert answer == {"success": True, "assets": [], "limit": 10, "offset": 0}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", asset.pop("uploaded_at"))
    assert asset == {
        "asset_id": uploaded["asset_id"],
        "filename": "image.jpg",
        "file_type": "image/jpeg",
        "size_bytes": len(pictures.jpeg()),
        "url": uploaded["url"],
    }


@pytest.mark.parametrize("prefix", ["", "/legacy"])
async def test_both_addresses_serve_the_file_without_login(api, owner, prefix):
    asset_id = (await owner.post("/legacy/api/v2/upload-asset", files=JPEG)).json()["asset_id"]
    answer = await api.get(f"{prefix}/api/v2/assets/{asset_id}")
    assert (answer.status_code, answer.content) == (200, pictures.jpeg())


async def test_it_takes_only_its_own_types(owner):
    files = {"file": ("a.pdf", papers.pdf(), "application/pdf")}
    answer = await owner.post("/legacy/api/v2/upload-asset", files=files)
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "Invalid file type: application/pdf. Allowed: images (jpg, png, gif, webp), videos (mp4, mov)"
    )


async def test_it_lists_what_came_through_the_other_door_where_it_knows_the_type(owner):
    picture = (await owner.post("/api/v2/upload-asset", files=JPEG)).json()
    files = {"file": ("a.pdf", papers.pdf(), "application/pdf")}
    await owner.post("/api/v2/upload-asset", files=files)
    listed = (await owner.get("/legacy/api/v2/assets")).json()["assets"]
    assert [one["asset_id"] for one in listed] == [picture["id"]]


async def test_it_deletes_and_refuses_strangers_with_403(owner, stranger):
    asset_id = (await owner.post("/legacy/api/v2/upload-asset", files=JPEG)).json()["asset_id"]
    path = f"/legacy/api/v2/assets/{asset_id}"
    assert (await stranger.delete(path)).status_code == 403
    deleted = await owner.delete(path)
    assert deleted.json() == {"success": True, "message": f"Asset {asset_id} deleted successfully"}
    assert (await owner.delete(path)).status_code == 404


@pytest.mark.parametrize("kind", ["client", "campaign"])
async def test_a_deprecated_door_answers_like_its_successor_and_names_it(owner, kind):
    made = (await owner.post(f"/api/v2/{kind}s", json={"name": "Acme"})).json()["id"]
    answer = await owner.post(f"/api/{kind}s/{made}/assets", files=JPEG)
    assert answer.status_code == 201
    assert answer.json()[f"{kind}Id"] == made
    assert answer.headers["deprecation"].startswith("@")
    assert answer.headers["link"] == '</api/v2/upload-asset>; rel="successor-version"'


async def test_a_deprecated_door_knows_only_ones_own_clients(owner, stranger):
    made = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    answer = await stranger.post(f"/api/clients/{made}/assets", files=JPEG)
    assert (answer.status_code, answer.json()["detail"]) == (404, "Client not found")
