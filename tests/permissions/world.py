"""Somebody who owns one of each thing, and everybody who might ask for it."""

import itertools
from datetime import timedelta
from urllib.parse import parse_qsl

import httpx
from sqlalchemy import update

from mediakeep.accounts.models import ApiKey, User
from mediakeep.accounts.tokens import Claims, sign_token
from mediakeep.db import now_plus
from mediakeep.http.auth import SESSION_COOKIE
from mediakeep.tasks import enqueue
from tests import streams
from tests.conftest import PASSWORD
from tests.permissions.table import COLUMNS
from tests.samples import films, pictures

DOOR = "/api/v2/upload-asset"

NOWHERE = "00000000-0000-4000-8000-000000000000"

SOUND = {"file": ("a.wav", films.sound("wav", seconds=0.1), "audio/wav")}

#: What can be done once.
COMPLETING = {"POST /api/v1/generations/{generation_id}/upload"}

#: A job for a model that needs nothing.
JOB = {"model_id": "local/ken-burns", "input": {"image": "data:image/png;base64,iVBORw0KGgo="}}

PICTURE = {"file": ("a.png", pictures.png(), "image/png")}

#: What addresses name that is nobody's: a local provider calls nobody back.
NOBODYS = {"tag": "hero", "model_id": JOB["model_id"], "provider": "local", "token": "local"}

BODIES = {"/api/v2/generate": JOB, "/legacy/api/v2/generate": JOB}

#: Where things are made that need but a name.
NAMED = {
    "client_id": "/api/v2/clients",
    "campaign_id": "/api/v2/campaigns",
    "project_id": "/api/v1/projects",
    "persona_id": "/personas",
    "id": "/api/v2/auth/keys",
}


class World:
    """The owner's things by the name that addresses give their ids, and the callers of each column.

    What a call used up (a deleted asset, an ended sign-in) is made anew when it is asked for again.
    """

    def __init__(self, app, api):
        self.app, self.api = app, api
        self._numbers = itertools.count()
        self._things = {}
        self._callers = {}

    # Things

    async def thing(self, name, *, private=False):
        """The id of one of the owner's things, by the name of the path parameter."""
        if (name, private) not in self._things:
            self._things[name, private] = await self._make(name, private=private)
        return self._things[name, private]

    def used_up(self, name, *, private=False):
        self._things.pop((name, private), None)

    async def _make(self, name, *, private):
        if name in NOBODYS:
            return NOBODYS[name]
        headers = (await self.callers())["owner"]["owner"]
        match name:
            case "asset_id":
                data = {"visibility": "private" if private else "public"}
                answer = await self.api.post("/api/v2/upload-asset", files=SOUND, data=data, headers=headers)
            case "image asset" | "generation_id" | "image_id":
                return await self._make_image(headers, name, private=private)
            case "media_id":
                door = f"/media/upload/{await self.thing('persona_id')}"
                answer = await self.api.post(door, files=PICTURE, headers=headers)
            case "webhook_id":
                body = {"url": "https://receiver.example", "events": ["*"]}
                answer = await self.api.post("/api/v2/webhooks", json=body, headers=headers)
            case _ if name in NAMED:
                answer = await self.api.post(NAMED[name], json={"name": "Acme"}, headers=headers)
            case _:
                return await self._make_what_happens(headers, name)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def _make_what_happens(self, headers, name):
        """What comes of other calls, or has an answer of another kind."""
        match name:
            case "delivery_id":
                path = f"/api/v2/webhooks/{await self.thing('webhook_id')}/test"
                return (await self.api.post(path, headers=headers)).json()["id"]
            case "job_id":
                return (await self.api.post("/api/v2/generate", json=JOB, headers=headers)).json()["job_id"]
            case "task_id":
                async with self.app.state.library.database.write() as session:
                    return await enqueue(session, "files.derive", {"file_id": 0}, delay_seconds=3600)
            case "session_id":
                fresh = await self.sign_in("owner@example.com")
                listed = (await self.api.get("/api/v2/auth/sessions", headers=fresh)).json()
                return next(one["id"] for one in listed if one["is_current"])
        assert name == "user_id"
        return await self._id(await self._newcomer())

    async def _make_image(self, headers, name, *, private):
        """An image asset of a project, its generation with an image, or a generation that still has none."""
        answer = await self.api.post("/api/v1/projects", json={"name": "Forge"}, headers=headers)
        project = answer.json()["id"]
        created = await self.api.post(
            f"/api/v1/projects/{project}/assets", json={"name": "Portrait"}, headers=headers
        )
        asset = created.json()["id"]
        generation = await self.api.post(f"/api/v1/assets/{asset}/generations", json={}, headers=headers)
        number = generation.json()["id"]
        if name == "generation_id":
            return number
        await self.api.post(f"/api/v1/generations/{number}/upload", files=PICTURE, headers=headers)
        if private:
            hidden = {"visibility": "private"}
            await self.api.patch(f"/api/v2/assets/{asset}", json=hidden, headers=headers)
        return asset if name == "image asset" else number

    # Callers

    async def callers(self):
        """The headers of every caller, by column and by what they come with."""
        if not self._callers:
            self._callers = await self._make_callers()
        return self._callers

    def begin_anew(self):
        """After sign-ins or accounts have ended: nobody is logged in, and nothing is there."""
        self._callers, self._things = {}, {}

    async def _make_callers(self):
        admin = self._admin = await self.sign_in("admin@example.com")
        for name in ("owner", "other"):
            await self._register(f"{name}@example.com")
        owner, other = await self.sign_in("owner@example.com"), await self.sign_in("other@example.com")
        callers = {
            "nobody": await self._nobodies(owner),
            "other user": {"other user": other},
            "read key": {"read key": await self.key(owner, scopes=["read"])},
            "write key": {
                "write key": await self.key(owner),
                "write key as Bearer": _bearer((await self.key(owner))["X-API-Key"]),
            },
            "cookie": {"cookie": await self.cookie("owner@example.com")},
            "owner": {"owner": owner},
            "admin": {"admin": admin},
        }
        assert tuple(callers) == COLUMNS
        return callers

    async def _nobodies(self, owner):
        """Whoever is nobody, although they come with something."""
        left = await self._newcomer()
        leaver = (await self.api.get("/api/v2/auth/me", headers=left)).json()["email"]
        left_key, left_cookie = await self.key(left), await self.cookie(leaver)
        expired, revoked = await self._make_key(owner), await self._make_key(owner)
        ended = await self.sign_in("owner@example.com")
        await self.api.post("/api/v2/auth/logout", headers=ended)
        await self.api.delete(f"/api/v2/auth/keys/{revoked['id']}", headers=owner)
        async with self.app.state.library.database.write() as session:
            await session.execute(
                update(ApiKey).where(ApiKey.public_id == expired["id"]).values(expires_at=now_plus(-1))
            )
            await session.execute(update(User).where(User.email == leaver).values(disabled_at=now_plus()))
        claims = Claims(user_id=await self._id(owner), sign_in=NOWHERE)
        late = sign_token(self.app.state.secret, claims, type_="access", lifetime=timedelta(seconds=-1))
        return {
            "nobody": {},
            "wrong token": _bearer("a.b.c"),
            "expired token": _bearer(late),
            "ended sign-in": ended,
            "wrong key": {"X-API-Key": "mk_wrong"},
            "expired key": {"X-API-Key": expired["key"]},
            "revoked key": {"X-API-Key": revoked["key"]},
            "disabled user": left,
            "disabled user's key": left_key,
            "disabled user's cookie": left_cookie,
        }

    async def sign_in(self, email):
        return _bearer((await self._login(email)).json()["access_token"])

    async def cookie(self, email):
        return {"Cookie": f"{SESSION_COOKIE}={(await self._login(email)).cookies[SESSION_COOKIE]}"}

    async def refresh_token(self):
        return (await self._login("owner@example.com")).json()["refresh_token"]

    async def key(self, headers, scopes=("read", "write")):
        """A new key's header."""
        return {"X-API-Key": (await self._make_key(headers, scopes))["key"]}

    async def _make_key(self, headers, scopes=("read", "write")):
        body = {"name": "a", "scopes": list(scopes)}
        answer = await self.api.post("/api/v2/auth/keys", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def _login(self, email):
        answer = await self.api.post("/api/v2/auth/login", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self.api.cookies.clear()
        return answer

    async def _register(self, email):
        body = {"email": email, "password": PASSWORD}
        answer = await self.api.post("/api/v2/auth/register", json=body, headers=self._admin)
        assert answer.status_code in {201, 409}, answer.text

    async def _newcomer(self):
        email = f"newcomer{next(self._numbers)}@example.com"
        await self._register(email)
        return await self.sign_in(email)

    async def _id(self, headers):
        return (await self.api.get("/api/v2/auth/me", headers=headers)).json()["id"]

    # Calls

    async def call(self, call, headers, *, nowhere=False):
        """Make a call of a table as somebody. `nowhere` names things that do not exist instead of the owner's."""
        called, _, note = call.partition(", ")
        private = note == "private"
        method, address = called.split()
        names = [part[1:-1] for part in address.partition("?")[0].split("/") if part.startswith("{")]
        nothing = dict.fromkeys(("user_id", "persona_id", "media_id", "task_id"), 999_999) | {
            "tag": "hero",
            "model_id": JOB["model_id"],
        }
        # Image assets of projects have addresses of their own.
        things = {"asset_id": "image asset"} if address.startswith("/api/v1/") else {}
        ids = {
            name: nothing.get(name, NOWHERE)
            if nowhere
            else await self.thing(things.get(name, name), private=private)
            for name in names
        }
        address = address.format(**ids)
        if address.partition("?")[0] == streams.PATH:
            return await self._follow(address, headers)
        answer: httpx.Response = await self.api.request(
            method, address, headers=headers, **await self._body(called)
        )
        self.api.cookies.clear()
        if answer.is_success and (method == "DELETE" or called in COMPLETING) and names:
            self.used_up(things.get(names[-1], names[-1]), private=private)
        return answer

    async def _follow(self, address, headers):
        """How an event stream begins: it would not end."""
        query = dict(parse_qsl(address.partition("?")[2]))
        async with streams.following(self.app, headers, **query) as stream:
            return httpx.Response(stream.status, headers=stream.headers, content=stream.body)

    async def _body(self, called):
        """A good body for a call: of its own, or the OpenAPI document's example."""
        path = called.split()[1].partition("?")[0]
        if (of_its_own := BODIES.get(path) or await self._body_of_its_own(called, path)) is not None:
            return {"json": of_its_own}
        operation = self.app.openapi()["paths"].get(path, {}).get(called.split()[0].lower(), {})
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            return {}
        if "multipart/form-data" in content:
            return {"files": PICTURE}
        schema = content["application/json"]["schema"]
        if "$ref" in schema:
            schema = self.app.openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return {"json": schema["examples"][0]}

    async def _body_of_its_own(self, called, path):
        match path.removeprefix("/api/v2/auth/"):
            case "register":
                return {"email": f"new{next(self._numbers)}@example.com", "password": PASSWORD}
            case "login":
                return {"email": "owner@example.com", "password": PASSWORD}
            case "refresh":
                return {"refresh_token": await self.refresh_token()}
            case "me" if called.startswith("DELETE"):
                return {"password": PASSWORD}
            case "password":
                return {"old_password": PASSWORD, "new_password": PASSWORD}
        return None


def _bearer(token):
    return {"Authorization": f"Bearer {token}"}
