"""Accounts as admins see them, the log of what happened to them, and what deleting one takes along."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select, update

from mediakeep import collections
from mediakeep.accounts import service
from mediakeep.accounts.actor import SHELL, Actor
from mediakeep.accounts.models import User
from mediakeep.assets.models import Asset
from mediakeep.db import Base
from mediakeep.errors import NotAuthenticated
from mediakeep.files.ingest import ingest
from mediakeep.files.models import File
from mediakeep.http import upload as upload_door
from mediakeep.tasks.worker import drain
from tests.conftest import PASSWORD
from tests.samples import pictures

ONLY_ADMIN = "This is the only admin; make another account an admin first."
OWN = "This is your own account; /api/v2/auth has the calls for it, which ask for the password."


@pytest.fixture
def library(app):
    return app.state.library


async def id_of(client):
    return (await client.get("/api/v2/auth/me")).json()["id"]


async def delete_me(client, password=PASSWORD):
    return await client.request("DELETE", "/api/v2/auth/me", json={"password": password})


async def upload(client, picture=None, **fields):
    files = {"file": ("a.png", picture or pictures.png(), "image/png")}
    return await client.post("/api/v2/upload-asset", files=files, data=fields)


async def make_key(client, *scopes, api):
    """A function that asks with a new API key of the client's."""
    answer = await client.post("/api/v2/auth/keys", json={"name": "k", "scopes": list(scopes)})
    headers = {"X-API-Key": answer.json()["key"]}

    async def ask(method, path, **options):
        return await api.request(method, path, headers=headers, **options)

    return ask


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["detail"]


# Reading


async def test_an_admin_lists_accounts_newest_first(admin, owner, stranger):
    answer = await admin.get("/api/v2/users?limit=2")
    assert [one["email"] for one in answer.json()] == ["stranger@example.com", "owner@example.com"]
    assert answer.headers["x-total-count"] == "3"
    assert 'offset=2>; rel="next"' in answer.headers["link"]
    shown = answer.json()[1]
    assert shown == {
        "id": await id_of(owner),
        "email": "owner@example.com",
        "is_admin": False,
        "disabled": False,
        "created_at": shown["created_at"],
    }
    assert (await admin.get(f"/api/v2/users/{shown['id']}")).json() == shown


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v2/users", None),
        ("GET", "/api/v2/users/1", None),
        ("PATCH", "/api/v2/users/1", {"disabled": True}),
        ("POST", "/api/v2/users/1/password", {"password": PASSWORD}),
        ("DELETE", "/api/v2/users/1", None),
        ("GET", "/api/v2/audit", None),
    ],
)
async def test_others_and_keys_without_the_scope_may_not(api, admin, owner, method, path, body):
    denied = (403, "Only an admin may do this.")
    assert problem(await owner.request(method, path, json=body)) == denied
    weak = await make_key(admin, "read", "write", api=api)
    assert problem(await weak(method, path, json=body)) == denied
    assert problem(await api.request(method, path, json=body)) == (401, "Not authenticated")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v2/users/{}", None),
        ("PATCH", "/api/v2/users/{}", {"disabled": True}),
        ("PATCH", "/api/v2/users/{}", {"is_admin": True}),
        ("PATCH", "/api/v2/users/{}", {}),
        ("POST", "/api/v2/users/{}/password", {"password": PASSWORD}),
        ("DELETE", "/api/v2/users/{}", None),
    ],
)
async def test_an_unknown_user_is_not_found_and_what_is_no_id_does_not_validate(admin, method, path, body):
    assert problem(await admin.request(method, path.format(999), json=body)) == (404, "User not found")
    for nonsense in ("x", "0", "9" * 30):
        assert (await admin.request(method, path.format(nonsense), json=body)).status_code == 422


# Changing


async def test_a_disabled_user_is_out_at_once_with_keys_and_may_come_back(api, admin, owner):
    path = f"/api/v2/users/{await id_of(owner)}"
    key = await make_key(owner, "read", api=api)
    asset = (await upload(owner)).json()
    answer = await admin.patch(path, json={"disabled": True})
    assert (answer.status_code, answer.json()["disabled"]) == (200, True)
    assert (await owner.get("/api/v2/auth/me")).status_code == 401
    assert (await key("GET", "/api/v2/auth/me")).status_code == 401
    login = {"email": "owner@example.com", "password": PASSWORD}
    assert (await api.post("/api/v2/auth/login", json=login)).status_code == 401
    assert (await api.get(asset["url"])).status_code == 200  # what is theirs stays
    assert not (await admin.patch(path, json={"disabled": False})).json()["disabled"]
    assert (await owner.get("/api/v2/auth/me")).status_code == 401
    assert (await key("GET", "/api/v2/auth/me")).status_code == 200
    assert (await api.post("/api/v2/auth/login", json=login)).status_code == 200


async def test_an_admin_is_made_and_unmade(admin, owner):
    path = f"/api/v2/users/{await id_of(owner)}"
    assert (await admin.patch(path, json={"is_admin": True})).json()["is_admin"]
    assert (await owner.get("/api/v2/users")).status_code == 200
    assert not (await admin.patch(path, json={"is_admin": False})).json()["is_admin"]
    assert (await owner.get("/api/v2/users")).status_code == 403


@pytest.mark.parametrize("body", [{"is_admin": False}, {"disabled": True}])
async def test_the_only_admin_stays_one_while_there_are_others(admin, owner, body):
    path = f"/api/v2/users/{await id_of(admin)}"
    assert problem(await admin.patch(path, json=body)) == (409, ONLY_ADMIN)
    assert problem(await delete_me(admin)) == (409, ONLY_ADMIN)
    assert (await admin.get("/api/v2/users")).status_code == 200
    await admin.patch(f"/api/v2/users/{await id_of(owner)}", json={"is_admin": True})
    assert (await admin.patch(path, json=body)).status_code == 200


async def test_a_disabled_admin_does_not_count_as_one_that_is_left(admin, owner, stranger):
    path = f"/api/v2/users/{await id_of(owner)}"
    await admin.patch(path, json={"is_admin": True, "disabled": True})
    assert problem(await delete_me(admin)) == (409, ONLY_ADMIN)
    assert (await admin.delete(path)).status_code == 204


@pytest.mark.parametrize(
    "body", [{"disabled": None}, {"disabled": "yes"}, {"is_admin": 1}, {"email": "x@example.com"}, []]
)
async def test_a_change_that_does_not_validate_is_422_and_changes_nothing(admin, owner, body):
    path = f"/api/v2/users/{await id_of(owner)}"
    assert problem(await admin.patch(path, json=body))[0] == 422
    assert not (await admin.get(path)).json()["disabled"]


async def test_an_admin_sets_a_password_and_that_users_sign_ins_end(api, admin, owner):
    path = f"/api/v2/users/{await id_of(owner)}/password"
    key = await make_key(owner, "read", api=api)
    assert (await admin.post(path, json={"password": "another horse"})).status_code == 204
    assert (await owner.get("/api/v2/auth/me")).status_code == 401
    login = {"email": "owner@example.com", "password": "another horse"}
    assert (await api.post("/api/v2/auth/login", json=login)).status_code == 200
    assert (await key("GET", "/api/v2/auth/me")).status_code == 200
    await admin.post(path, json={"password": "another horse", "revoke_keys": True})
    assert (await key("GET", "/api/v2/auth/me")).status_code == 401


async def test_an_admins_key_reads_disables_and_deletes_but_takes_no_account_over(api, admin, owner):
    key = await make_key(admin, "admin", api=api)
    theirs, own = f"/api/v2/users/{await id_of(owner)}", f"/api/v2/users/{await id_of(admin)}"
    no_key = (403, "An API key may not do this; log in with the password.")
    assert problem(await key("PATCH", theirs, json={"is_admin": True})) == no_key
    assert problem(await key("POST", f"{theirs}/password", json={"password": PASSWORD})) == no_key
    assert problem(await key("DELETE", own)) == (409, OWN)
    assert problem(await admin.delete(own)) == (409, OWN)
    assert problem(await admin.post(f"{own}/password", json={"password": PASSWORD})) == (409, OWN)
    assert (await key("GET", "/api/v2/users")).status_code == 200
    assert (await key("PATCH", theirs, json={"disabled": True})).status_code == 200
    assert (await key("DELETE", theirs)).status_code == 204


# Deleting


@pytest.mark.parametrize("by_admin", [True, False])
async def test_a_deleted_user_is_gone_at_once_with_everything_of_theirs(
    api, admin, owner, register, by_admin
):
    key = await make_key(owner, "read", api=api)
    client_id = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    public = (await upload(owner, clientId=client_id)).json()
    private = (await upload(owner, pictures.png(40, 40), visibility="private")).json()
    signed = (await owner.post(f"{private['url']}/sign", json={"expires_in": 600})).json()["url"]
    assert (await api.get(signed)).status_code == 200
    if by_admin:
        assert (await admin.delete(f"/api/v2/users/{await id_of(owner)}")).status_code == 204
    else:
        assert (await delete_me(owner)).status_code == 204
    for path in (public["url"], f"{public['url']}/thumbnail", signed):
        assert (await api.get(path)).status_code == 404
    assert (await owner.get("/api/v2/auth/me")).status_code == 401
    assert (await key("GET", "/api/v2/auth/me")).status_code == 401
    assert (await admin.get("/api/v2/assets?all=true")).json() == []
    assert (await admin.get("/api/v2/clients?all=true")).json() == []
    assert (await admin.get(f"/api/v2/clients/{client_id}")).status_code == 404
    assert (await admin.delete(f"/api/v2/clients/{client_id}")).status_code == 404
    assert (await admin.get(f"{public['url']}/info")).status_code == 404
    assert (await admin.delete(public["url"])).status_code == 404
    assert [one["email"] for one in (await admin.get("/api/v2/users")).json()] == ["admin@example.com"]
    login = {"email": "owner@example.com", "password": PASSWORD}
    assert (await api.post("/api/v2/auth/login", json=login)).status_code == 401
    again = await register("owner@example.com")  # the address is free
    assert (await again.get("/api/v2/assets")).json() == []


async def test_the_rows_and_bytes_of_a_deleted_user_follow(library, admin, owner, stranger, monkeypatch):
    monkeypatch.setattr("mediakeep.assets.tasks.CHUNK", 2)
    await owner.post("/api/v2/auth/keys", json={"name": "k"})
    client_id = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    campaign = {"name": "Spring", "clientId": client_id}
    campaign_id = (await owner.post("/api/v2/campaigns", json=campaign)).json()["id"]
    for side in range(40, 45):
        await upload(owner, pictures.png(side, side), clientId=client_id, campaignId=campaign_id, tags="a,b")
    shared = (await upload(stranger, pictures.png(40, 40))).json()
    user_id = await id_of(owner)
    await delete_me(owner)
    await drain(library)
    async with library.database.read() as session:
        left = {
            table.name
            for table in Base.metadata.tables.values()
            for name in ("user_id", "owner_id")
            if name in table.columns and table.name != "audit_log"
            if (await session.execute(select(table).where(table.columns[name] == user_id))).first()
        }
        assert left == set()
        assert await session.get(User, user_id) is None
    assert len([one async for one in library.store.iter_keys("files")]) == 1
    assert (await stranger.get(shared["url"])).content == pictures.png(40, 40)


async def test_whatever_refers_to_a_user_goes_with_them():
    by_hand = {
        "assets",
        "clients",
        "campaigns",
        "personas",
        "projects",
    }  # in an order, and in small transactions
    for table in Base.metadata.tables.values():
        for key in table.foreign_keys:
            if key.column.table.name == "users" and table.name not in by_hand:
                assert key.ondelete == "CASCADE", table.name


async def test_deleting_oneself_needs_the_password_and_counts_guesses(owner):
    for _ in range(10):
        assert problem(await delete_me(owner, "wrong horse")) == (403, "The password is not correct.")
    assert (await delete_me(owner)).status_code == 429
    assert (await owner.get("/api/v2/auth/me")).status_code == 200
    assert (await owner.delete("/api/v2/auth/me")).status_code == 422


async def test_an_upload_that_was_under_way_leaves_nothing_behind(library, owner, monkeypatch):
    user_id = await id_of(owner)

    @asynccontextmanager
    async def ingest_late(library, *given, **options):
        async with library.database.write() as session:
            await service.remove_user(session, SHELL, user_id)
        await drain(library)
        async with ingest(library, *given, **options) as content:
            yield content

    monkeypatch.setattr(upload_door, "ingest", ingest_late)
    assert problem(await upload(owner)) == (401, "Not authenticated")
    assert [one async for one in library.store.iter_keys("files")] == []
    assert list(library.store.scratch.iterdir()) == []
    async with library.database.read() as session:
        assert list(await session.scalars(select(File))) == []
        assert list(await session.scalars(select(Asset))) == []


async def test_a_deletion_waits_for_what_is_being_added_and_takes_it_along(library, owner):
    actor = Actor(user_id=await id_of(owner), email="", is_admin=False, scopes=frozenset())

    async def remove():
        async with library.database.write() as session:
            await service.remove_user(session, SHELL, actor.user_id)
        await drain(library)

    async with library.database.write() as session:
        await collections.service.create(session, actor, "client_id", {"name": "Acme"})
        removal = asyncio.create_task(remove())
        await asyncio.sleep(0.2)
        assert not removal.done()
    async with asyncio.timeout(20):
        await removal
    with pytest.raises(NotAuthenticated):
        async with library.database.write() as session:
            await collections.service.create(session, actor, "client_id", {"name": "Late"})
    async with library.database.read() as session:
        assert await session.get(User, actor.user_id) is None


async def test_when_the_last_account_is_deleted_the_server_is_new_again(api, admin):
    assert (await delete_me(admin)).status_code == 204
    body = {"email": "admin@example.com", "password": PASSWORD}
    through_a_proxy = {"X-Forwarded-For": "192.0.2.7"}
    refused = await api.post("/api/v2/auth/register", json=body, headers=through_a_proxy)
    assert "set-up code" in problem(refused)[1]
    answer = await api.post("/api/v2/auth/register", json=body)
    assert answer.status_code == 201
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await api.get("/api/v2/auth/me", headers=bearer)).json()["is_admin"]


async def test_hidden_owners_do_not_hide_anybody_elses_assets(library, admin, owner, stranger):
    """While one user is being removed, each read looks at the owner of each asset."""
    kept = (await upload(stranger)).json()
    await upload(owner, pictures.png(40, 40))
    async with library.database.write() as session:
        await session.execute(
            update(User).where(User.id == await id_of(owner)).values(gone_at=User.created_at)
        )
    assert [one["id"] for one in (await admin.get("/api/v2/assets?all=true")).json()] == [kept["id"]]
    assert (await stranger.get(kept["url"])).status_code == 200


# The audit log


async def test_admins_read_what_happened_newest_first(api, admin, owner):
    owner_id, admin_id = await id_of(owner), await id_of(admin)
    await api.post("/api/v2/auth/login", json={"email": "owner@example.com", "password": "wrong horse"})
    key = (await owner.post("/api/v2/auth/keys", json={"name": "k"})).json()
    await owner.delete(f"/api/v2/auth/keys/{key['id']}")
    await admin.patch(f"/api/v2/users/{owner_id}", json={"disabled": True})
    answer = await admin.get(f"/api/v2/audit?user={owner_id}")
    shown = answer.json()
    assert [(one["action"], one["actor_id"], one["user_id"], one["subject"]) for one in shown] == [
        ("user.disabled", admin_id, owner_id, None),
        ("key.revoked", owner_id, owner_id, key["id"]),
        ("key.created", owner_id, owner_id, key["id"]),
        ("login.failed", None, owner_id, None),
        ("login.succeeded", None, owner_id, shown[4]["subject"]),
        ("user.registered", None, owner_id, None),
    ]
    assert {one["address"] for one in shown} == {"127.0.0.1", "shell"}
    [signed_in] = (await admin.get("/api/v2/auth/sessions")).json()
    assert (shown[0]["sign_in_id"], shown[0]["api_key_id"]) == (signed_in["id"], None)
    assert answer.headers["x-total-count"] == "6"
    assert key["key"] not in answer.text


async def test_the_log_is_narrowed_and_paged(admin, owner):
    answer = await admin.get("/api/v2/audit?action=user.registered&limit=1&offset=1")
    assert [one["user_id"] for one in answer.json()] == [await id_of(admin)]
    assert answer.headers["x-total-count"] == "2"
    assert "action=user.registered" in answer.headers["link"]
    for wrong in ("action=nonsense", "user=x", "user=0", "limit=0", "limit=101", "offset=-1"):
        assert (await admin.get(f"/api/v2/audit?{wrong}")).status_code == 422


async def test_what_an_admin_deletes_of_others_is_logged_and_ones_own_is_not(api, admin, owner):
    key = await make_key(admin, "read", "write", "admin", api=api)
    key_id = (await admin.get("/api/v2/auth/keys")).json()[0]["id"]
    asset, own = (await upload(owner)).json(), (await upload(owner, pictures.png(40, 40))).json()
    client_id = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    await owner.delete(own["url"])
    await key("DELETE", asset["url"])
    await key("DELETE", f"/api/v2/clients/{client_id}")
    shown = (await admin.get(f"/api/v2/audit?user={await id_of(owner)}&limit=2")).json()
    assert [(one["action"], one["subject"], one["api_key_id"]) for one in shown] == [
        ("collection.deleted_by_admin", client_id, key_id),
        ("asset.deleted_by_admin", asset["id"], key_id),
    ]


@pytest.fixture
def generate():
    """Makes a generation of a new image asset of the client's; returns its id."""

    async def generate(client):
        project = (await client.post("/api/v1/projects", json={"name": "Spring"})).json()
        asset = (await client.post(f"/api/v1/projects/{project['id']}/assets", json={"name": "Hero"})).json()
        made = await client.post(f"/api/v1/assets/{asset['id']}/generations", json={"parameters": {}})
        return made.json()["id"]

    return generate


async def test_a_generation_that_an_admin_deletes_of_others_is_logged_and_ones_own_is_not(
    admin, owner, generate
):
    others = await generate(owner)
    for client, id_ in ((owner, await generate(owner)), (admin, await generate(admin)), (admin, others)):
        assert (await client.delete(f"/api/v1/generations/{id_.upper()}")).status_code == 204
    logged = (await admin.get("/api/v2/audit?action=generation.deleted_by_admin")).json()
    assert [(one["actor_id"], one["user_id"], one["subject"]) for one in logged] == [
        (await id_of(admin), await id_of(owner), others)
    ]


async def test_the_log_outlives_the_user_and_names_them_by_number_only(library, admin, owner):
    user_id = await id_of(owner)
    await admin.delete(f"/api/v2/users/{user_id}")
    await drain(library)
    answer = await admin.get(f"/api/v2/audit?user={user_id}")
    assert answer.json()[0]["action"] == "user.deleted"
    assert "owner@example.com" not in answer.text
