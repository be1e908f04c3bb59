"""Assets that look alike: those like one asset, and groups of duplicates."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from mediakeep import assets
from mediakeep.accounts.actor import Actor
from mediakeep.errors import BadRequest, InvalidInput, NotFound, PermissionDenied
from mediakeep.http.auth import ReadActor, library_of
from mediakeep.http.base_url import base_url, told
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.problems import problem_responses
from mediakeep.http.v2.schemas import SHAPE, Asset
from mediakeep.search.similar import Similar

router = APIRouter(prefix="/api/v2", tags=["assets"])

_MAY_NOT_READ = "This API key may not read."

#: Of a larger group the newest are shown.
_MOST_SHOWN = 100


class SimilarAsset(BaseModel):
    asset: Asset
    distance: int = Field(
        description="Bits of 64 in which the perceptual hashes differ; 0 is the most alike.", examples=[3]
    )
    exact: bool = Field(description="Whether it is the very same content (SHA-256).", examples=[False])


class DuplicateGroup(BaseModel):
    assets: list[Asset] = Field(
        description=f"Newest first; of a group of more than {_MOST_SHOWN} the newest."
    )
    distance: int = Field(
        description="Bits of 64 in which the farthest of them differs from the newest.", examples=[2]
    )
    exact: bool = Field(description="Whether all are the very same content (SHA-256).", examples=[False])


class Duplicates(BaseModel):
    """A page of groups of assets that look alike, the group with the newest asset first."""

    groups: list[DuplicateGroup]
    total: int = Field(description="How many groups there are in all.", examples=[1])
    limit: int = Field(examples=[20])
    offset: int = Field(examples=[0])
    has_more: bool = Field(examples=[False])


@router.get(
    "/assets/{asset_id}/similar",
    response_model=list[SimilarAsset],
    summary="Find assets that look like one",
    responses={
        200: {"headers": PAGE_HEADERS},
        **problem_responses(
            PermissionDenied,
            NotFound,
            InvalidInput,
            not_found="Asset not found",
            permission_denied=_MAY_NOT_READ,
            invalid_input="distance: Input should be less than or equal to 16",
        ),
    },
)
async def similar_assets(
    request: Request,
    asset_id: str,
    actor: ReadActor,
    distance: Annotated[
        int, Query(ge=0, le=16, description="Bits of 64 in which perceptual hashes may differ.")
    ] = 8,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """Assets of the same owner that look like this one, nearest first, of equally near ones the newest first.

    The same content comes before others with distance 0. Videos are compared by their poster, documents by their first
    page. Audio and flat pictures have nothing to compare: only the same content is found. `X-Total-Count` says how many
    there are in all, and ends at 10,000.
    """
    found, total = await _similar(request).neighbours(
        actor, asset_id, distance=distance, limit=limit, offset=offset
    )
    shown = await _shown(request, actor, (one.asset_id for one in found))
    body = ", ".join(
        f'{{"asset": {shown[one.asset_id]}, "distance": {one.distance}, "exact": {_json(one.exact)}}}'
        for one in found
        if one.asset_id in shown
    )
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    return Response(f"[{body}]", media_type="application/json", headers=headers)


@router.get(
    "/duplicates",
    response_model=Duplicates,
    summary="Find duplicates",
    responses=problem_responses(
        BadRequest,
        PermissionDenied,
        InvalidInput,
        bad_request="There are too many pictures to find all that are 8 bits apart. Ask for a smaller distance.",
        permission_denied=_MAY_NOT_READ,
        invalid_input="distance: Input should be less than or equal to 8",
    ),
)
async def duplicates(
    request: Request,
    actor: ReadActor,
    distance: Annotated[
        int, Query(ge=0, le=8, description="Bits of 64 in which perceptual hashes may differ.")
    ] = 5,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    all: Annotated[bool, Query(description="An admin's: everybody's assets.")] = False,  # noqa: A002 the wire's name
) -> Response:
    """Groups of one's own assets that are the same content or look alike.

    Whatever is at most `distance` bits apart is in one group, and so is what others connect. Of a large library, where
    finding them takes more than half a second, uploads of the last minute may be missing; what is deleted never shows.
    Groups are told up to 50,000 assets in all.
    """
    found, total = await _similar(request).duplicates(
        actor, distance=distance, limit=limit, offset=offset, everyones=all
    )
    told_ids = [group.asset_ids[:_MOST_SHOWN] for group in found]
    shown = await _shown(request, actor, (one for ids in told_ids for one in ids))
    groups = ", ".join(
        f'{{"assets": [{", ".join(shown[one] for one in ids if one in shown)}], "distance": {group.distance}, '
        f'"exact": {_json(group.exact)}}}'
        for group, ids in zip(found, told_ids, strict=True)
    )
    body = (
        f'{{"groups": [{groups}], "total": {total}, "limit": {limit}, "offset": {offset}, '
        f'"has_more": {_json(offset + limit < total)}}}'
    )
    return Response(body, media_type="application/json")


def _similar(request: Request) -> Similar:
    found: Similar = request.app.state.similar
    return found


async def _shown(request: Request, actor: Actor, asset_ids: Iterable[int]) -> dict[int, str]:
    database = library_of(request).database
    return await assets.queries.json_by_id(database, actor, asset_ids, shape=SHAPE, told=told(request))


def _json(value: bool) -> str:
    return "true" if value else "false"
