import asyncio
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI, Request
from sqlalchemy import event, select, update

from mediakeep.accounts import keys
from mediakeep.accounts.actor import SHELL
from mediakeep.accounts.models import ApiKey, SignIn
from mediakeep.accounts.secrets import setup_code
from mediakeep.app import create_app
from mediakeep.assets.served import ServedAssets
from mediakeep.db import now_plus
from mediakeep.http.auth import AdminActor, ReadActor, WriteActor, find_actor
from mediakeep.http.problems import install_problem_handlers
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v2 import auth, auth_keys, auth_sessions

PASSWORD = "correct horse battery"
SECRET = b"for tests only, 32 bytes or more"


@pytest.fixture
def app(settings, database):
    """The surface alone, and routes that need one scope each."""
    app = FastAPI()
    app.state.library = SimpleNamespace(settings=settings, database=database)
    app.state.secret, app.state.previous_secrets = SECRET, ()
    app.state.delivery = SimpleNamespace(served=ServedAssets(database), generations=ServedAssets(database))
    install_problem_handlers(app)
    for surface in (auth, auth_keys, auth_sessions):
        app.include_router(surface.router)

    @app.get("/read")
    async def read(actor: ReadActor) -> int:
        return actor.user_id

    @app.post("/write")
    async def write(session: WriteSession, actor: WriteActor) -> int:
        await session.execute(select(1))
        return actor.user_id

    @app.get("/admin")
    async def admin(actor: AdminActor) -> int:
        return actor.user_id

    @app.get("/public")
    async def public(request: Request) -> int | None:
        actor = await find_actor(request)
        return actor and actor.user_id

    @app.post("/fails")
    async def fails(actor: WriteActor, session: WriteSession) -> None:
        await keys.create_api_key(session, SHELL, actor.user_id, name="lost", scopes=frozenset())
        await session.execute(update(ApiKey).values(user_id=999))

    @app.get("/both")
    async def both(actor: ReadActor, session: ReadSession) -> int:
        return await session.scalar(select(actor.user_id))

    return app


@pytest.fixture
async def client(app):
    async with open_client(app) as client:
        yield client


def open_client(app, base_url="http://localhost:8000", address="127.0.0.1", **options):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url=base_url, **options)


@pytest.fixture
def register(app, client):
    """Registers somebody, by the admin if there is one; returns a client that sends their access token, no cookie."""
    admins = []

    async def register(email):
        answer = await client.post(
            "/api/v2/auth/register",
            json={"email": email, "password": PASSWORD},
            headers=admins[0].headers if admins else {},
        )
        assert answer.status_code == 201, answer.text
        client.cookies.clear()
        theirs = open_client(app, headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
        admins.append(theirs)
        return theirs

    return register


@pytest.fixture
async def admin(register):
    return await register("admin@example.com")


@pytest.fixture
async def user(admin, register):
    return await register("user@example.com")


@pytest.fixture
def log_in(client):
    async def log_in(password=PASSWORD, email="admin@example.com"):
        return await client.post("/api/v2/auth/login", json={"email": email, "password": password})

    return log_in


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["detail"]


# Register


async def test_the_first_registration_answers_tokens_of_an_admin(client):
    answer = await client.post(
        "/api/v2/auth/register", json={"email": "you@example.com", "password": PASSWORD}
    )
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "access_token": answer.json()["access_token"],
        "refresh_token": answer.json()["refresh_token"],
        "token_type": "bearer",
        "expires_in": 3600,
    }
    me = await client.get(
        "/api/v2/auth/me", headers={"Authorization": f"Bearer {answer.json()['access_token']}"}
    )
    assert me.json() == {
        "id": 1,
        "email": "you@example.com",
        "is_admin": True,
        "created_at": me.json()["created_at"],
        "scopes": ["read", "write", "admin"],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", me.json()["created_at"])


async def test_after_that_registration_is_closed_but_to_admins(client, admin, user):
    body = {"email": "third@example.com", "password": PASSWORD}
    closed = (403, "Registration is closed. Ask an admin for an account.")
    assert problem(await client.post("/api/v2/auth/register", json=body)) == closed
    assert problem(await user.post("/api/v2/auth/register", json=body)) == closed
    answer = await admin.post("/api/v2/auth/register", json=body)
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers  # the admin's own page stays the admin's


async def test_a_known_address_is_a_conflict(admin):
    answer = await admin.post(
        "/api/v2/auth/register", json={"email": "Admin@example.com", "password": PASSWORD}
    )
    assert problem(answer) == (409, "There is an account with this e-mail address already.")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "a@example.com", "password": "short"}, "password"),
        ({"email": "a@example.com", "password": "x" * 1025}, "password"),
        ({"email": "nobody", "password": PASSWORD}, "email"),
        ({"email": "a\u0000@example.com", "password": PASSWORD}, "email"),
        ({"password": PASSWORD}, "email"),
        ({"email": 5, "password": PASSWORD}, "email"),
    ],
)
async def test_what_does_not_validate_is_422_with_its_field(client, body, field):
    answer = await client.post("/api/v2/auth/register", json=body)
    assert problem(answer)[0] == 422
    assert answer.json()["errors"][0]["field"] == field
    assert PASSWORD not in answer.text


async def test_a_public_server_wants_its_set_up_code(app, settings):
    app.state.library.settings = settings.model_copy(update={"base_url": "https://media.example.com"})
    body = {"email": "you@example.com", "password": PASSWORD}
    async with open_client(app, "https://media.example.com") as client:
        refused = await client.post("/api/v2/auth/register", json=body)
        assert problem(refused) == (
            403,
            "The first account needs the set-up code that the server printed when it started.",
        )
        body["setup_code"] = setup_code(SECRET)
        answer = await client.post("/api/v2/auth/register", json=body)
    assert answer.status_code == 201
    assert "; secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://rebound.example.com:8000"},
        {"base_url": "http://192.0.2.1:8000"},
        {"address": "192.0.2.7"},
        {"address": ""},
        {"headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"headers": {"X-Real-IP": "192.0.2.7"}},
        {"headers": {"Forwarded": "for=192.0.2.7"}},
        {"headers": {"Via": "1.1 proxy"}},
        {"headers": {"Origin": "https://evil.example.com"}},
        {"headers": {"Origin": "null"}},
        {"headers": {"Origin": "http://[nonsense"}},
    ],
    ids=str,
)
async def test_whoever_does_not_ask_from_this_machine_itself_needs_the_set_up_code(app, options):
    body = {"email": "you@example.com", "password": PASSWORD}
    async with open_client(app, **options) as client:
        refused = await client.post("/api/v2/auth/register", json=body)
        assert problem(refused)[0] == 403
        assert "set-up code" in refused.json()["detail"]
        body["setup_code"] = setup_code(SECRET)
        assert (await client.post("/api/v2/auth/register", json=body)).status_code == 201


async def test_a_proxy_that_speaks_http_1_0_is_not_this_machine(app):
    async def as_proxied(scope, receive, send):
        await app({**scope, "http_version": "1.0"}, receive, send)

    async with open_client(as_proxied) as client:
        body = {"email": "you@example.com", "password": PASSWORD}
        assert problem(await client.post("/api/v2/auth/register", json=body))[0] == 403


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"base_url": "http://127.0.0.1:8000"},
        {"base_url": "http://[::1]:8000", "address": "::1"},
        {"headers": {"Origin": "http://localhost:8000"}},
    ],
    ids=str,
)
async def test_this_machine_itself_needs_no_set_up_code(app, options):
    async with open_client(app, **options) as client:
        body = {"email": "you@example.com", "password": PASSWORD}
        assert (await client.post("/api/v2/auth/register", json=body)).status_code == 201


async def test_open_registration_is_limited_by_address(app, settings, client):
    app.state.library.settings = settings.model_copy(update={"registration": "open", "logins_per_minute": 2})
    statuses = [
        (
            await client.post(
                "/api/v2/auth/register", json={"email": f"{n}@example.com", "password": PASSWORD}
            )
        ).status_code
        for n in range(3)
    ]
    assert statuses == [201, 201, 429]


async def test_of_those_who_are_logged_in_only_admins_register_others_without_limit(
    app, settings, admin, user
):
    app.state.library.settings = settings.model_copy(update={"registration": "open", "logins_per_minute": 2})

    async def register_three(client, name):
        bodies = [{"email": f"{name}{n}@example.com", "password": PASSWORD} for n in range(3)]
        return [(await client.post("/api/v2/auth/register", json=body)).status_code for body in bodies]

    async with open_client(app, address="192.0.2.7", headers=user.headers) as theirs:
        assert await register_three(theirs, "by-user") == [201, 201, 429]
    async with open_client(app, address="192.0.2.7", headers=admin.headers) as theirs:
        assert await register_three(theirs, "by-admin") == [201, 201, 201]


# Log in


async def test_login_takes_json_and_sets_the_cookie(admin, log_in, client):
    answer = await log_in()
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("mediakeep_session=")
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={30 * 86_400}"):
        assert attribute.lower() in cookie.lower()
    assert "secure" not in cookie.lower()


async def test_login_takes_the_oauth2_password_form(admin, client):
    form = {"grant_type": "password", "username": "admin@example.com", "password": PASSWORD, "scope": ""}
    answer = await client.post("/api/v2/auth/login", data=form)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"


@pytest.mark.parametrize("type_", ["application/x-www-form-urlencoded", "text/plain"])
async def test_what_a_page_of_another_origin_can_send_sets_no_cookie(admin, client, type_):
    body = (
        f"username=admin@example.com&password={PASSWORD}" if "form" in type_ else f'{{"email": "{PASSWORD}"}}'
    )
    answer = await client.post("/api/v2/auth/login", content=body, headers={"Content-Type": type_})
    assert "set-cookie" not in answer.headers
    assert answer.status_code == (200 if "form" in type_ else 422)


@pytest.mark.parametrize(("email", "password"), [("admin@example.com", "wrong horse"), ("x@y.de", PASSWORD)])
async def test_a_refused_login_does_not_say_what_was_wrong(admin, log_in, email, password):
    answer = await log_in(password, email)
    assert problem(answer) == (401, "Incorrect email or password")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_too_many_failed_logins_are_429(admin, log_in):
    for _ in range(10):
        assert (await log_in("wrong horse")).status_code == 401
    answer = await log_in()
    assert problem(answer) == (429, "Too many requests")
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit-limit"] == "10"
    assert answer.headers["ratelimit-remaining"] == "0"


@pytest.mark.parametrize(
    "options",
    [
        {"json": {"email": "admin@example.com"}},
        {"data": {"username": "admin@example.com"}},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {
            "content": b'{"email": "\\ud800", "password": "x"}',
            "headers": {"Content-Type": "application/json"},
        },
        {
            "content": "&".join("a=b" for _ in range(50)),
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        },
        {"content": b""},
        {"json": ["x"]},
    ],
)
async def test_a_login_that_does_not_validate_is_422(client, options):
    answer = await client.post("/api/v2/auth/login", **options)
    assert problem(answer)[0] == 422
    assert answer.json()["errors"]


# Who asks


async def test_no_credentials_are_401(client):
    answer = await client.get("/read")
    assert problem(answer) == (401, "Not authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer mk_nonsense"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic dTpw"},
        {"Authorization": b"Bearer \xe9\xff"},
        {"X-API-Key": "nonsense"},
        {"Cookie": "mediakeep_session=nonsense"},
    ],
)
async def test_wrong_credentials_are_401_and_on_public_routes_nobody(client, admin, headers):
    assert problem(await client.get("/read", headers=headers)) == (401, "Not authenticated")
    assert (await client.get("/public", headers=headers)).json() is None


async def test_the_cookie_reads_and_never_writes(admin, log_in, client):
    await log_in()
    assert (await client.get("/read")).json() == 1
    assert (await client.get("/public")).json() == 1
    assert (await client.head("/read")).status_code == 405  # known: it is the method that is missing
    assert problem(await client.post("/write")) == (401, "Not authenticated")


async def test_the_cookie_is_no_bearer_token_and_the_reverse(admin, log_in, client):
    token = (await log_in()).json()["access_token"]
    cookie = client.cookies["mediakeep_session"]
    client.cookies.clear()
    assert (await client.get("/read", headers={"Authorization": f"Bearer {cookie}"})).status_code == 401
    assert (await client.get("/read", headers={"Cookie": f"mediakeep_session={token}"})).status_code == 401


async def test_a_wrong_bearer_token_is_not_made_good_by_a_cookie(admin, log_in, client):
    await log_in()
    assert (await client.get("/read", headers={"Authorization": "Bearer nonsense"})).status_code == 401


async def test_a_proxys_basic_authorization_does_not_hide_the_cookie(admin, log_in, client):
    await log_in()
    assert (await client.get("/read", headers={"Authorization": "Basic dTpw"})).status_code == 200


async def test_only_admins_reach_what_is_theirs(admin, user):
    assert (await admin.get("/admin")).status_code == 200
    assert problem(await user.get("/admin")) == (403, "Only an admin may do this.")


async def test_authenticating_is_one_hop_to_the_database(admin, client, database, monkeypatch):
    key = (await admin.post("/api/v2/auth/keys", json={"name": "k"})).json()["key"]
    await client.get("/read", headers={"X-API-Key": key})
    hops = []
    fetch = database.fetch
    monkeypatch.setattr(database, "fetch", lambda *asked: hops.append("fetch") or fetch(*asked))
    for engine in (database.read_engine, database.write_engine):
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *a: hops.append(a[2]))
    await client.get("/read", headers={"X-API-Key": key})
    await admin.get("/read")
    assert hops == ["fetch", "fetch"]
    assert (await client.get("/read")).status_code == 401
    assert len(hops) == 2


async def test_a_handler_that_fails_does_not_answer_2xx_and_leaves_nothing(admin):
    assert (await admin.post("/fails")).status_code == 500
    assert (await admin.get("/api/v2/auth/keys")).json() == []


async def test_nobody_takes_the_write_turn_before_they_are_known(client, admin, database):
    async with asyncio.timeout(5), database.write():
        assert (await client.post("/write")).status_code == 401
    assert (await admin.post("/write")).json() == 1
    assert (await admin.get("/both")).json() == 1


# Refresh, log out, password


async def test_refresh_rotates_and_reuse_ends_the_sign_in(admin, log_in, client):
    first = (await log_in()).json()
    second = await client.post("/api/v2/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert second.status_code == 200
    assert second.json()["refresh_token"] != first["refresh_token"]
    for token in (first["refresh_token"], second.json()["refresh_token"], "nonsense"):
        answer = await client.post("/api/v2/auth/refresh", json={"refresh_token": token})
        assert problem(answer) == (401, "The refresh token is not good any more; log in again.")
    bearer = {"Authorization": f"Bearer {second.json()['access_token']}"}
    assert (await client.get("/read", headers=bearer)).status_code == 401


async def test_logout_ends_the_sign_in_and_clears_the_cookie(admin, log_in, client):
    tokens = (await log_in()).json()
    cookie = client.cookies["mediakeep_session"]
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    answer = await client.post("/api/v2/auth/logout", headers=bearer)
    assert (answer.status_code, answer.content) == (204, b"")
    assert 'mediakeep_session=""' in answer.headers["set-cookie"]
    assert (await client.get("/read", headers=bearer)).status_code == 401
    stolen = {"Cookie": f"mediakeep_session={cookie}"}
    assert (await client.get("/read", headers=stolen)).status_code == 401
    refreshed = await client.post("/api/v2/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == 401
    assert (await admin.get("/read")).status_code == 200


async def test_a_changed_password_ends_other_sign_ins_only(admin, log_in, client):
    other = {"Authorization": f"Bearer {(await log_in()).json()['access_token']}"}
    client.cookies.clear()
    change = {"old_password": PASSWORD, "new_password": "another horse"}
    assert (await admin.post("/api/v2/auth/password", json=change)).status_code == 204
    assert (await admin.get("/read")).status_code == 200
    assert (await client.get("/read", headers=other)).status_code == 401
    assert (await log_in()).status_code == 401
    assert (await log_in("another horse")).status_code == 200


@pytest.mark.parametrize(("revoke_keys", "status"), [(False, 200), (True, 401)])
async def test_a_changed_password_takes_api_keys_along_if_that_is_asked_for(
    admin, client, revoke_keys, status
):
    key = (await admin.post("/api/v2/auth/keys", json={"name": "k"})).json()["key"]
    change = {"old_password": PASSWORD, "new_password": "another horse", "revoke_keys": revoke_keys}
    assert (await admin.post("/api/v2/auth/password", json=change)).status_code == 204
    assert (await client.get("/read", headers={"X-API-Key": key})).status_code == status


async def test_changing_the_password_needs_the_old_one_and_counts_guesses(admin):
    change = {"old_password": "wrong horse", "new_password": "another horse"}
    for _ in range(10):
        answer = await admin.post("/api/v2/auth/password", json=change)
        assert problem(answer) == (403, "The old password is not correct.")
    assert (await admin.post("/api/v2/auth/password", json=change)).status_code == 429


# API keys


async def test_a_key_is_shown_once_and_works_both_ways(admin, client):
    answer = await admin.post("/api/v2/auth/keys", json={"name": " laptop ", "expires_in_days": 90})
    assert answer.status_code == 201
    created = answer.json()
    key = created.pop("key")
    expires = datetime.fromisoformat(created["expires_at"])
    assert 89 <= (expires - datetime.now(UTC)).days <= 90
    assert created == {
        "id": created["id"],
        "name": "laptop",
        "prefix": key[:11],
        "scopes": ["read", "write"],
        "uploads_per_minute": None,
        "created_at": created["created_at"],
        "expires_at": created["expires_at"],
        "last_used_at": None,
    }
    assert (await admin.get("/api/v2/auth/keys")).json() == [created]
    assert (await client.get("/read", headers={"X-API-Key": key})).json() == 1
    assert (await client.post("/write", headers={"Authorization": f"bearer {key}"})).json() == 1
    assert (await admin.get("/api/v2/auth/keys")).json()[0]["last_used_at"]
    assert key not in (await admin.get("/api/v2/auth/keys")).text


async def test_a_key_has_its_scopes_and_no_more(admin, client):
    created = await admin.post("/api/v2/auth/keys", json={"name": "reader", "scopes": ["read"]})
    headers = {"X-API-Key": created.json()["key"]}
    assert (await client.get("/read", headers=headers)).status_code == 200
    assert problem(await client.post("/write", headers=headers)) == (403, "This API key may not write.")
    assert problem(await client.get("/admin", headers=headers)) == (403, "Only an admin may do this.")


@pytest.mark.parametrize("path", ["keys", "password", "logout"])
async def test_a_key_can_neither_outlive_itself_nor_take_the_account_over(admin, client, path):
    created = await admin.post("/api/v2/auth/keys", json={"name": "k", "scopes": ["read", "write", "admin"]})
    body = {"name": "next", "old_password": PASSWORD, "new_password": PASSWORD}
    headers = {"X-API-Key": created.json()["key"]}
    answer = await client.post(f"/api/v2/auth/{path}", json=body, headers=headers)
    assert problem(answer) == (403, "An API key may not do this; log in with the password.")


@pytest.mark.parametrize("more", [{"scopes": ["read", "admin"]}, {"uploads_per_minute": 1000}])
async def test_admin_scope_and_own_limits_are_given_by_admins(admin, user, more):
    assert (await admin.post("/api/v2/auth/keys", json={"name": "k", **more})).status_code == 201
    refused = await user.post("/api/v2/auth/keys", json={"name": "k", **more})
    assert problem(refused) == (403, "Only an admin may do this.")


async def test_an_expired_key_is_401(admin, client, database):
    key = (await admin.post("/api/v2/auth/keys", json={"name": "k", "expires_in_days": 1})).json()["key"]
    async with database.write() as session:
        await session.execute(update(ApiKey).values(expires_at=now_plus(-1)))
    assert (await client.get("/read", headers={"X-API-Key": key})).status_code == 401


async def test_a_deleted_key_is_401_and_others_keys_are_not_there(admin, user, client):
    created = (await admin.post("/api/v2/auth/keys", json={"name": "k"})).json()
    path = f"/api/v2/auth/keys/{created['id']}"
    assert problem(await user.delete(path)) == (404, "API key not found")
    assert (await user.get("/api/v2/auth/keys")).json() == []
    assert (await admin.delete(path)).status_code == 204
    assert problem(await admin.delete(path)) == (404, "API key not found")
    assert (await client.get("/read", headers={"X-API-Key": created["key"]})).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "a\u0000b"},
        {"name": "k", "scopes": []},
        {"name": "k", "scopes": ["delete"]},
        {"name": "k", "expires_in_days": 0},
    ],
)
async def test_a_key_that_does_not_validate_is_422(admin, body):
    assert problem(await admin.post("/api/v2/auth/keys", json=body))[0] == 422


# The description


async def test_openapi_offers_both_login_bodies_and_every_way_to_authenticate(app):
    document = app.openapi()
    assert set(document["components"]["securitySchemes"]) == {"Login", "Bearer", "ApiKey", "Session"}
    flow = document["components"]["securitySchemes"]["Login"]["flows"]["password"]
    assert flow["tokenUrl"] == "/api/v2/auth/login"
    login = document["paths"]["/api/v2/auth/login"]["post"]["requestBody"]["content"]
    assert set(login) == {"application/json", "application/x-www-form-urlencoded"}
    assert len(document["paths"]["/api/v2/auth/me"]["get"]["security"]) == 4
    assert {} in document["paths"]["/api/v2/auth/register"]["post"]["security"]


async def test_openapi_describes_every_refusal_as_a_problem(settings):
    for path, operations in create_app(settings).openapi()["paths"].items():
        for operation in operations.values():
            if not path.startswith(("/api/v2/auth", "/api/v2/users", "/api/v2/audit")):
                continue
            assert operation["description"]
            for status, answer in operation["responses"].items():
                assert status < "400" or set(answer["content"]) == {"application/problem+json"}, (
                    path,
                    status,
                )


async def test_a_sign_in_remembers_the_browser(admin, log_in, client, database):
    await log_in()
    async with database.read() as session:
        agents = list(await session.scalars(select(SignIn.user_agent)))
    assert agents[-1].startswith("python-httpx/")


# Sign-ins


async def test_one_sees_where_one_is_logged_in(admin, user, log_in):
    tokens = (await log_in()).json()
    listed = (await admin.get("/api/v2/auth/sessions")).json()
    assert [one["is_current"] for one in listed] == [False, True]
    assert listed[0] == {
        "id": listed[0]["id"],
        "created_at": listed[0]["created_at"],
        "last_used_at": listed[0]["created_at"],
        "expires_at": listed[0]["expires_at"],
        "user_agent": listed[0]["user_agent"],
        "is_current": False,
    }
    assert listed[0]["user_agent"].startswith("python-httpx/")
    for secret in tokens["refresh_token"].split("."):
        assert secret not in str(listed)
    assert len((await user.get("/api/v2/auth/sessions")).json()) == 1


async def test_a_sign_in_that_is_ended_is_out_at_once(app, admin, log_in, client):
    tokens = (await log_in()).json()
    cookie = {"Cookie": f"mediakeep_session={client.cookies['mediakeep_session']}"}
    client.cookies.clear()
    [other] = [one for one in (await admin.get("/api/v2/auth/sessions")).json() if not one["is_current"]]
    assert (await admin.delete(f"/api/v2/auth/sessions/{other['id']}")).status_code == 204
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    for headers in (bearer, cookie):
        assert (await client.get("/read", headers=headers)).status_code == 401
    body = {"refresh_token": tokens["refresh_token"]}
    assert (await client.post("/api/v2/auth/refresh", json=body)).status_code == 401
    assert [one["is_current"] for one in (await admin.get("/api/v2/auth/sessions")).json()] == [True]
    again = await admin.delete(f"/api/v2/auth/sessions/{other['id']}")
    assert problem(again) == (404, "Sign-in not found")


@pytest.mark.parametrize("id_", ["", "nonsense", "6f1c8a52-7f0e-4b8e-9d55-0c4e1f6a2b3d"])
async def test_sign_ins_of_others_are_as_if_there_were_none(admin, user, id_):
    id_ = id_ or (await admin.get("/api/v2/auth/sessions")).json()[0]["id"]
    assert problem(await user.delete(f"/api/v2/auth/sessions/{id_}")) == (404, "Sign-in not found")
    assert (await admin.get("/read")).status_code == 200


async def test_signing_out_everywhere_else_keeps_this_sign_in_and_everybody_elses(
    admin, user, log_in, client
):
    others = [{"Authorization": f"Bearer {(await log_in()).json()['access_token']}"} for _ in range(2)]
    client.cookies.clear()
    assert (await admin.delete("/api/v2/auth/sessions")).status_code == 204
    for headers in others:
        assert (await client.get("/read", headers=headers)).status_code == 401
    assert (await admin.get("/read")).status_code == 200
    assert (await user.get("/read")).status_code == 200
    assert (await admin.delete("/api/v2/auth/sessions")).status_code == 204


@pytest.mark.parametrize("path", ["/sessions", "/sessions/x", "/me"])
async def test_an_api_key_cannot_sign_anybody_out_nor_delete_the_account(admin, client, path):
    created = await admin.post("/api/v2/auth/keys", json={"name": "k", "scopes": ["read", "write", "admin"]})
    headers = {"X-API-Key": created.json()["key"]}
    answer = await client.request(
        "DELETE", f"/api/v2/auth{path}", headers=headers, json={"password": PASSWORD}
    )
    assert problem(answer) == (403, "An API key may not do this; log in with the password.")
    assert [
        one["is_current"] for one in (await client.get("/api/v2/auth/sessions", headers=headers)).json()
    ] == [False]
