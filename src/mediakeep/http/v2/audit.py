"""`/api/v2/audit`: what happened to accounts, for admins."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, TypeAdapter

from mediakeep.accounts import audit
from mediakeep.accounts.audit import Action
from mediakeep.errors import InvalidInput, PermissionDenied
from mediakeep.http.auth import AdminActor
from mediakeep.http.base_url import base_url
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession
from mediakeep.http.v2.auth_schemas import Time

router = APIRouter(prefix="/api/v2/audit", tags=["users"])


class ShownEntry(BaseModel):
    id: int = Field(examples=[17])
    created_at: Time
    action: Action = Field(examples=["key.created"])
    actor_id: int | None = Field(
        description="The user who did it; null: nobody known, or the command line.", examples=[1]
    )
    api_key_id: str | None = Field(description="The API key it was done with.", examples=[None])
    sign_in_id: str | None = Field(
        description="The sign-in it was done with.", examples=["2d1f0c7e-3b52-4a69-8e0d-7c9a5b4f1e63"]
    )
    address: str = Field(
        description="Where the request came from; `shell` for the command line.", examples=["192.0.2.7"]
    )
    user_id: int | None = Field(description="The user whom it was done to.", examples=[1])
    subject: str | None = Field(
        description="The id of the key, the sign-in or the asset it was done to, if to any.",
        examples=["6f1c8a52-7f0e-4b8e-9d55-0c4e1f6a2b3d"],
    )
    details: dict[str, Any] = Field(examples=[{"scopes": ["read"]}])


_SHOWN = TypeAdapter(list[ShownEntry])


@router.get(
    "",
    response_model=list[ShownEntry],
    summary="List what happened to accounts",
    responses={
        200: {"headers": PAGE_HEADERS},
        **problem_responses(PermissionDenied, InvalidInput, permission_denied="Only an admin may do this."),
    },
)
async def list_entries(
    request: Request,
    actor: AdminActor,  # noqa: ARG001 others may not
    session: ReadSession,
    action: Annotated[Action | None, Query(description="Acts of this kind.")] = None,
    user: Annotated[
        int | None, Query(ge=1, le=2**53, description="Acts of or upon this user, by id.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """An admin's: logins, keys, passwords, and what admins did, newest first. Kept as long as the server's settings say."""
    found, total = await audit.list_page(session, action=action, user_id=user, limit=limit, offset=offset)
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    body = _SHOWN.dump_json(_SHOWN.validate_python(found, from_attributes=True))
    return Response(body, media_type="application/json", headers=headers)
