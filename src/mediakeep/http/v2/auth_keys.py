"""`/api/v2/auth/keys`: API keys."""

from fastapi import APIRouter

from mediakeep.accounts import keys
from mediakeep.accounts.actor import NO_KEY, SCOPES
from mediakeep.accounts.models import ApiKey
from mediakeep.errors import InvalidInput, NotFound, PermissionDenied
from mediakeep.http.auth import ReadActor, Who, WriteActor
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v2.auth_schemas import CreatedKey, Key, NewKey

router = APIRouter(prefix="/api/v2/auth", tags=["accounts"])


@router.post(
    "/keys",
    status_code=201,
    responses=problem_responses(PermissionDenied, InvalidInput, permission_denied=NO_KEY),
)
async def create_key(body: NewKey, actor: Who, session: WriteSession) -> CreatedKey:
    """Create an API key. The answer is the only one that shows the key itself."""
    actor.require_sign_in()
    if "admin" in body.scopes or body.uploads_per_minute is not None:
        actor.require("admin")
    row, text = await keys.create_api_key(
        session,
        actor,
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
    return [_key(row) for row in await keys.list_api_keys(session, actor.user_id)]


@router.delete(
    "/keys/{id}",
    status_code=204,
    responses=problem_responses(PermissionDenied, NotFound, not_found="API key not found"),
)
async def delete_key(id: str, actor: WriteActor, session: WriteSession) -> None:  # noqa: A002 the path's name
    """Delete an API key: it is worth nothing from now on."""
    await keys.revoke_api_key(session, actor, id, user_id=actor.user_id)


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
