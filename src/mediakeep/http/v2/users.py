"""`/api/v2/users`: what admins do about accounts."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, TypeAdapter

from mediakeep.accounts import passwords, service
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import User
from mediakeep.errors import Conflict, InvalidInput, MediakeepError, NotFound, PermissionDenied
from mediakeep.http.auth import AdminActor, library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.delivery import forget_all
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v2.auth_schemas import NewPassword, RevokeKeys, Time

router = APIRouter(prefix="/api/v2/users", tags=["users"])

_NOT_YOURSELF = "This is your own account; /api/v2/auth has the calls for it, which ask for the password."

_Id = Annotated[int, Path(ge=1, le=2**53)]


class ShownUser(BaseModel):
    id: int = Field(examples=[2])
    email: str = Field(examples=["you@example.com"])
    is_admin: bool = Field(examples=[False])
    disabled: bool = Field(examples=[False])
    created_at: Time


class UserChanges(BaseModel):
    """What is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"disabled": True}]})

    disabled: StrictBool = Field(
        False, description="Shuts the user out at once, API keys too; what is theirs stays."
    )
    is_admin: StrictBool = Field(False, description="Cannot be changed by an API key.")


class NewUserPassword(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "correct horse battery"}]})

    password: NewPassword
    revoke_keys: RevokeKeys = False


_SHOWN = TypeAdapter(list[ShownUser])


def _refusals(*errors: type[MediakeepError], conflict: str = "") -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        *errors,
        permission_denied="Only an admin may do this.",
        not_found="User not found",
        conflict=conflict,
        invalid_input="user_id: Input should be a valid integer, unable to parse string as an integer",
    )


@router.get(
    "",
    response_model=list[ShownUser],
    summary="List users",
    responses={200: {"headers": PAGE_HEADERS}, **_refusals(InvalidInput)},
)
async def list_users(
    request: Request,
    actor: AdminActor,  # noqa: ARG001 others may not
    session: ReadSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """An admin's: all accounts, newest first."""
    found, total = await service.list_user_page(session, limit=limit, offset=offset)
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    body = _SHOWN.dump_json([_shown(one) for one in found])
    return Response(body, media_type="application/json", headers=headers)


@router.get("/{user_id}", summary="Read a user", responses=_refusals(NotFound, InvalidInput))
async def read_user(
    user_id: _Id,
    actor: AdminActor,  # noqa: ARG001 others may not
    session: ReadSession,
) -> ShownUser:
    """An admin's: one account."""
    return _shown(await service.get_user(session, user_id))


@router.patch(
    "/{user_id}",
    summary="Change a user",
    responses=_refusals(NotFound, Conflict, InvalidInput, conflict=service.ONLY_ADMIN),
)
async def change_user(
    user_id: _Id,
    body: UserChanges,
    actor: AdminActor,
    session: WriteSession,
) -> ShownUser:
    """An admin's: disable or enable an account, make it an admin or an ordinary one.

    Of others there is always an admin left who can log in.
    """
    if "is_admin" in body.model_fields_set:
        actor.require_sign_in()
        set_admin = service.promote_user if body.is_admin else service.demote_user
        await set_admin(session, actor, user_id)
    if "disabled" in body.model_fields_set:
        set_disabled = service.disable_user if body.disabled else service.enable_user
        await set_disabled(session, actor, user_id)
    return _shown(await service.get_user(session, user_id))


@router.post(
    "/{user_id}/password",
    status_code=204,
    summary="Set a user's password",
    responses=_refusals(NotFound, Conflict, InvalidInput, conflict=_NOT_YOURSELF),
)
async def set_password(
    request: Request,
    user_id: _Id,
    body: NewUserPassword,
    actor: AdminActor,
) -> None:
    """An admin's, but no API key's: give somebody a new password. Their sign-ins end."""
    actor.require_sign_in()
    _require_somebody_else(actor, user_id)
    password_hash = await passwords.hash_password(body.password)
    async with library_of(request).database.write() as session:
        await service.set_password(
            session, actor, user_id, password_hash=password_hash, revoke_keys=body.revoke_keys
        )


@router.delete(
    "/{user_id}",
    status_code=204,
    summary="Delete a user",
    responses=_refusals(NotFound, Conflict, InvalidInput, conflict=_NOT_YOURSELF),
)
async def delete_user(
    request: Request,
    user_id: _Id,
    actor: AdminActor,
    session: WriteSession,
) -> None:
    """An admin's: delete an account with everything of theirs, for good. It is gone at once; the bytes follow."""
    _require_somebody_else(actor, user_id)
    await service.remove_user(session, actor, user_id)
    forget_all(request, session)


def _require_somebody_else(actor: Actor, user_id: int) -> None:
    """An API key, or a token that was left behind, must not do without the password what needs it."""
    if user_id == actor.user_id:
        raise Conflict(_NOT_YOURSELF)


def _shown(user: User) -> ShownUser:
    return ShownUser(
        id=user.id,
        email=user.email,
        is_admin=user.is_admin,
        disabled=user.disabled_at is not None,
        created_at=user.created_at,
    )
