"""`/api/v2/auth`: accounts, sign-ins and API keys."""

from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from mediakeep.accounts import passwords, service
from mediakeep.accounts.actor import SCOPES
from mediakeep.accounts.login import limit_by_address, prove_password
from mediakeep.accounts.models import ApiKey
from mediakeep.accounts.service import Credentials, Tokens
from mediakeep.errors import (
    Conflict,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RateLimited,
)
from mediakeep.http.auth import SECURITY, SESSION_COOKIE, ReadActor, Who, WriteActor, find_actor, library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v2.auth_schemas import (
    CreatedKey,
    Key,
    Login,
    LoginForm,
    Me,
    NewKey,
    PasswordChange,
    Refresh,
    Registration,
    TokenAnswer,
)

router = APIRouter(prefix="/api/v2/auth", tags=["accounts"])

_NO_KEY = "An API key may not do this; log in with the password."

_FORM = "application/x-www-form-urlencoded"

_LOGIN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": Login.model_json_schema()},
            _FORM: {"schema": LoginForm.model_json_schema()},
        },
    }
}


@router.post(
    "/register",
    status_code=201,
    responses=problem_responses(
        PermissionDenied,
        Conflict,
        InvalidInput,
        RateLimited,
        permission_denied="Registration is closed. Ask an admin for an account.",
        conflict="There is an account with this e-mail address already.",
        invalid_input="password: String should have at least 8 characters",
    ),
    openapi_extra={"security": [{}, *SECURITY]},
)
async def register(request: Request, response: Response, body: Registration) -> TokenAnswer:
    """Create an account and log in.

    The first account of a server is its admin. After that registration is closed unless the server's settings open
    it; an admin may always register others, and gets the other's tokens then.
    """
    library, secret = library_of(request), request.app.state.secret
    caller = await find_actor(request)
    async with library.database.read() as session:
        await service.check_registration(
            session, library.settings, secret=secret, setup_code=body.setup_code, caller=caller
        )
    if caller is None:
        await limit_by_address(library.database, library.settings, what="register", address=_address(request))
    password_hash = await passwords.hash_password(body.password)
    async with library.database.write() as session:
        user = await service.register(
            session,
            library.settings,
            email=body.email,
            password_hash=password_hash,
            secret=secret,
            setup_code=body.setup_code,
            caller=caller,
        )
        credentials = Credentials(user_id=user.id, password_hash=password_hash)
        tokens = await service.sign_in(
            session, library.settings, credentials, secret=secret, user_agent=_user_agent(request)
        )
    if caller is None:
        _set_cookie(request, response, tokens)
    return _token_answer(response, tokens)


@router.post(
    "/login",
    responses=problem_responses(
        NotAuthenticated, InvalidInput, RateLimited, not_authenticated=service.WRONG_LOGIN
    ),
    openapi_extra=_LOGIN_BODY,
)
async def login(request: Request, response: Response) -> TokenAnswer:
    """Log in with e-mail address and password, as JSON or as an OAuth 2 password form.

    The JSON form also sets the page's cookie, with which a browser may read (never change) what is the user's.
    """
    library, secret = library_of(request), request.app.state.secret
    body, from_page = await _read_login(request)
    credentials = await prove_password(
        library.database,
        library.settings,
        email=body.email,
        password=body.password,
        address=_address(request),
    )
    async with library.database.write() as session:
        tokens = await service.sign_in(
            session, library.settings, credentials, secret=secret, user_agent=_user_agent(request)
        )
    if from_page:
        _set_cookie(request, response, tokens)
    return _token_answer(response, tokens)


@router.post(
    "/refresh",
    responses=problem_responses(
        NotAuthenticated,
        InvalidInput,
        not_authenticated="The refresh token is not good any more; log in again.",
    ),
)
async def refresh(request: Request, response: Response, body: Refresh) -> TokenAnswer:
    """Exchange a refresh token for a new access token and a new refresh token.

    A refresh token is good once. Using one again ends the sign-in, since somebody must have copied it.
    """
    library = library_of(request)
    async with library.database.write() as session:
        tokens = await service.refresh(
            session, library.settings, body.refresh_token, secret=request.app.state.secret
        )
    if tokens is None:
        raise NotAuthenticated("The refresh token is not good any more; log in again.")
    _set_cookie(request, response, tokens)
    return _token_answer(response, tokens)


@router.get("/me")
async def me(actor: Who, session: ReadSession) -> Me:
    """Who the token or key stands for."""
    user = await service.get_user(session, actor.user_id)
    return Me(
        id=user.id,
        email=user.email,
        is_admin=user.is_admin,
        created_at=user.created_at,
        scopes=[scope for scope in SCOPES if scope in actor.scopes],
    )


@router.post(
    "/logout",
    status_code=204,
    responses=problem_responses(PermissionDenied, permission_denied=_NO_KEY),
)
async def logout(request: Request, response: Response, actor: Who, session: WriteSession) -> None:
    """End this sign-in: its tokens and its cookie are worth nothing from now on."""
    await service.revoke_sign_in(session, actor.require_sign_in())
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=_is_secure(request))


@router.post(
    "/password",
    status_code=204,
    responses=problem_responses(
        PermissionDenied,
        InvalidInput,
        RateLimited,
        permission_denied="The old password is not correct.",
        invalid_input="new_password: String should have at least 8 characters",
    ),
)
async def change_password(request: Request, body: PasswordChange, actor: Who) -> None:
    """Change the password. All other sign-ins of the account end; API keys stay."""
    sign_in_id = actor.require_sign_in()
    library = library_of(request)
    try:
        await prove_password(
            library.database,
            library.settings,
            email=actor.email,
            password=body.old_password,
            address=_address(request),
        )
    except NotAuthenticated as error:
        raise PermissionDenied("The old password is not correct.") from error
    password_hash = await passwords.hash_password(body.new_password, field="new_password")
    async with library.database.write() as session:
        await service.set_password(
            session, actor.user_id, password_hash=password_hash, keep_sign_in_id=sign_in_id
        )


@router.post(
    "/keys",
    status_code=201,
    responses=problem_responses(PermissionDenied, InvalidInput, permission_denied=_NO_KEY),
)
async def create_key(body: NewKey, actor: Who, session: WriteSession) -> CreatedKey:
    """Create an API key. The answer is the only one that shows the key itself."""
    actor.require_sign_in()
    if "admin" in body.scopes or body.uploads_per_minute is not None:
        actor.require("admin")
    row, text = await service.create_api_key(
        session,
        actor.user_id,
        name=body.name,
        scopes=frozenset(body.scopes),
        expires_in_days=body.expires_in_days,
        uploads_per_minute=body.uploads_per_minute,
    )
    return CreatedKey(**_key(row).model_dump(), key=text)


@router.get(
    "/keys",
    responses=problem_responses(PermissionDenied, permission_denied="This API key may not read."),
)
async def list_keys(actor: ReadActor, session: ReadSession) -> list[Key]:
    """Your API keys that were not deleted, newest first; the expired ones too."""
    return [_key(row) for row in await service.list_api_keys(session, actor.user_id)]


@router.delete(
    "/keys/{id}",
    status_code=204,
    responses=problem_responses(PermissionDenied, NotFound, not_found="API key not found"),
)
async def delete_key(id: str, actor: WriteActor, session: WriteSession) -> None:  # noqa: A002 the path's name
    """Delete an API key: it is worth nothing from now on."""
    await service.revoke_api_key(session, id, user_id=actor.user_id)


async def _read_login(request: Request) -> tuple[Login, bool]:
    """The body, and whether it is JSON, which a page of another origin cannot send without being asked about."""
    type_ = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    try:
        if type_ == _FORM:
            form = LoginForm.model_validate(dict(parse_qsl(body.decode(errors="replace"), max_num_fields=20)))
            return Login(email=form.username, password=form.password), False
        if type_ != "application/json":
            raise RequestValidationError(
                [{"loc": ("header", "content-type"), "msg": f"must be application/json or {_FORM}"}]
            )
        return Login.model_validate_json(body), True
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**one, "loc": ("body", *one["loc"])}
                for one in error.errors(include_input=False, include_url=False)
            ]
        ) from error
    except ValueError as error:
        raise InvalidInput("The form has too many fields.", field="body") from error


def _token_answer(response: Response, tokens: Tokens) -> TokenAnswer:
    response.headers["Cache-Control"] = "no-store"
    return TokenAnswer(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        token_type="bearer",  # noqa: S106 not a password
        expires_in=tokens.expires_in_seconds,
    )


def _set_cookie(request: Request, response: Response, tokens: Tokens) -> None:
    response.set_cookie(
        SESSION_COOKIE,
        tokens.session_token,
        max_age=tokens.session_seconds,
        httponly=True,
        samesite="strict",
        secure=_is_secure(request),
    )


def _is_secure(request: Request) -> bool:
    return base_url(request).startswith("https:")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _user_agent(request: Request) -> str:
    return request.headers.get("user-agent", "")


def _key(row: ApiKey) -> Key:
    return Key(
        id=row.public_id,
        name=row.name,
        prefix=row.prefix,
        scopes=[scope for scope in SCOPES if scope in row.scopes],
        uploads_per_minute=row.uploads_per_minute,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
