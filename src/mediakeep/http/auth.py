"""Who asks: from a Bearer token, an API key, or for reading the page's cookie. Never reads the body."""

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer, OAuth2PasswordBearer

from mediakeep.accounts import keys, sign_ins
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.tokens import API_KEY_PREFIX, TokenType
from mediakeep.errors import NotAuthenticated
from mediakeep.library import Library

SESSION_COOKIE = "mediakeep_session"

#: For the OpenAPI description of routes that FastAPI does not describe by itself.
SECURITY: list[dict[str, list[str]]] = [{"Login": []}, {"Bearer": []}, {"ApiKey": []}, {"Session": []}]

_LOGIN = OAuth2PasswordBearer(
    tokenUrl="/api/v2/auth/login",
    refreshUrl="/api/v2/auth/refresh",
    scheme_name="Login",
    auto_error=False,
    description="Log in with e-mail address and password.",
)
_BEARER = HTTPBearer(
    scheme_name="Bearer",
    auto_error=False,
    description="An access token or an API key, in `Authorization: Bearer …`.",
)
_API_KEY = APIKeyHeader(
    name="X-API-Key", scheme_name="ApiKey", auto_error=False, description="An API key, such as `mk_…`."
)
_SESSION = APIKeyCookie(
    name=SESSION_COOKIE,
    scheme_name="Session",
    auto_error=False,
    description="The page's cookie, for GET and HEAD only.",
)


def library_of(request: Request) -> Library:
    """The library that this server serves."""
    library: Library = request.app.state.library
    return library


def address_of(request: Request) -> str:
    """Where the request comes from: the client's address, told by a proxy if that is trusted."""
    return request.client.host if request.client else ""


async def authenticate(request: Request) -> Actor:
    """Whoever sends the request. Raises `NotAuthenticated` when nobody known does."""
    actor = await find_actor(request)
    if actor is None:
        raise NotAuthenticated
    return actor


async def find_actor(request: Request) -> Actor | None:
    """Whoever sends the request, or None: for what is public.

    A token or key that is wrong or expired counts as none: what everybody may see is not refused to somebody whose
    token has run out. A wrong one hides a good one of lower rank: first Bearer, then the key, then the cookie.
    """
    authorization = request.headers.get("authorization", "")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        token = token.strip()
        if token.startswith(API_KEY_PREFIX):
            return await _find_by_key(request, token)
        return await _find_by_token(request, token, type_="access")
    if key := request.headers.get("x-api-key"):
        return await _find_by_key(request, key.strip())
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie and request.method in {"GET", "HEAD"}:
        return await _find_by_token(request, cookie, type_="session")
    return None


async def _find_by_token(request: Request, token: str, *, type_: TokenType) -> Actor | None:
    state = request.app.state
    for secret in (state.secret, *state.previous_secrets):
        actor = await sign_ins.find_actor_by_token(
            library_of(request).database, token, secret=secret, type_=type_, address=address_of(request)
        )
        if actor is not None:
            return actor
    return None


async def _find_by_key(request: Request, key: str) -> Actor | None:
    database = library_of(request).database
    holder = await keys.find_actor_by_api_key(database, key, address=address_of(request))
    if holder is None:
        return None
    if holder.use_is_due and holder.actor.api_key_id is not None:
        await keys.note_key_use(database, holder.actor.api_key_id)
    return holder.actor


async def _authenticated(
    request: Request,
    # Nothing is taken from these: they describe in OpenAPI what `find_actor` looks at.
    _login: Annotated[Any, Depends(_LOGIN)],
    _bearer: Annotated[Any, Depends(_BEARER)],
    _key: Annotated[Any, Depends(_API_KEY)],
    _cookie: Annotated[Any, Depends(_SESSION)],
) -> Actor:
    return await authenticate(request)


Who = Annotated[Actor, Depends(_authenticated, scope="function")]


async def _reader(actor: Who) -> Actor:
    actor.require("read")
    return actor


async def _writer(actor: Who) -> Actor:
    actor.require("write")
    return actor


async def _admin(actor: Who) -> Actor:
    actor.require("admin")
    return actor


#: Whoever asks, with the scope in question; others get 403.
ReadActor = Annotated[Actor, Depends(_reader, scope="function")]
WriteActor = Annotated[Actor, Depends(_writer, scope="function")]
AdminActor = Annotated[Actor, Depends(_admin, scope="function")]
