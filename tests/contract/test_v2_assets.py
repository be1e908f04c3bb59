"""Listing, reading, changing, deleting and signing assets through `/api/v2`."""

import uuid

import pytest

from mediakeep.assets import lists, plans
from mediakeep.collections.models import Client
from mediakeep.tasks.worker import drain
from tests.samples import films, papers, pictures

DOOR = "/api/v2/upload-asset"
LIST = "/api/v2/assets"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset."""

    async def upload(data=None, file_name="a.jpg", media_type="image/jpeg", client=owner, **fields):
        file = (file_name, data or pictures.jpeg(), media_type)
        answer = await client.post(DOOR, files={"file": file}, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture
async def client_id(app, owner):
    """A client of the owner's."""
    me = (await owner.get("/api/v2/auth/me")).json()["id"]
    public_id = str(uuid.uuid4())
    async with app.state.library.database.write() as session:
        session.add(Client(public_id=public_id, owner_id=me, name="Client"))
    return public_id


@pytest.fixture
def names(owner):
    """The names of the assets that a list answers with."""

    async def names(client=owner, **query):
        answer = await client.get(LIST, params=query)
        assert answer.status_code == 200, answer.text
        return [one["name"] for one in answer.json()]

    return names


# Lists


async def test_a_list_is_one_s_own_newest_first(upload, names, stranger):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        await upload(file_name=name)
    await upload(file_name="theirs.jpg", client=stranger)
    assert await names() == ["c.jpg", "b.jpg", "a.jpg"]
    assert await names(stranger) == ["theirs.jpg"]


async def test_a_list_needs_a_login(api):
    answer = await api.get(LIST)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Not authenticated")


async def test_an_admin_s_list_is_their_own_too(upload, names, admin):
    await upload()
    assert await names(admin) == []


async def test_an_admin_sees_everybody_s_by_asking(upload, names, admin, stranger):
    await upload(file_name="a.jpg")
    await upload(file_name="b.jpg", client=stranger)
    assert await names(admin, all="true") == ["b.jpg", "a.jpg"]


async def test_nobody_else_sees_everybody_s(owner):
    answer = await owner.get(LIST, params={"all": "true"})
    assert (answer.status_code, answer.json()["detail"]) == (403, "Only an admin may do this.")


async def test_pages_follow_one_another_without_gap(upload, names, owner):
    for number in range(5):
        await upload(file_name=f"{number}.jpg")
    pages = [await names(limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert pages == [["4.jpg", "3.jpg"], ["2.jpg", "1.jpg"], ["0.jpg"], []]
    totals = {
        (await owner.get(LIST, params={"limit": 2, "offset": at})).headers["x-total-count"]
        for at in (0, 4, 6)
    }
    assert totals == {"5"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"asset_type": "image"}, ["c.png", "a.jpg"]),
        ({"asset_type": "video"}, ["b.mp4"]),
        ({"asset_type": "document"}, ["d.pdf"]),
        ({"asset_type": "audio"}, []),
        ({"tag": "RED"}, ["c.png", "b.mp4"]),
        ({"tag": "re"}, []),
        ({"tag": "red", "asset_type": "image"}, ["c.png"]),
        ({"sort_by": "name", "sort_order": "asc"}, ["a.jpg", "b.mp4", "c.png", "d.pdf"]),
        ({"sort_by": "size", "sort_order": "desc", "asset_type": "image"}, ["c.png", "a.jpg"]),
        ({"created_after": "2000-01-01"}, ["d.pdf", "c.png", "b.mp4", "a.jpg"]),
        ({"created_after": "2999-01-01T00:00:00Z"}, []),
        ({"created_before": "2999-01-01T00:00:00"}, ["d.pdf", "c.png", "b.mp4", "a.jpg"]),
        ({"created_before": "2000-01-01T00:00:00+02:00"}, []),
    ],
    ids=range(13),
)
async def test_a_list_can_be_narrowed_and_ordered(upload, names, query, expected):
    await upload(pictures.jpeg(64, 48), "a.jpg", "image/jpeg")
    await upload(films.video("mp4", 1.0), "b.mp4", "video/mp4", tags="red")
    await upload(pictures.png(640, 480), "c.png", "image/png", tags="Red,warm")
    await upload(papers.pdf(), "d.pdf", "application/pdf")
    assert await names(**query) == expected


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("dragon", ["Dragon_castle.png"]),
        ("drag CAST", ["Dragon_castle.png"]),
        ("ragon", []),
        ("dr", []),
        ("warm", ["Dragon_castle.png"]),
        ("dragon night", []),
        ("uber", ["Über den Wolken.jpg"]),
        ('"den wolken"', ["Über den Wolken.jpg"]),
        ('"wolken den"', []),
        ("jpg", ["Über den Wolken.jpg", "a.jpg"]),
        ("?!", []),
        (" ", ["Über den Wolken.jpg", "Dragon_castle.png", "a.jpg"]),
    ],
)
async def test_a_list_can_be_narrowed_to_words(upload, names, stranger, q, expected):
    await upload(file_name="a.jpg")
    await upload(pictures.png(), "Dragon_castle.png", "image/png", tags="warm,dark red")
    await upload(file_name="Über den Wolken.jpg")
    await upload(file_name="dragon uber warm jpg.jpg", client=stranger)
    assert await names(q=q) == expected


@pytest.fixture
def few_are_many(monkeypatch):
    """Sets how many matches are many, and how many are counted."""

    def few_are_many(many=5000, *, counted=10_001):
        monkeypatch.setattr(plans, "MANY", many)
        monkeypatch.setattr(plans, "MOST_COUNTED", counted)
        lists._list_queries.cache_clear()

    yield few_are_many
    lists._list_queries.cache_clear()


@pytest.mark.parametrize("counted", [2, 3, 10_001])
@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_pages_of_what_holds_a_word_are_in_the_order_of_time(
    upload, owner, few_are_many, order, counted
):
    """Also where there are more than are counted: then the total grows, and the links lead to the end or just beyond."""
    few_are_many(counted=counted)
    for name in ("dragon 1.jpg", "dragon 2.jpg", "other.jpg", "dragon 3.jpg", "dragon 4.jpg"):
        await upload(file_name=name)
    seen, address = [], f"{LIST}?q=dragon&sort_order={order}&limit=1"
    while address:
        answer = await owner.get(address)
        seen += [one["name"] for one in answer.json()]
        total = int(answer.headers["x-total-count"])
        assert (len(seen) if answer.json() else counted) <= total <= 4 + (counted < 4)
        address = answer.links.get("next", {}).get("url")
    expected = [f"dragon {number}.jpg" for number in (1, 2, 3, 4)]
    assert seen == (expected if order == "asc" else expected[::-1])


@pytest.mark.parametrize("many", [1, 5000])
async def test_words_leave_the_order_and_the_total_as_they_are(upload, owner, few_are_many, many):
    few_are_many(many)
    for name in ("b dragon.jpg", "c dragon.jpg", "a dragon.jpg", "d.jpg"):
        await upload(file_name=name)
    query = {"q": "dragon", "sort_by": "name", "sort_order": "asc", "limit": 2, "offset": 1}
    answer = await owner.get(LIST, params=query)
    assert [one["name"] for one in answer.json()] == ["b dragon.jpg", "c dragon.jpg"]
    assert answer.headers["x-total-count"] == "3"


async def test_a_list_can_be_narrowed_to_a_client(upload, names, client_id):
    await upload(file_name="with.jpg", clientId=client_id)
    await upload(file_name="without.jpg")
    assert await names(clientId=client_id) == ["with.jpg"]


@pytest.mark.parametrize("many", [1, 5000])
async def test_words_and_other_filters_narrow_together(
    upload, names, client_id, stranger, few_are_many, many
):
    few_are_many(many)
    await upload(file_name="dragon a.jpg", clientId=client_id)
    await upload(file_name="dragon b.jpg", tags="red", clientId=client_id)
    await upload(file_name="castle.jpg", tags="red", clientId=client_id)
    await upload(file_name="dragon c.jpg", tags="red", client=stranger)
    assert await names(q="drag", clientId=client_id, tag="Red", asset_type="image") == ["dragon b.jpg"]
    assert await names(q="drag", asset_type="video") == []


async def test_somebody_else_s_client_is_an_empty_list(upload, names, stranger, client_id):
    await upload(clientId=client_id)
    assert await names(stranger, clientId=client_id) == []


async def test_an_asset_keeps_its_place_when_it_changes(upload, names, owner):
    first = await upload(file_name="a.jpg")
    await upload(file_name="b.jpg")
    await owner.patch(f"{LIST}/{first['id']}", json={"description": "new"})
    assert await names() == ["b.jpg", "a.jpg"]
    assert await names(sort_by="updated_at") == ["a.jpg", "b.jpg"]


# One asset


async def test_an_asset_is_shown_to_its_owner_and_to_admins(upload, owner, admin, stranger, api):
    asset = await upload()
    address = f"{LIST}/{asset['id']}/info"
    assert (await owner.get(address)).json() == asset
    assert (await admin.get(address)).json() == asset
    refused = await stranger.get(address)
    assert (refused.status_code, refused.json()["detail"]) == (404, "Asset not found")
    assert (await api.get(address)).status_code == 401


async def test_what_a_change_does_not_name_stays(upload, owner):
    asset = await upload(tags="a,b", name="Hero")
    changed = (await owner.patch(f"{LIST}/{asset['id']}", json={"description": "Night"})).json()
    assert changed == asset | {"description": "Night", "updatedAt": changed["updatedAt"]}


async def test_null_clears(upload, owner, client_id):
    asset = await upload(tags="a,b", clientId=client_id)
    await owner.patch(f"{LIST}/{asset['id']}", json={"description": "x", "metadata": {"a": 1}})
    changes = {"description": None, "tags": None, "metadata": None, "clientId": None}
    cleared = (await owner.patch(f"{LIST}/{asset['id']}", json=changes)).json()
    assert (cleared["description"], cleared["tags"], cleared["clientId"]) == ("", None, None)
    assert cleared["metadata"] == asset["metadata"]


async def test_metadata_is_replaced_whole(upload, owner):
    asset = await upload()
    await owner.patch(f"{LIST}/{asset['id']}", json={"metadata": {"a": 1}})
    changed = (await owner.patch(f"{LIST}/{asset['id']}", json={"metadata": {"b": [1, {"c": None}]}})).json()
    assert changed["metadata"] == asset["metadata"] | {"b": [1, {"c": None}]}


async def test_a_client_may_send_back_the_metadata_that_it_read(upload, owner):
    asset = await upload()
    sent = asset["metadata"] | {"mine": True}
    await owner.patch(f"{LIST}/{asset['id']}", json={"metadata": sent})
    changed = (await owner.patch(f"{LIST}/{asset['id']}", json={"metadata": {}})).json()
    assert changed["metadata"] == asset["metadata"]


async def test_a_change_moves_an_asset_to_a_client(upload, owner, names, client_id):
    asset = await upload()
    changed = (await owner.patch(f"{LIST}/{asset['id']}", json={"clientId": client_id})).json()
    assert changed["clientId"] == client_id
    assert await names(clientId=client_id) == ["a.jpg"]


async def test_new_tags_take_the_place_of_old_ones(upload, owner, names):
    asset = await upload(tags="old,both")
    await owner.patch(f"{LIST}/{asset['id']}", json={"tags": ["both", "new"]})
    assert [await names(tag=tag) for tag in ("old", "both", "new")] == [[], ["a.jpg"], ["a.jpg"]]


async def test_a_change_of_visibility_takes_effect_at_once(upload, owner, api):
    asset = await upload()
    assert (await api.get(asset["url"])).status_code == 200
    await owner.patch(f"{LIST}/{asset['id']}", json={"visibility": "private"})
    assert (await owner.get(asset["url"])).headers["cache-control"] == "private, no-store"


async def test_somebody_else_s_asset_cannot_be_changed(upload, owner, stranger, admin):
    asset = await upload()
    for other in (stranger, admin):
        answer = await other.patch(f"{LIST}/{asset['id']}", json={"name": "theirs"})
        assert (answer.status_code, answer.json()["detail"]) == (404, "Asset not found")
    assert (await owner.get(f"{LIST}/{asset['id']}/info")).json() == asset


async def test_a_deletion_answers_in_the_words_of_the_specification(upload, owner):
    asset = await upload()
    answer = await owner.delete(f"{LIST}/{asset['id']}")
    assert answer.status_code == 200
    assert answer.json() == {"success": True, "message": f"Asset {asset['id']} deleted successfully"}
    again = await owner.delete(f"{LIST}/{asset['id']}")
    assert (again.status_code, again.json()["detail"]) == (404, "Asset not found")


async def test_somebody_else_s_asset_cannot_be_deleted(upload, stranger, owner):
    asset = await upload()
    answer = await stranger.delete(f"{LIST}/{asset['id']}")
    assert answer.status_code == 403
    assert answer.json()["detail"] == "You don't have permission to delete this asset"
    assert (await owner.get(asset["url"])).status_code == 200


async def test_an_admin_may_delete_anything(upload, admin, owner):
    asset = await upload()
    assert (await admin.delete(f"{LIST}/{asset['id']}")).status_code == 200
    assert (await owner.get(f"{LIST}/{asset['id']}/info")).status_code == 404


async def test_a_deletion_removes_the_bytes_and_everything_made_of_them(upload, owner, app):
    asset = await upload(films.sound("wav"), "a.wav", "audio/wav")
    store = app.state.library.store
    await drain(app.state.library)
    kept = [one.key for prefix in ("files", "renditions") async for one in store.iter_keys(prefix)]
    assert len(kept) == 3  # the sound, its peaks and its picture
    await owner.delete(f"{LIST}/{asset['id']}")
    await drain(app.state.library)
    assert [one.key for prefix in ("files", "renditions") async for one in store.iter_keys(prefix)] == []


async def test_content_that_another_asset_shares_stays(upload, owner, app):
    first, second = await upload(), await upload()
    await owner.delete(f"{LIST}/{first['id']}")
    await drain(app.state.library)
    assert (await owner.get(second["url"])).content == pictures.jpeg()
    assert (await owner.get(second["thumbnailUrl"])).status_code == 200


# Signatures


async def test_a_signature_names_every_address_that_there_is(upload, owner):
    sound = await upload(films.sound("mp3"), "a.mp3", "audio/mpeg", visibility="private")
    signed = (await owner.post(f"{LIST}/{sound['id']}/sign", json={"expires_in": 60})).json()
    assert set(signed) == {"url", "thumbnailUrl", "waveformUrl", "expiresAt"}
    assert signed["waveformUrl"].startswith(f"{sound['waveformUrl']}?")
    photo = await upload(visibility="private")
    signed = (await owner.post(f"{LIST}/{photo['id']}/sign", json={"expires_in": 60})).json()
    assert signed["waveformUrl"] is None


async def test_nobody_else_can_sign(upload, stranger, api):
    asset = await upload(visibility="private")
    for client, status in ((stranger, 404), (api, 401)):
        answer = await client.post(f"{LIST}/{asset['id']}/sign", json={"expires_in": 60})
        assert answer.status_code == status


# Keys


@on_one_engine
@pytest.mark.parametrize(("scopes", "reads", "writes"), [(["read"], 200, 403), (["write"], 403, 200)])
async def test_a_key_may_do_what_its_scopes_say(upload, owner, api, scopes, reads, writes):
    asset = await upload()
    made = (await owner.post("/api/v2/auth/keys", json={"name": "key", "scopes": scopes})).json()
    headers = {"X-API-Key": made["key"]}
    assert (await api.get(LIST, headers=headers)).status_code == reads
    assert (await api.get(f"{LIST}/{asset['id']}/info", headers=headers)).status_code == reads
    changed = await api.patch(f"{LIST}/{asset['id']}", json={"name": "b"}, headers=headers)
    assert changed.status_code == writes
    assert (await api.delete(f"{LIST}/{asset['id']}", headers=headers)).status_code == writes
