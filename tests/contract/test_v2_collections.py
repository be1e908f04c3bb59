"""Clients and campaigns, and what is deleted with them."""

import pytest

from mediakeep import features
from mediakeep.tasks.worker import drain
from tests.samples import pictures

assert features.task_modules


@pytest.fixture
async def client_id(owner):
    return (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]


@pytest.fixture
async def campaign_id(owner, client_id):
    answer = await owner.post("/api/v2/campaigns", json={"name": "Spring", "clientId": client_id})
    return answer.json()["id"]


@pytest.fixture
def upload(owner):
    """Uploads a picture of its own to the given collections."""
    sides = iter(range(40, 400))

    async def send(**fields):
        files = {"file": ("a.png", pictures.png(next(sides), 32), "image/png")}
        return await owner.post("/api/v2/upload-asset", files=files, data=fields)

    return send


async def test_a_client_is_created_read_renamed_and_listed(owner):
    created = await owner.post("/api/v2/clients", json={"name": "Acme"})
    assert created.status_code == 201
    shown = created.json()
    assert shown == {**shown, "name": "Acme", "asset_count": 0}
    renamed = await owner.patch(f"/api/v2/clients/{shown['id']}", json={"name": "Acme Corp"})
    assert renamed.json()["name"] == "Acme Corp"
    assert (await owner.get(f"/api/v2/clients/{shown['id']}")).json()["name"] == "Acme Corp"
    listed = await owner.get("/api/v2/clients")
    assert [one["name"] for one in listed.json()] == ["Acme Corp"]
    assert listed.headers["x-total-count"] == "1"


async def test_a_campaign_belongs_to_a_client_or_to_none(owner, client_id, campaign_id):
    shown = (await owner.get(f"/api/v2/campaigns/{campaign_id}")).json()
    assert (shown["name"], shown["clientId"]) == ("Spring", client_id)
    alone = (await owner.patch(f"/api/v2/campaigns/{campaign_id}", json={"clientId": None})).json()
    assert (alone["name"], alone["clientId"]) == ("Spring", None)
    assert (await owner.get(f"/api/v2/campaigns?clientId={client_id}")).json() == []


async def test_an_upload_to_a_client_is_found_through_its_filter(owner, upload, client_id, campaign_id):
    to_client = (await upload(clientId=client_id)).json()
    to_both = (await upload(clientId=client_id, campaignId=campaign_id)).json()
    await upload()
    assert to_client["clientId"] == client_id
    listed = (await owner.get(f"/api/v2/assets?clientId={client_id}")).json()
    assert [one["id"] for one in listed] == [to_both["id"], to_client["id"]]
    listed = (await owner.get(f"/api/v2/assets?campaignId={campaign_id}")).json()
    assert [one["id"] for one in listed] == [to_both["id"]]


async def test_an_asset_is_moved_by_patch(owner, upload, client_id):
    asset = (await upload()).json()
    moved = (await owner.patch(asset["url"], json={"clientId": client_id})).json()
    assert moved["clientId"] == client_id
    assert (await owner.patch(asset["url"], json={"clientId": None})).json()["clientId"] is None


@pytest.mark.parametrize(
    ("field", "detail"), [("clientId", "Client not found"), ("campaignId", "Campaign not found")]
)
@pytest.mark.parametrize("given", ["098a4f86-fbc5-4507-99c3-2723e6e79399", "nonsense"])
async def test_an_upload_to_what_is_not_there_is_refused(owner, upload, field, detail, given):
    answer = await upload(**{field: given})
    assert (answer.status_code, answer.json()["detail"]) == (404, detail)
    assert (await owner.get("/api/v2/assets")).json() == []


async def test_somebody_elses_client_is_as_one_that_does_not_exist(stranger, client_id):
    path = f"/api/v2/clients/{client_id}"
    for answer in (
        await stranger.get(path),
        await stranger.patch(path, json={"name": "Mine"}),
        await stranger.delete(path),
        await stranger.post("/api/v2/campaigns", json={"name": "x", "clientId": client_id}),
        await stranger.post(
            "/api/v2/upload-asset", files={"file": ("a.png", pictures.png())}, data={"clientId": client_id}
        ),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, "Client not found")
    assert (await stranger.get(f"/api/v2/assets?clientId={client_id}")).json() == []
    assert (await stranger.get("/api/v2/clients")).json() == []


async def test_a_client_counts_its_own_and_its_campaigns_assets_once(owner, upload, client_id, campaign_id):
    await upload(clientId=client_id)
    await upload(campaignId=campaign_id)
    await upload(clientId=client_id, campaignId=campaign_id)
    assert (await owner.get(f"/api/v2/clients/{client_id}")).json()["asset_count"] == 3
    assert (await owner.get(f"/api/v2/campaigns/{campaign_id}")).json()["asset_count"] == 2


async def test_what_belongs_to_a_deleted_client_is_gone_at_once(owner, upload, client_id, campaign_id):
    assets = [(await upload(clientId=client_id)).json(), (await upload(campaignId=campaign_id)).json()]
    kept = (await upload()).json()
    assert (await owner.delete(f"/api/v2/clients/{client_id}")).status_code == 204
    assert [one["id"] for one in (await owner.get("/api/v2/assets")).json()] == [kept["id"]]
    for asset in assets:
        for path in ("", "/thumbnail", "/info"):
            assert (await owner.get(asset["url"] + path)).status_code == 404
        assert (await owner.delete(asset["url"])).status_code == 404
        assert (await owner.patch(asset["url"], json={"clientId": None})).status_code == 404
    assert (await owner.get(f"/api/v2/clients/{client_id}")).status_code == 404
    assert (await owner.get(f"/api/v2/campaigns/{campaign_id}")).status_code == 404
    assert (await upload(clientId=client_id)).status_code == 404


async def test_the_bytes_of_a_deleted_client_follow(app, owner, upload, client_id, monkeypatch):
    monkeypatch.setattr("mediakeep.assets.tasks.CHUNK", 2)
    for _ in range(5):
        await upload(clientId=client_id)
    kept = (await upload()).json()
    await owner.delete(f"/api/v2/clients/{client_id}")
    await drain(app.state.library)
    originals = [one.key async for one in app.state.library.store.iter_keys("files")]
    assert len(originals) == 1
    assert (await owner.get(kept["url"])).status_code == 200
    assert (await owner.get("/api/v2/clients")).json() == []


async def test_content_that_another_asset_shares_survives_a_deleted_client(app, owner, client_id):
    files = {"file": ("a.png", pictures.png(), "image/png")}
    await owner.post("/api/v2/upload-asset", files=files, data={"clientId": client_id})
    kept = (await owner.post("/api/v2/upload-asset", files=files)).json()
    await owner.delete(f"/api/v2/clients/{client_id}")
    await drain(app.state.library)
    assert (await owner.get(kept["url"])).content == pictures.png()


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "  "}, {"name": "x" * 256}, {"name": "a\u0000b"}, {"name": None}]
)
async def test_a_client_needs_a_sensible_name(owner, body):
    answer = await owner.post("/api/v2/clients", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "name"


async def test_pages_of_clients_link_to_one_another(owner):
    for number in range(5):
        await owner.post("/api/v2/clients", json={"name": f"Client {number}"})
    page = await owner.get("/api/v2/clients?limit=2&offset=2")
    assert [one["name"] for one in page.json()] == ["Client 2", "Client 1"]
    assert page.headers["x-total-count"] == "5"
    base = "http://localhost:8000/api/v2/clients?limit=2"
    assert page.headers["link"] == (
        f'<{base}&offset=0>; rel="first", <{base}&offset=0>; rel="prev", '
        f'<{base}&offset=4>; rel="next", <{base}&offset=4>; rel="last"'
    )
