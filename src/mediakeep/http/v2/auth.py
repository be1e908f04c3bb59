"""`/api/v2/auth`: one's own account: register, log in and out, change the password, delete it."""

from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from mediakeep.accounts import passwords, service, sign_ins
from mediakeep.accounts.actor import NO_KEY, SCOPES, Actor, Stranger
from mediakeep.accounts.login import limit_by_address, prove_password
from mediakeep.accounts.sign_ins import Credentials, Tokens
from mediakeep.errors import Conflict, InvalidInput, NotAuthenticated, PermissionDenied, RateLimited
from mediakeep.http.auth import SECURITY, SESSION_COOKIE, Who, address_of, find_actor, library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.delivery import forget_all
from mediakeep.http.local import is_from_this_machine
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v2.auth_schemas import (
    Login,
    LoginForm,
    Me,
    OwnDeletion,
    PasswordChange,
    Refresh,
    Registration,
    TokenAnswer,
)

router = APIRouter(prefix="/api/v2/auth", tags=["accounts"])

_WRONG = "The password is not correct."
_WRONG_OLD = "The old password is not correct."

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
    known = await find_actor(request)
    caller = known or _stranger(request)
    proofs: dict[str, Any] = {
        "secret": secret,
        "setup_code": body.setup_code,
        "from_this_machine": is_from_this_machine(request),
    }
    async with library.database.read() as session:
        await service.check_registration(session, library.settings, caller=caller, **proofs)
    if known is None or not known.is_admin:
        await limit_by_address(library.database, library.settings, what="register", address=caller.address)
    password_hash = await passwords.hash_password(body.password)
    async with library.database.write() as session:
        user = await service.register(
            session,
            library.settings,
            email=body.email,
            password_hash=password_hash,
            caller=caller,
            **proofs,
        )
        credentials = Credentials(user_id=user.id, password_hash=password_hash)
        tokens = await sign_ins.sign_in(
            session,
            library.settings,
            credentials,
            secret=secret,
            caller=caller,
            user_agent=_user_agent(request),
        )
    if known is None:
        _set_cookie(request, response, tokens)
    return _token_answer(response, tokens)


@router.post(
    "/login",
    responses=problem_responses(
        NotAuthenticated, InvalidInput, RateLimited, not_authenticated=sign_ins.WRONG_LOGIN
    ),
    openapi_extra=_LOGIN_BODY,
)
async def login(request: Request, response: Response) -> TokenAnswer:
    """Log in with e-mail address and password, as JSON or as an OAuth 2 password form.

    The JSON form also sets the page's cookie, with which a browser may read (never change) what is the user's.
    """
    library, secret = library_of(request), request.app.state.secret
    caller = _stranger(request)
    body, from_page = await _read_login(request)
    credentials = await prove_password(
        library.database,
        library.settings,
        email=body.email,
        password=body.password,
        caller=caller,
    )
    async with library.database.write() as session:
        tokens = await sign_ins.sign_in(
            session,
            library.settings,
            credentials,
            secret=secret,
            caller=caller,
            user_agent=_user_agent(request),
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
        tokens = await sign_ins.refresh(
            session,
            library.settings,
            body.refresh_token,
            secret=request.app.state.secret,
            caller=_stranger(request),
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
    responses=problem_responses(PermissionDenied, permission_denied=NO_KEY),
)
async def logout(request: Request, response: Response, actor: Who, session: WriteSession) -> None:
    """End this sign-in: its tokens and its cookie are worth nothing from now on."""
    await sign_ins.log_out(session, actor)
    _clear_cookie(request, response)


@router.post(
    "/password",
    status_code=204,
    responses=problem_responses(
        PermissionDenied,
        InvalidInput,
        RateLimited,
        permission_denied=_WRONG_OLD,
        invalid_input="new_password: String should have at least 8 characters",
    ),
)
async def change_password(request: Request, body: PasswordChange, actor: Who) -> None:
    """Change the password. All other sign-ins of the account end; API keys stay unless `revoke_keys` says otherwise."""
    sign_in_id = actor.require_sign_in()
    library = library_of(request)
    await _prove_again(request, actor, body.old_password, wrong=_WRONG_OLD)
    password_hash = await passwords.hash_password(body.new_password, field="new_password")
    async with library.database.write() as session:
        await service.set_password(
            session,
            actor,
            actor.user_id,
            password_hash=password_hash,
            keep_sign_in_id=sign_in_id,
            revoke_keys=body.revoke_keys,
        )


@router.delete(
    "/me",
    status_code=204,
    responses=problem_responses(
        PermissionDenied,
        Conflict,
        InvalidInput,
        RateLimited,
        permission_denied=_WRONG,
        conflict=service.ONLY_ADMIN,
        invalid_input="password: Field required",
    ),
)
async def delete_me(request: Request, response: Response, body: OwnDeletion, actor: Who) -> None:
    """Delete your account with everything of yours, for good. It needs the password.

    From now on nobody sees anything of it, public files neither; the bytes follow. The only admin has to make another
    account an admin first, as long as there are others.
    """
    actor.require_sign_in()
    await _prove_again(request, actor, body.password, wrong=_WRONG)
    async with library_of(request).database.write() as session:
        await service.remove_user(session, actor, actor.user_id)
        forget_all(request, session)
    _clear_cookie(request, response)


async def _prove_again(request: Request, actor: Actor, password: str, *, wrong: str) -> None:
    """Raise `PermissionDenied` unless it is the password of whoever is logged in; guesses count as at login."""
    library = library_of(request)
    try:
        await prove_password(
            library.database, library.settings, email=actor.email, password=password, caller=actor
        )
    except NotAuthenticated as error:
        raise PermissionDenied(wrong) from error


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


def _clear_cookie(request: Request, response: Response) -> None:
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=_is_secure(request))


def _is_secure(request: Request) -> bool:
    return base_url(request).startswith("https:")


def _stranger(request: Request) -> Stranger:
    return Stranger(address=address_of(request))


def _user_agent(request: Request) -> str:
    return request.headers.get("user-agent", "")
