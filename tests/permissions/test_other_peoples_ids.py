"""Other people's ids, wherever an id is taken: they do what ids do that nothing has."""

import pytest

from tests.permissions.world import DOOR, NOWHERE, PICTURE


def told(answer):
    """What an answer tells: everything but the request's id."""
    headers = {n: value for n, value in answer.headers.items() if n not in {"date", "x-request-id"}}
    return answer.status_code, headers, answer.content


@pytest.mark.parametrize("kind", ["client", "campaign"])
async def test_somebody_else_s_collection_as_a_filter_lists_nothing(make, stranger, kind):
    theirs = await make(f"{kind}s")
    await make("assets", **{f"{kind}Id": theirs})
    for unknown in (theirs, NOWHERE):
        answer = await stranger.get("/api/v2/assets", params={f"{kind}Id": unknown})
        assert (answer.status_code, answer.json(), answer.headers["x-total-count"]) == (200, [], "0")


async def test_somebody_else_s_client_as_a_filter_of_campaigns_lists_nothing(make, stranger):
    client_id = await make("clients")
    await make("campaigns", clientId=client_id)
    answer = await stranger.get("/api/v2/campaigns", params={"clientId": client_id})
    assert (answer.json(), answer.headers["x-total-count"]) == ([], "0")


async def test_somebody_else_s_words_and_tags_find_nothing(owner, stranger, make):
    await make("assets", name="needle", tags="haystack")
    for wanted in ({"q": "needle"}, {"tag": "haystack"}, {"q": "haystack"}):
        assert len((await owner.get("/api/v2/assets", params=wanted)).json()) == 1
        assert (await stranger.get("/api/v2/assets", params=wanted)).json() == []


async def test_nothing_moves_into_somebody_else_s_collection(stranger, make):
    client_id, campaign_id = await make("clients"), await make("campaigns")
    mine = (await stranger.post(DOOR, files=PICTURE)).json()["id"]
    my_campaign = (await stranger.post("/api/v2/campaigns", json={"name": "a"})).json()["id"]

    async def attempts(client_id, campaign_id):
        send = stranger.request
        return [
            await send("PATCH", f"/api/v2/assets/{mine}", json={"clientId": client_id}),
            await send("PATCH", f"/api/v2/assets/{mine}", json={"campaignId": campaign_id}),
            await send("PATCH", f"/api/v2/campaigns/{my_campaign}", json={"clientId": client_id}),
            await send("POST", "/api/v2/campaigns", json={"name": "a", "clientId": client_id}),
            await send("POST", DOOR, files=PICTURE, data={"clientId": client_id}),
            await send("POST", DOOR, files=PICTURE, data={"campaignId": campaign_id}),
            await send("POST", "/legacy" + DOOR, files=PICTURE, data={"clientId": client_id}),
            await send("POST", f"/api/clients/{client_id}/assets", files=PICTURE),
            await send("POST", f"/api/campaigns/{campaign_id}/assets", files=PICTURE),
        ]

    theirs, missing = await attempts(client_id, campaign_id), await attempts(NOWHERE, NOWHERE)
    assert [answer.status_code for answer in theirs] == [404] * len(theirs)
    assert [told(answer) for answer in theirs] == [told(answer) for answer in missing]


async def test_an_upload_cannot_name_an_owner(owner, stranger):
    me = (await owner.get("/api/v2/auth/me")).json()["id"]
    names = ("userId", "owner_id", "ownerId", "user_id", "id", "asset_id")
    made = (await stranger.post(DOOR, files=PICTURE, data=dict.fromkeys(names, str(me)))).json()
    assert made["userId"] != me
    for name in names:
        answer = await stranger.patch(f"/api/v2/assets/{made['id']}", json={name: me})
        assert answer.status_code == 422
    assert (await owner.get("/api/v2/assets")).json() == []


async def test_the_same_content_gives_no_hold_on_somebody_else_s_asset(owner, stranger, private):
    mine = (await stranger.post(DOOR, files=PICTURE)).json()
    assert (await stranger.get(f"/api/v2/assets/{private}")).status_code == 404
    await stranger.delete(f"/api/v2/assets/{mine['id']}")
    assert (await owner.get(f"/api/v2/assets/{private}")).status_code == 200


async def test_somebody_else_s_idempotency_key_gives_no_answer_of_theirs(owner, stranger):
    headers = {"Idempotency-Key": "one"}
    theirs = (await owner.post(DOOR, files=PICTURE, headers=headers)).json()
    mine = (await stranger.post(DOOR, files=PICTURE, headers=headers)).json()
    assert mine["id"] != theirs["id"]
    assert mine["userId"] != theirs["userId"]
