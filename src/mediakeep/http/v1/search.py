"""`/api/v1`: finding image assets by words."""

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from mediakeep.assets import project_lists
from mediakeep.assets.queries import Filters
from mediakeep.errors import InvalidInput, NotFound
from mediakeep.http.auth import ReadActor, library_of
from mediakeep.http.base_url import told
from mediakeep.http.times import GivenTime
from mediakeep.http.v1.assets import TAGS, WORDS, refusals, split_tags
from mediakeep.http.v1.schemas import SHAPE, ImageAsset
from mediakeep.index.query import FIELDS
from mediakeep.index.query import Field as IndexField
from mediakeep.search import text
from mediakeep.search.text import Wanted

router = APIRouter(prefix="/api/v1", tags=["image assets"])


class Match(BaseModel):
    """A place where something was found, characters `start` to `end` of a field; of tags the one at `index`."""

    field: Literal["name", "tags", "description"] = Field(examples=["name"])
    start: int = Field(examples=[0])
    end: int = Field(examples=[6])
    index: int | None = Field(examples=[None])


class FoundAsset(ImageAsset):
    score: float = Field(description="0 to 1, of the best match; higher is better.", examples=[1.0])
    matches: list[Match]


class FoundAssets(BaseModel):
    assets: list[FoundAsset]
    total: int = Field(description="10001 where there are more than 10,000.", examples=[1])
    limit: int = Field(examples=[50])
    offset: int = Field(examples=[0])
    has_more: bool = Field(examples=[False])


_LIST_OF_FIELDS = rf"^ *(({'|'.join(FIELDS)}) *(, *|$))*$"

_Time = Annotated[GivenTime | None, Query(description="ISO 8601; UTC without a zone.")]


def _wanted(
    q: Annotated[
        WORDS,
        Query(
            description='Words that all have to occur, "phrases", and beginnings of three letters or more: `drag*`.'
        ),
    ],
    fields: Annotated[
        str,
        Query(
            pattern=_LIST_OF_FIELDS,
            description=f"Where to look, separated by commas: {', '.join(FIELDS)}. Everywhere without it.",
        ),
    ] = "",
    fuzzy: Annotated[bool, Query(description="Also what is spelt a little differently.")] = False,
    tags: TAGS = "",
    tags_match: Annotated[Literal["all", "any"], Query()] = "all",
    has_generations: Annotated[bool | None, Query(description="Only those with, or without.")] = None,
    created_after: _Time = None,
    created_before: _Time = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Wanted:
    """What both searches may be asked."""
    return Wanted(
        text=q,
        fields=_fields(fields),
        fuzzy=fuzzy,
        filters=Filters(types=("image",), created_after=created_after, created_before=created_before),
        tags=split_tags(tags),
        any_tag=tags_match == "any",
        has_generations=has_generations,
        limit=limit,
        offset=offset,
    )


_Wanted = Annotated[Wanted, Depends(_wanted)]


@router.get(
    "/projects/{project_id}/assets/search",
    response_model=FoundAssets,
    summary="Search a project's assets",
    responses=refusals(NotFound, InvalidInput, of="Project", may_not="read"),
)
async def search_project(request: Request, project_id: str, actor: ReadActor, wanted: _Wanted) -> Response:
    """Best first. The newest 5,000 matches are ranked; older ones follow them, newest first."""
    row_id = await project_lists.find_project(library_of(request).database, actor, project_id)
    return await _found(request, actor, replace(wanted, project_id=row_id))


@router.get(
    "/search",
    response_model=FoundAssets,
    summary="Search all projects",
    responses=refusals(InvalidInput, may_not="read"),
)
async def search(
    request: Request,
    actor: ReadActor,
    wanted: _Wanted,
    all: Annotated[bool, Query(description="An admin's: everybody's assets.")] = False,  # noqa: A002 the wire's name
) -> Response:
    """The assets of all one's own projects, best first."""
    return await _found(request, actor, replace(wanted, in_projects=True), everyones=all)


async def _found(request: Request, actor: ReadActor, wanted: Wanted, *, everyones: bool = False) -> Response:
    database = library_of(request).database
    found = await text.find(database, actor, wanted, everyones=everyones)
    async with database.read() as session:
        ids = [hit.asset_id for hit in found.hits]
        shown = await project_lists.show(session, ids, shape=SHAPE, told=told(request))
    assets = [
        f'{shown[hit.asset_id][:-1]},"score":{hit.score},"matches":{json.dumps([_match(one) for one in hit.matches])}}}'
        for hit in found.hits
        if hit.asset_id in shown  # it may have been deleted meanwhile
    ]
    more = "true" if wanted.offset + wanted.limit < found.total else "false"
    body = (
        f'{{"assets":[{",".join(assets)}],"total":{found.total},"limit":{wanted.limit},'
        f'"offset":{wanted.offset},"has_more":{more}}}'
    )
    return Response(body, media_type="application/json")


def _match(match: text.Match) -> dict[str, Any]:
    return {"field": match.field, "start": match.start, "end": match.end, "index": match.index}


def _fields(given: str) -> tuple[IndexField, ...]:
    asked = {one.strip() for one in given.split(",")}
    return tuple(one for one in FIELDS if one in asked) or FIELDS
