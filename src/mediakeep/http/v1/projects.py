"""`/api/v1/projects`: what image assets belong to."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from mediakeep import assets, collections
from mediakeep.assets.text import check_description, check_name
from mediakeep.errors import InvalidInput, MediakeepError, NotFound, PermissionDenied
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.delivery import forget_all
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.times import zulu
from mediakeep.http.v1.schemas import Project, ProjectBody, ProjectChanges, ProjectList

router = APIRouter(prefix="/api/v1/projects", tags=["projects"])


def _refusals(*errors: type[MediakeepError], may_not: str = "write") -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        *errors,
        permission_denied=f"This API key may not {may_not}.",
        not_found="Project not found",
        invalid_input="name must not be empty.",
    )


@router.post("", status_code=201, response_model=Project, responses=_refusals(InvalidInput))
async def create_project(body: ProjectBody, actor: WriteActor, session: WriteSession) -> dict[str, Any]:
    """Create a project."""
    project = await collections.service.create(session, actor, "project_id", _columns(body))
    return _shown(project, 0)


@router.get("", response_model=ProjectList, responses=_refusals(InvalidInput, may_not="read"))
async def list_projects(
    actor: ReadActor,
    session: ReadSession,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    all: Annotated[bool, Query(description="An admin's: everybody's.")] = False,  # noqa: A002 the wire's name
) -> dict[str, Any]:
    """One's own projects, newest first."""
    found, total = await collections.service.list_page(
        session, actor, "project_id", limit=limit, offset=offset, everyones=all
    )
    counts = await assets.queries.count_by_collection(session, "project_id", [one.id for one in found])
    return {
        "projects": [_shown(one, counts.get(one.id, 0)) for one in found],
        "total": total,
        "limit": limit,
        "offset": offset,
        "has_more": offset + len(found) < total,
    }


@router.get("/{project_id}", response_model=Project, responses=_refusals(NotFound, may_not="read"))
async def read_project(project_id: str, actor: ReadActor, session: ReadSession) -> dict[str, Any]:
    """A project, and how much belongs to it."""
    project = await collections.service.get(session, actor, "project_id", project_id)
    counts = await assets.queries.count_by_collection(session, "project_id", [project.id])
    return _shown(project, counts.get(project.id, 0))


@router.put("/{project_id}", response_model=Project, responses=_refusals(NotFound, InvalidInput))
async def change_project(
    request: Request, project_id: str, changes: ProjectChanges, actor: WriteActor
) -> dict[str, Any]:
    """Change a project: what is absent stays as it is, null clears."""
    database = library_of(request).database
    columns = _columns(changes)
    async with database.write() as session:
        project = await collections.service.change(session, actor, "project_id", project_id, columns)
    async with database.read() as session:  # counting may take long, and SQLite has one writer
        counts = await assets.queries.count_by_collection(session, "project_id", [project.id])
    return _shown(project, counts.get(project.id, 0))


@router.delete("/{project_id}", status_code=204, responses=_refusals(NotFound))
async def delete_project(request: Request, project_id: str, actor: WriteActor, session: WriteSession) -> None:
    """Delete a project with all its assets and their generations. They are gone at once; their bytes follow."""
    await collections.service.remove(session, actor, "project_id", project_id)
    forget_all(request, session)


def _columns(body: ProjectBody | ProjectChanges) -> dict[str, Any]:
    """What was sent, checked. Raises `InvalidInput`."""
    columns: dict[str, Any] = {}
    if "name" in body.model_fields_set:
        columns["name"] = check_name(body.name)
    if "description" in body.model_fields_set:
        columns["description"] = check_description(body.description)
    return columns


def _shown(project: Any, asset_count: int) -> dict[str, Any]:  # a Project; collections share one type
    return {
        "id": project.public_id,
        "name": project.name,
        "description": project.description,
        "asset_count": asset_count,
        "created_at": zulu(project.created_at),
        "updated_at": zulu(project.updated_at),
    }
