"""`/api/v1`: what is in a project: its tags and its statistics."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mediakeep.assets import project_lists, statistics, tags
from mediakeep.assets.text import MAX_TAG_LENGTH
from mediakeep.errors import Conflict, InvalidInput, NotFound
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v1.assets import refusals

router = APIRouter(prefix="/api/v1/projects", tags=["projects"])


class TagCount(BaseModel):
    name: str = Field(examples=["character"])
    count: int = Field(examples=[15])


class TagCounts(BaseModel):
    tags: list[TagCount]


class TagChange(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "figure"}]})

    name: str = Field(min_length=1, json_schema_extra={"maxLength": MAX_TAG_LENGTH})


class TagChanged(BaseModel):
    updated: int = Field(description="Assets whose tags have changed.", examples=[15])


class Day(BaseModel):
    date: str = Field(examples=["2025-11-16"])
    count: int = Field(examples=[3])
    completed: int = Field(examples=[3])
    failed: int = Field(examples=[3])


class Trends(BaseModel):
    daily: list[Day] = Field(description="The last 30 days, oldest first.")
    models_used: dict[str, int] = Field(examples=[{"Realistic_Vision_V5.1": 200}])


class ProjectStats(BaseModel):
    total_assets: int = Field(examples=[150])
    total_generations: int = Field(examples=[450])
    generations_by_status: dict[str, int] = Field(examples=[{"completed": 420, "failed": 20, "pending": 10}])
    storage_used: int = Field(description="Bytes.", examples=[2_048_576_000])
    most_used_tags: list[str] = Field(examples=[["character", "environment"]])
    generation_trends: Trends


@router.get(
    "/{project_id}/tags",
    response_model=TagCounts,
    summary="Count a project's tags",
    responses={
        200: {"headers": PAGE_HEADERS},
        **refusals(NotFound, InvalidInput, of="Project", may_not="read"),
    },
)
async def list_tags(
    request: Request,
    response: Response,
    project_id: str,
    actor: ReadActor,
    session: ReadSession,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> dict[str, Any]:
    """The tags of a project's assets, those used most first. `X-Total-Count` says how many there are in all."""
    row_id = await project_lists.find_project(library_of(request).database, actor, project_id)
    total = await statistics.count_tags(session, row_id)
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    response.headers.update(headers)
    return {"tags": await statistics.tag_counts(session, row_id, limit=limit, offset=offset)}


@router.put(
    "/{project_id}/tags/{tag:path}",
    response_model=TagChanged,
    summary="Rename a tag, or merge it into another",
    responses=refusals(
        *(NotFound, InvalidInput, Conflict),
        of="Project",
        conflict="This tag is still being renamed. Try again in a moment.",
    ),
)
async def rename_tag(
    project_id: str,
    tag: Annotated[str, Path(min_length=1)],
    body: TagChange,
    actor: WriteActor,
    session: WriteSession,
) -> dict[str, int]:
    """On all assets of the project; where an asset has both, they become one. Case makes no difference."""
    return {"updated": await tags.rename_tag(session, actor, project_id, tag, body.name)}


@router.get(
    "/{project_id}/stats",
    response_model=ProjectStats,
    summary="Statistics of a project",
    responses=refusals(NotFound, of="Project", may_not="read"),
)
async def read_stats(
    request: Request, project_id: str, actor: ReadActor, session: ReadSession
) -> dict[str, Any]:
    """How much there is, what became of the generations, and what they were made with."""
    row_id = await project_lists.find_project(library_of(request).database, actor, project_id)
    return await statistics.project_statistics(session, row_id)
