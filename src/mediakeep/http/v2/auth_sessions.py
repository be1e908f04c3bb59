"""`/api/v2/auth/sessions`: one's own sign-ins."""

from fastapi import APIRouter

from mediakeep.accounts import sign_ins
from mediakeep.accounts.actor import NO_KEY
from mediakeep.errors import NotFound, PermissionDenied
from mediakeep.http.auth import ReadActor, Who
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v2.auth_schemas import ShownSignIn

router = APIRouter(prefix="/api/v2/auth/sessions", tags=["accounts"])


@router.get(
    "",
    summary="List your sign-ins",
    responses=problem_responses(PermissionDenied, permission_denied="This API key may not read."),
)
async def list_sessions(actor: ReadActor, session: ReadSession) -> list[ShownSignIn]:
    """Where you are logged in: each sign-in that has not ended, the one used last first."""
    return [
        ShownSignIn(
            id=row.public_id,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            expires_at=row.expires_at,
            user_agent=row.user_agent,
            is_current=row.id == actor.sign_in_id,
        )
        for row in await sign_ins.list_sign_ins(session, actor.user_id)
    ]


@router.delete(
    "",
    status_code=204,
    summary="Sign out everywhere else",
    responses=problem_responses(PermissionDenied, permission_denied=NO_KEY),
)
async def end_other_sessions(actor: Who, session: WriteSession) -> None:
    """End all your sign-ins but the one that asks; API keys stay."""
    await sign_ins.end_other_sign_ins(session, actor)


@router.delete(
    "/{session_id}",
    status_code=204,
    summary="End a sign-in",
    responses=problem_responses(
        PermissionDenied, NotFound, permission_denied=NO_KEY, not_found="Sign-in not found"
    ),
)
async def end_session(session_id: str, actor: Who, session: WriteSession) -> None:
    """End one of your sign-ins: its tokens and its cookie are worth nothing from now on."""
    await sign_ins.end_sign_in(session, actor, session_id)
