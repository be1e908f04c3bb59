"""Ways in that somebody might try: each is shut, and looks from outside as if there were nothing behind it."""

import string

import httpx
import jwt
import pytest
from sqlalchemy import select, update

from mediakeep.accounts.models import ApiKey, SignIn
from mediakeep.accounts.secrets import derive_key
from mediakeep.http.auth import SESSION_COOKIE
from mediakeep.http.signing import sign_query
from tests.conftest import PASSWORD
from tests.permissions.world import DOOR, NOWHERE, PICTURE

pytestmark = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


# Signed addresses


@pytest.fixture
async def signed(owner, private):
    """The signed address of the private asset's file."""
    answer = await owner.post(f"/api/v2/assets/{private}/sign", json={"expires_in": 60})
    return httpx.URL(answer.json()["url"])


async def test_a_signed_address_with_any_one_character_changed_is_worth_nothing(api, signed):
    assert (await api.get(signed)).status_code == 200
    query = signed.query.decode()
    for place, mark in enumerate(query):
        other = "A" if mark != "A" else "B"
        if mark in string.digits:
            other = str((int(mark) + 1) % 10)
        changed = f"{query[:place]}{other}{query[place + 1 :]}"
        assert (await api.get(f"{signed.path}?{changed}")).status_code == 404, changed


ADDED = [
    "{query}&download=1",
    "download=1&{query}",
    "{query}&{query}",
    "{query}&signature=",
    "{query}&signature={signature}",
    "{query}&expires={expires}",
    "{query}&expires=9999999999",
    "expires=9999999999&{query}",
    "expires=9999999999&signature={signature}",
    "expires=0{expires}&signature={signature}",
    "expires=%20{expires}&signature={signature}",
    "expires={expires}",
    "signature={signature}",
    "expires={expires}&signature=",
    "expires={expires}&signature={signature}%3D",
    "expires={expires}&signature={signature}%00",
    "expires={expires}&Signature={signature}",
]


async def test_a_signed_address_with_anything_added_or_left_out_is_worth_nothing(api, signed):
    query, given = signed.query.decode(), dict(signed.params)
    for change in ADDED:
        answer = await api.get(f"{signed.path}?{change.format(query=query, **given)}")
        assert answer.status_code == 404, change


async def test_a_signature_is_good_for_its_own_address_alone(api, make, signed, private):
    other = await make("assets", visibility="private")
    for path in (
        f"/api/v2/assets/{other}",
        f"/api/v2/assets/{private}/thumbnail",
        f"/legacy/api/v2/assets/{private}",
        f"/api/v2/assets/{private}/",
        f"/api/v2/assets/{private.upper()}",
    ):
        assert (await api.get(f"{path}?{signed.query.decode()}")).status_code == 404, path
    for path in (f"/api/v2/assets/{private}/info", "/api/v2/assets"):
        assert (await api.get(f"{path}?{signed.query.decode()}")).status_code == 401, path
    assert (await api.delete(signed)).status_code == 401


async def test_an_expired_signature_is_worth_nothing(app, api, private):
    path = f"/api/v2/assets/{private}"
    query = sign_query(app.state.secret, path, expires_at=1)
    assert (await api.get(f"{path}?{query}")).status_code == 404


async def test_a_stranger_signs_nothing_and_a_read_key_neither(owner, stranger, api, private):
    path = f"/api/v2/assets/{private}/sign"
    assert (await stranger.post(path, json={"expires_in": 60})).status_code == 404
    key = (await owner.post("/api/v2/auth/keys", json={"name": "a", "scopes": ["read"]})).json()["key"]
    answer = await api.post(path, json={"expires_in": 60}, headers={"X-API-Key": key})
    assert answer.status_code == 403


# Tokens


@pytest.fixture
async def signed_in(api, owner):
    """Everything that the owner's log-in gave."""
    answer = await api.post("/api/v2/auth/login", json={"email": "owner@example.com", "password": PASSWORD})
    api.cookies.clear()
    return {**answer.json(), "session": answer.cookies[SESSION_COOKIE]}


async def is_refused(api, token):
    bearer = await api.get("/api/v2/auth/me", headers={"Authorization": f"Bearer {token}"})
    cookie = await api.get("/api/v2/auth/me", headers={"Cookie": f"{SESSION_COOKIE}={token}"})
    key = await api.get("/api/v2/auth/me", headers={"X-API-Key": token})
    return {bearer.status_code, cookie.status_code, key.status_code} == {401}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_forged_token_is_worth_nothing(app, api, signed_in):
    secret = app.state.secret
    good = jwt.decode(signed_in["access_token"], options={"verify_signature": False})
    access, session = derive_key(secret, "access token"), derive_key(secret, "session token")
    forged = [
        jwt.encode(good, None, algorithm="none"),
        jwt.encode(good, access, algorithm="HS384"),
        jwt.encode(good, access, algorithm="HS512"),
        jwt.encode(good, secret, algorithm="HS256"),
        jwt.encode(good, b"\0" * 32, algorithm="HS256"),
        jwt.encode(good, derive_key(secret, "signed-urls"), algorithm="HS256"),
        jwt.encode({**good, "typ": "session"}, access, algorithm="HS256"),
        jwt.encode({**good, "typ": "access"}, session, algorithm="HS256"),
        jwt.encode({**good, "sid": NOWHERE}, access, algorithm="HS256"),
        jwt.encode({**good, "sub": "999"}, access, algorithm="HS256"),
        jwt.encode({**good, "exp": 1}, access, algorithm="HS256"),
        jwt.encode({name: good[name] for name in good if name != "exp"}, access, algorithm="HS256"),
        signed_in["access_token"].rpartition(".")[0] + ".",
        signed_in["access_token"] + ".",
        signed_in["access_token"] + "A",
    ]
    for token in forged:
        assert await is_refused(api, token), token


async def test_a_token_of_one_purpose_is_worth_nothing_for_another(api, signed_in):
    async def status(**headers):
        answer = await api.get("/api/v2/auth/me", headers=headers)
        return answer.status_code

    access, session, refresh = signed_in["access_token"], signed_in["session"], signed_in["refresh_token"]
    assert await status(Authorization=f"Bearer {access}") == 200
    assert await status(Cookie=f"{SESSION_COOKIE}={session}") == 200
    assert await status(Authorization=f"Bearer {session}") == 401
    assert await status(Cookie=f"{SESSION_COOKIE}={access}") == 401
    assert await is_refused(api, refresh)
    for token in (access, session, f"{access}.{refresh}", refresh.partition(".")[0]):
        answer = await api.post("/api/v2/auth/refresh", json={"refresh_token": token})
        assert answer.status_code in {401, 422}
        assert "access_token" not in answer.text


async def test_a_token_in_the_address_is_worth_nothing(api, signed_in, private):
    for name in ("access_token", "token", "api_key", "X-API-Key", "authorization"):
        answer = await api.get(f"/api/v2/assets/{private}", params={name: signed_in["access_token"]})
        assert answer.status_code == 404


async def test_a_wrong_credential_hides_a_good_one_of_lower_rank(api, signed_in):
    headers = {"Authorization": "Bearer wrong", "Cookie": f"{SESSION_COOKIE}={signed_in['session']}"}
    assert (await api.get("/api/v2/auth/me", headers=headers)).status_code == 401


async def test_a_token_of_another_server_is_worth_nothing(api, signed_in):
    good = jwt.decode(signed_in["access_token"], options={"verify_signature": False})
    theirs = jwt.encode(good, derive_key(b"another server's secret, long enough", "access token"))
    assert await is_refused(api, theirs)


# API keys


async def test_a_key_makes_no_keys_and_ends_no_sign_in(owner, api):
    key = (await owner.post("/api/v2/auth/keys", json={"name": "a"})).json()["key"]
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        for path in ("keys", "logout", "password"):
            body = {"name": "b", "old_password": PASSWORD, "new_password": PASSWORD}
            answer = await api.post(f"/api/v2/auth/{path}", json=body, headers=headers)
            assert answer.status_code == 403, path


async def test_nobody_but_an_admin_makes_a_key_with_more_rights_than_their_own(owner):
    for wanted in ({"scopes": ["admin"]}, {"scopes": ["read", "admin"]}, {"uploads_per_minute": 0}):
        answer = await owner.post("/api/v2/auth/keys", json={"name": "a", **wanted})
        assert answer.status_code == 403, wanted
    assert (await owner.get("/api/v2/auth/keys")).json() == []


async def test_a_key_with_the_admin_scope_is_no_admin_s_when_its_user_is_none(app, owner, api):
    made = (await owner.post("/api/v2/auth/keys", json={"name": "a"})).json()
    async with app.state.library.database.write() as session:
        await session.execute(
            update(ApiKey).where(ApiKey.public_id == made["id"]).values(scopes=["read", "write", "admin"])
        )
    headers = {"X-API-Key": made["key"]}
    assert (await api.get("/api/v2/assets?all=true", headers=headers)).status_code == 403
    assert "admin" not in (await api.get("/api/v2/auth/me", headers=headers)).json()["scopes"]


async def test_a_read_key_reads_and_nothing_else(owner, api, private):
    key = (await owner.post("/api/v2/auth/keys", json={"name": "a", "scopes": ["read"]})).json()["key"]
    headers = {"X-API-Key": key}
    before = (await owner.get("/api/v2/assets")).json()
    for method in ("POST", "PATCH", "DELETE"):
        for path in (DOOR, f"/api/v2/assets/{private}", "/api/v2/clients"):
            answer = await api.request(method, path, headers=headers)
            assert answer.status_code in {403, 405}
    assert (await owner.get("/api/v2/assets")).json() == before


# Browsers


async def test_no_header_and_no_parameter_turns_reading_into_deleting(owner, signed_in, api, private):
    path = f"/api/v2/assets/{private}"
    names = ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method")
    headers = dict.fromkeys(names, "DELETE") | {"Cookie": f"{SESSION_COOKIE}={signed_in['session']}"}
    assert (await api.get(path, headers=headers)).status_code == 200
    assert (await api.get(f"{path}?_method=DELETE", headers=headers)).status_code == 200
    answer = await api.post(path, headers=headers, data={"_method": "DELETE"})
    assert answer.status_code == 405
    assert (await owner.get(path)).status_code == 200


async def test_the_cookie_changes_nothing(owner, signed_in, api, private):
    cookie = {"Cookie": f"{SESSION_COOKIE}={signed_in['session']}"}
    for method, path in (
        ("DELETE", f"/api/v2/assets/{private}"),
        ("PATCH", f"/api/v2/assets/{private}"),
        ("POST", f"/api/v2/assets/{private}/sign"),
        ("POST", DOOR),
        ("POST", "/api/v2/auth/logout"),
        ("POST", "/api/v2/auth/keys"),
    ):
        assert (await api.request(method, path, headers=cookie)).status_code == 401, path
    assert (await owner.get(f"/api/v2/assets/{private}")).status_code == 200


async def test_a_page_of_another_origin_cannot_log_a_browser_in(api, signed_in):
    """It can send forms and plain text without being asked about, so none of these may set the cookie."""
    login = b'{"email": "owner@example.com", "password": "correct horse battery"}'
    refresh = b'{"refresh_token": "%s"}' % signed_in["refresh_token"].encode()
    bodies = {"login": login, "register": login, "refresh": refresh}
    types = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "")
    for path, body in bodies.items():
        for content_type in types:
            headers = {"Content-Type": content_type} if content_type else {}
            answer = await api.post(f"/api/v2/auth/{path}", content=body, headers=headers)
            assert "set-cookie" not in answer.headers, (path, content_type)
    form = {"username": "owner@example.com", "password": PASSWORD}
    answer = await api.post("/api/v2/auth/login", data=form)
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)


async def test_the_cookie_is_for_the_page_s_own_requests(api, owner):
    answer = await api.post("/api/v2/auth/login", json={"email": "owner@example.com", "password": PASSWORD})
    parts = {part.strip().lower().partition("=")[0] for part in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite", "path"} <= parts
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert "domain" not in parts


async def test_other_origins_never_read_with_the_cookie(api, signed_in, private):
    headers = {"Origin": "https://evil.example", "Cookie": f"{SESSION_COOKIE}={signed_in['session']}"}
    for path in ("/api/v2/assets", f"/api/v2/assets/{private}"):
        answer = await api.get(path, headers=headers)
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers.get("access-control-allow-origin") in {None, "*"}


# Addresses told


HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "localhost:8000@evil.example",
    "evil.example#localhost",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "[::ffff:203.0.113.9]",
    "127.0.0.1:80@203.0.113.9",
    "203.0.113.9",
]


async def test_no_host_header_makes_the_server_tell_another_address(owner, private):
    for host in HOSTS:
        headers = {"Host": host, "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
        answers = [
            await owner.post(DOOR, files=PICTURE, headers=headers),
            await owner.get("/api/v2/assets", headers=headers),
            await owner.get("/legacy/api/v2/assets", headers=headers),
            await owner.post(f"/api/v2/assets/{private}/sign", json={"expires_in": 9}, headers=headers),
            await owner.get("/api/v2/assets/", headers=headers),
            await owner.get("/", headers=headers),
            await owner.get("/docs/assets", headers=headers),
            await owner.get("/openapi.json", headers=headers),
        ]
        for answer in answers:
            shown = answer.text + repr(answer.headers.items())
            assert "evil" not in shown, host
            assert "203.0.113.9" not in shown, host


async def test_an_address_with_a_slash_too_many_leads_nowhere(owner):
    for path in ("/api/v2/assets/", "/api/v2/clients/", "/healthz/", "/docs/"):
        answer = await owner.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


# What ends


async def test_a_deleted_asset_answers_nothing_to_nobody(owner, admin, api, signed, private):
    await owner.delete(f"/api/v2/assets/{private}")
    for client in (owner, admin, api):
        assert (await client.get(f"/api/v2/assets/{private}")).status_code == 404
        assert (await client.get(f"/api/v2/assets/{private}/thumbnail")).status_code == 404
    assert (await api.get(signed)).status_code == 404


async def test_assets_of_a_deleted_client_are_gone_at_once_for_everybody(owner, admin, api, make):
    client_id = await make("clients")
    asset_id = await make("assets", clientId=client_id)
    query = (await owner.post(f"/api/v2/assets/{asset_id}/sign", json={"expires_in": 60})).json()["url"]
    await owner.delete(f"/api/v2/clients/{client_id}")
    for client in (owner, admin, api):
        for suffix in ("", "/thumbnail", "/info"):
            status = (await client.get(f"/api/v2/assets/{asset_id}{suffix}")).status_code
            assert status in ({404} if suffix != "/info" or client is not api else {401})
    assert (await api.get(query)).status_code == 404
    assert (await owner.patch(f"/api/v2/assets/{asset_id}", json={"name": "a"})).status_code == 404
    assert (await owner.post(f"/api/v2/assets/{asset_id}/sign", json={"expires_in": 9})).status_code == 404


async def test_an_asset_made_private_is_private_at_once(owner, api, make):
    asset_id = await make("assets")
    path = f"/api/v2/assets/{asset_id}"
    etag = (await api.get(path)).headers["etag"]
    await owner.patch(path, json={"visibility": "private"})
    for headers in ({}, {"If-None-Match": etag}, {"Range": "bytes=0-9"}, {"If-Match": "*"}):
        for method in ("GET", "HEAD"):
            assert (await api.request(method, path, headers=headers)).status_code == 404
    assert (await owner.get(path)).headers["cache-control"] == "private, no-store"


async def test_a_sign_in_that_ended_takes_its_cookie_along(app, api, signed_in):
    bearer = {"Authorization": f"Bearer {signed_in['access_token']}"}
    await api.post("/api/v2/auth/logout", headers=bearer)
    for token in (signed_in["access_token"], signed_in["session"], signed_in["refresh_token"]):
        assert await is_refused(api, token)
    answer = await api.post("/api/v2/auth/refresh", json={"refresh_token": signed_in["refresh_token"]})
    assert answer.status_code == 401
    async with app.state.library.database.read() as session:
        assert await session.scalar(select(SignIn.id).where(SignIn.revoked_at.is_not(None)))
