"""`/api/v1`: the image assets of projects."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from pydantic_core import to_json

from mediakeep.assets import generations, image_assets, project_lists, statistics
from mediakeep.assets.metadata import check_metadata
from mediakeep.assets.project_lists import ProjectFilters
from mediakeep.assets.queries import Page
from mediakeep.assets.text import MAX_TAG_LENGTH, MAX_TAGS, check_description, check_name, check_tags
from mediakeep.errors import Conflict, InvalidInput, MediakeepError, NotFound, PermissionDenied
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import told
from mediakeep.http.bodies import WITHOUT_NUL
from mediakeep.http.delivery import forget
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.times import GivenTime
from mediakeep.http.v1.schemas import (
    SHAPE,
    AssetBody,
    AssetChanges,
    AssetList,
    AssetStats,
    ImageAsset,
    ImageAssetWithGenerations,
    shown_generation,
)

router = APIRouter(prefix="/api/v1", tags=["image assets"])


def refusals(
    *errors: type[MediakeepError],
    of: str = "Asset",
    may_not: str = "write",
    conflict: str = "Asset has active generations",
) -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        *errors,
        permission_denied=f"This API key may not {may_not}.",
        not_found=f"{of} not found",
        invalid_input="name must not be empty.",
        conflict=conflict,
    )


#: Text that somebody types into a field of a search.
WORDS = Annotated[str, Field(max_length=2000), WITHOUT_NUL]

#: Tags that somebody asks for, as many as an asset can have.
TAGS = Annotated[
    str,
    Query(
        max_length=MAX_TAGS * (MAX_TAG_LENGTH + 1),
        description=f"Tags separated by commas, at most {MAX_TAGS}.",
    ),
    WITHOUT_NUL,
]


def split_tags(given: str) -> tuple[str, ...]:
    """The tags of a list with commas, each once. Raises `InvalidInput` for more than an asset can have."""
    tags = tuple(dict.fromkeys(tag.strip() for tag in given.split(",") if tag.strip()))
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"At most {MAX_TAGS} tags can be asked for.", field="tags")
    return tags


@router.get(
    "/projects/{project_id}/assets",
    response_model=AssetList,
    summary="List a project's assets",
    responses=refusals(NotFound, InvalidInput, of="Project", may_not="read"),
)
async def list_assets(
    request: Request,
    project_id: str,
    actor: ReadActor,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    search: Annotated[WORDS, Query(description="Words, or their beginnings, of name and description.")] = "",
    tags: TAGS = "",
    tags_match: Annotated[
        Literal["all", "any"], Query(description="Whether all of the tags are asked for, or one of them.")
    ] = "all",
    has_generations: Annotated[bool | None, Query(description="Only those with, or without.")] = None,
    created_after: Annotated[GivenTime | None, Query(description="ISO 8601; UTC without a zone.")] = None,
    created_before: Annotated[GivenTime | None, Query(description="ISO 8601; UTC without a zone.")] = None,
    sort_by: Annotated[
        Literal["created_at", "updated_at", "name", "generation_count"], Query()
    ] = "created_at",
    sort_order: Annotated[Literal["asc", "desc"], Query()] = "desc",
) -> Response:
    """A project's image assets, newest first unless asked otherwise."""
    database = library_of(request).database
    row_id = await project_lists.find_project(database, actor, project_id)
    filters = ProjectFilters(
        search=search,
        tags=split_tags(tags),
        any_tag=tags_match == "any",
        has_generations=has_generations,
        created_after=created_after,
        created_before=created_before,
    )
    page = Page(limit=limit, offset=offset, descending=sort_order == "desc")
    shown, total = await project_lists.list_json(
        database, row_id, filters, page, sort_by, shape=SHAPE, told=told(request)
    )
    more = "true" if offset + limit < total else "false"
    body = f'{{"assets":{shown},"total":{total},"limit":{limit},"offset":{offset},"has_more":{more}}}'
    return _json(body)


@router.post(
    "/projects/{project_id}/assets",
    status_code=201,
    response_model=ImageAsset,
    summary="Create an asset",
    responses=refusals(NotFound, InvalidInput, of="Project"),
)
async def create_asset(
    request: Request, project_id: str, body: AssetBody, actor: WriteActor, session: WriteSession
) -> Response:
    """An image asset without image: its generations bring those."""
    visibility = library_of(request).settings.default_visibility
    row_id = await image_assets.create(session, actor, project_id, visibility=visibility, **columns_of(body))
    return _json((await project_lists.show(session, [row_id], shape=SHAPE, told=told(request)))[row_id], 201)


@router.get(
    "/assets/{asset_id}",
    response_model=ImageAssetWithGenerations,
    response_model_exclude_unset=True,
    summary="Read an asset",
    responses=refusals(NotFound, InvalidInput, may_not="read"),
)
async def read_asset(
    request: Request,
    asset_id: str,
    actor: ReadActor,
    include_generations: Annotated[bool, Query(description="With all its generations.")] = True,
) -> Response:
    """An asset, with its generations, newest first, unless asked otherwise."""
    library, addresses = library_of(request), told(request)
    row_id, text, is_public = await project_lists.get_json(
        library.database, actor, asset_id, shape=SHAPE, told=addresses
    )
    if not include_generations:
        return _json(text)
    chunks = generations.iter_of(library.database, row_id)
    return await _with_generations(
        text,
        (
            [to_json(shown_generation(one, addresses, is_public=is_public)).decode() for one in chunk]
            async for chunk in chunks
        ),
    )


@router.put(
    "/assets/{asset_id}",
    response_model=ImageAsset,
    summary="Change an asset",
    responses=refusals(NotFound, InvalidInput),
)
async def change_asset(
    request: Request, asset_id: str, changes: AssetChanges, actor: WriteActor, session: WriteSession
) -> Response:
    """What is absent stays as it is, null clears, `metadata` is replaced whole."""
    row_id = await image_assets.change(session, actor, asset_id, columns_of(changes))
    await forget(request, session, asset_id)
    return _json((await project_lists.show(session, [row_id], shape=SHAPE, told=told(request)))[row_id])


@router.delete(
    "/assets/{asset_id}",
    status_code=204,
    summary="Delete an asset",
    responses=refusals(NotFound, Conflict, InvalidInput),
)
async def delete_asset(
    request: Request,
    asset_id: str,
    actor: WriteActor,
    session: WriteSession,
    force: Annotated[bool, Query(description="Also one that has generations, with them.")] = False,
) -> None:
    """Deletes the asset; with its generations only by `force`."""
    await image_assets.remove(session, actor, asset_id, force=force)
    await forget(request, session, asset_id)


@router.get(
    "/assets/{asset_id}/stats",
    response_model=AssetStats,
    summary="Statistics of an asset",
    responses=refusals(NotFound, may_not="read"),
)
async def read_asset_stats(
    request: Request, asset_id: str, actor: ReadActor, session: ReadSession
) -> dict[str, Any]:
    """What has become of an asset's generations."""
    row_id, _, _ = await project_lists.get_json(
        library_of(request).database, actor, asset_id, shape=SHAPE, told=told(request)
    )
    return await statistics.asset_statistics(session, row_id)


def columns_of(body: AssetBody | AssetChanges) -> dict[str, Any]:
    """What was sent, by the asset's columns and checked; of a new asset everything. Raises `InvalidInput`."""
    is_new = isinstance(body, AssetBody)
    columns: dict[str, Any] = {}
    if is_new or "name" in body.model_fields_set:
        columns["name"] = check_name(body.name)
    if is_new or "description" in body.model_fields_set:
        columns["description"] = check_description(body.description)
    if is_new or "tags" in body.model_fields_set:
        columns["tags"] = check_tags(body.tags or [])
    if is_new or "metadata" in body.model_fields_set:
        columns["metadata_"] = check_metadata(body.metadata or {})
    return columns


async def _with_generations(asset: str, chunks: AsyncIterator[Sequence[str]]) -> Response:
    """An asset's JSON with its generations; sent as they are read where there are many, so that memory stays flat."""
    first = await anext(chunks)
    begin = f'{asset[:-1]},"generations":[{",".join(first)}'
    if len(first) < generations.CHUNK:
        return _json(f"{begin}]}}")

    async def pieces() -> AsyncIterator[str]:
        yield begin
        async for chunk in chunks:
            if chunk:
                yield f",{','.join(chunk)}"
        yield "]}"

    return StreamingResponse(pieces(), media_type="application/json")


def _json(text: str, status_code: int = 200) -> Response:
    return Response(text, status_code=status_code, media_type="application/json")
