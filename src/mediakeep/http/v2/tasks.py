"""`/api/v2/tasks`: background work, for admins."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import tasks
from mediakeep.accounts import audit
from mediakeep.errors import Conflict, InvalidInput, MediakeepError, NotFound, PermissionDenied
from mediakeep.http.auth import AdminActor
from mediakeep.http.base_url import base_url
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v2.auth_schemas import Time
from mediakeep.tasks import queries
from mediakeep.tasks.queries import Status

router = APIRouter(prefix="/api/v2/tasks", tags=["tasks"])

_NOT_DEAD = "Only a dead task can be retried."
_ENDED = "The task has ended."

_Id = Annotated[int, Path(ge=1, le=2**53)]


class ShownTask(BaseModel):
    id: int = Field(examples=[412])
    name: str = Field(description="What is to be done.", examples=["files.derive"])
    status: Status = Field(description="`dead`: it failed for good.", examples=["dead"])
    owner_id: int | None = Field(
        description="The user for whom it is done; null: the server's own.", examples=[2]
    )
    key: str | None = Field(description="The occasion that it is for, if it has a name.", examples=[None])
    priority: int = Field(description="Smaller ones go first.", examples=[0])
    payload: dict[str, Any] = Field(
        description="What it is about; secrets are `***`.", examples=[{"file_id": 17}]
    )
    state: dict[str, Any] = Field(description="What earlier steps have left.", examples=[{}])
    attempts: int = Field(description="How often this step was begun.", examples=[12])
    max_attempts: int | None = Field(
        description="After so many it is dead; null: this server does not know the task.", examples=[12]
    )
    run_at: Time = Field(description="When it is due.")
    leased_until: Time | None = Field(
        description="While it runs: when another worker takes over unless it goes on.", examples=[None]
    )
    deadline_at: Time | None = Field(description="When it is given up.", examples=[None])
    created_at: Time
    finished_at: Time | None = Field(description="When it was done, died or was cancelled.", examples=[None])
    last_error: str | None = Field(
        description="Why it failed last.", examples=["Unavailable: The storage does not answer."]
    )


_SHOWN = TypeAdapter(list[ShownTask])


def _refusals(*errors: type[MediakeepError], conflict: str = "") -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        *errors,
        permission_denied="Only an admin may do this.",
        not_found="Task not found",
        conflict=conflict,
        invalid_input="task_id: Input should be a valid integer, unable to parse string as an integer",
    )


@router.get(
    "",
    response_model=list[ShownTask],
    summary="List background tasks",
    responses={200: {"headers": PAGE_HEADERS}, **_refusals(InvalidInput)},
)
async def list_tasks(
    request: Request,
    actor: AdminActor,  # noqa: ARG001 others may not
    session: ReadSession,
    status: Annotated[
        list[Status] | None, Query(description="Tasks of these statuses; may be given several times.")
    ] = None,
    name: Annotated[str | None, Query(max_length=100, description="Tasks of this name.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """An admin's: what waits, runs or has ended, newest first. What is done is forgotten at once or, with a key, a day later."""
    found, total = await queries.list_page(
        session, statuses=status or queries.STATUSES, name=name, limit=limit, offset=offset
    )
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    body = _SHOWN.dump_json(_SHOWN.validate_python(found, from_attributes=True))
    return Response(body, media_type="application/json", headers=headers)


@router.get("/{task_id}", summary="Read a background task", responses=_refusals(NotFound, InvalidInput))
async def read_task(
    task_id: _Id,
    actor: AdminActor,  # noqa: ARG001 others may not
    session: ReadSession,
) -> ShownTask:
    """An admin's: one task."""
    return await _shown(session, task_id)


@router.post(
    "/{task_id}/retry",
    summary="Retry a dead background task",
    responses=_refusals(NotFound, Conflict, InvalidInput, conflict=_NOT_DEAD),
)
async def retry_task(task_id: _Id, actor: AdminActor, session: WriteSession) -> ShownTask:
    """An admin's: queue a task that failed for good, from where it had got to, with all its attempts and no deadline."""
    task = await queries.get_task(session, task_id)
    if not await tasks.retry_dead(session, task_id):
        raise Conflict(_NOT_DEAD)
    await audit.record(
        session, actor, "task.retried", user_id=task.owner_id, subject=str(task_id), name=task.name
    )
    return await _shown(session, task_id)


@router.post(
    "/{task_id}/cancel",
    summary="Cancel a background task",
    responses=_refusals(NotFound, Conflict, InvalidInput, conflict=_ENDED),
)
async def cancel_task(task_id: _Id, actor: AdminActor, session: WriteSession) -> ShownTask:
    """An admin's: end a task that waits; one that runs is stopped at its next sign of life, and writes nothing more."""
    task = await queries.get_task(session, task_id)
    if not await tasks.cancel(session, task_id):
        raise Conflict(_ENDED)
    await audit.record(
        session, actor, "task.cancelled", user_id=task.owner_id, subject=str(task_id), name=task.name
    )
    return await _shown(session, task_id)


async def _shown(session: AsyncSession, task_id: int) -> ShownTask:
    return ShownTask.model_validate(asdict(await queries.get_task(session, task_id)))
