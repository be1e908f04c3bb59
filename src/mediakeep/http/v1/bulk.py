"""`/api/v1`: many image assets in one call. Each item counts by itself: a bad one does not undo the others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, Field, StrictBool, ValidationError
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.assets import many, project_lists
from mediakeep.assets.text import check_tags
from mediakeep.db import Database
from mediakeep.errors import InvalidInput, MediakeepError, NotFound
from mediakeep.http.auth import WriteActor, library_of
from mediakeep.http.base_url import told
from mediakeep.http.delivery import forget
from mediakeep.http.v1.assets import columns_of, refusals
from mediakeep.http.v1.schemas import MAX_BULK, SHAPE, AssetBody, ImageAsset, Tags, body_config

router = APIRouter(prefix="/api/v1", tags=["image assets"])

#: Items of one transaction; under SQLite's one writer everybody else waits for it.
_CHUNK = 50

_ID = "098a4f86-fbc5-4507-99c3-2723e6e79399"

#: What is to be created: its place in the list, and its columns.
_Item = tuple[int, dict[str, Any]]

_T = TypeVar("_T")
_Done = TypeVar("_Done")

_Ids = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(min_length=1, max_length=MAX_BULK, examples=[[_ID]]),
]


class BulkCreation(BaseModel):
    model_config = body_config({"assets": [{"name": "Asset 1", "description": "", "tags": ["tag1"]}]})

    assets: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=MAX_BULK,
        description="Assets as `POST /api/v1/projects/{project_id}/assets` takes them.",
        examples=[[{"name": "Asset 1", "tags": ["tag1"]}]],
    )


class FailedItem(BaseModel):
    index: int = Field(description="Its place in the list, from 0.", examples=[1])
    error: str = Field(examples=["name must not be empty."])


class FailedAsset(BaseModel):
    asset_id: str = Field(examples=[_ID])
    error: str = Field(examples=["Asset has active generations"])


class BulkCreated(BaseModel):
    created: list[ImageAsset]
    failed: list[FailedItem]


class BulkDeletion(BaseModel):
    model_config = body_config({"asset_ids": [_ID], "force": False})

    asset_ids: _Ids
    force: StrictBool = Field(False, description="Also those that have generations, with them.")


class BulkDeleted(BaseModel):
    deleted: list[str] = Field(examples=[[_ID]])
    failed: list[FailedAsset]


class BulkTags(BaseModel):
    model_config = body_config({"asset_ids": [_ID], "operation": "add", "tags": ["hero"]})

    asset_ids: _Ids
    operation: Literal["add", "remove", "replace"] = Field(examples=["add"])
    tags: Tags


class BulkTagged(BaseModel):
    updated: int = Field(examples=[2])
    failed: list[FailedAsset]


@router.post(
    "/projects/{project_id}/assets/bulk",
    response_model=BulkCreated,
    summary="Create many assets",
    responses=refusals(NotFound, InvalidInput, of="Project"),
)
async def create_assets(request: Request, project_id: str, body: BulkCreation, actor: WriteActor) -> Response:
    """Creates 1 to 1,000 assets. `failed` names those that could not be, by their place in the list."""
    library = library_of(request)
    await project_lists.find_own_project(library.database, actor, project_id)
    good, failed = await _checked(body.assets)

    async def create(chunk: Sequence[_Item], session: AsyncSession) -> list[str]:
        items = [columns for _, columns in chunk]
        visibility = library.settings.default_visibility
        ids = await many.create(session, actor, project_id, items, visibility=visibility)
        texts = await project_lists.show(session, ids, shape=SHAPE, told=told(request))
        return [texts[row_id] for row_id in ids]

    shown: list[str] = []
    async for chunk, done in _in_chunks(library.database, good, create):
        if isinstance(done, MediakeepError):  # the project was deleted meanwhile, or the database is away
            failed += [{"index": index, "error": done.detail} for index, _ in chunk]
        else:
            shown += done
    text = f'{{"created":[{",".join(shown)}],"failed":{to_json(failed).decode()}}}'
    return Response(text, media_type="application/json")


@router.delete(
    "/projects/{project_id}/assets/bulk",
    response_model=BulkDeleted,
    summary="Delete many assets",
    responses=refusals(NotFound, InvalidInput, of="Project"),
)
async def delete_assets(
    request: Request, project_id: str, body: Annotated[BulkDeletion, Body()], actor: WriteActor
) -> dict[str, Any]:
    """Deletes 1 to 1,000 assets of a project; those with generations only by `force`."""
    library = library_of(request)
    row_id = await project_lists.find_project(library.database, actor, project_id)

    async def delete(chunk: Sequence[str], session: AsyncSession) -> many.Refused:
        refused = await many.remove(session, actor, chunk, project_id=row_id, force=body.force)
        for asset_id in chunk:
            if asset_id not in refused:
                await forget(request, session, asset_id)
        return refused

    ids = list(dict.fromkeys(body.asset_ids))
    refused = await _refused(library.database, ids, delete)
    return {"deleted": [one for one in ids if one not in refused], "failed": _failed(refused)}


@router.put(
    "/assets/bulk/tags",
    response_model=BulkTagged,
    summary="Change the tags of many assets",
    responses=refusals(InvalidInput),
)
async def change_tags(request: Request, body: BulkTags, actor: WriteActor) -> dict[str, Any]:
    """Adds tags to 1 to 1,000 assets, removes them, or replaces all by these."""
    tags = check_tags(body.tags)

    async def change(chunk: Sequence[str], session: AsyncSession) -> many.Refused:
        return await many.change_tags(session, actor, chunk, body.operation, tags)

    ids = list(dict.fromkeys(body.asset_ids))
    refused = await _refused(library_of(request).database, ids, change)
    return {"updated": len(ids) - len(refused), "failed": _failed(refused)}


async def _checked(given: Sequence[dict[str, Any]]) -> tuple[list[_Item], list[dict[str, Any]]]:
    """The items that can be created, and why the others cannot."""
    good: list[_Item] = []
    failed: list[dict[str, Any]] = []
    for index, item in enumerate(given):
        await asyncio.sleep(0)  # a thousand long ones take seconds, in which others have their turn
        try:
            good.append((index, columns_of(AssetBody.model_validate(item))))
        except (ValidationError, MediakeepError) as error:
            failed.append({"index": index, "error": _sentence(error)})
    return good, failed


async def _refused(
    database: Database,
    ids: Sequence[str],
    work: Callable[[Sequence[str], AsyncSession], Awaitable[many.Refused]],
) -> many.Refused:
    refused: many.Refused = {}
    async for chunk, done in _in_chunks(database, ids, work):
        refused |= dict.fromkeys(chunk, done) if isinstance(done, MediakeepError) else done
    return refused


async def _in_chunks(
    database: Database, items: Sequence[_T], work: Callable[[Sequence[_T], AsyncSession], Awaitable[_Done]]
) -> AsyncIterator[tuple[Sequence[_T], _Done | MediakeepError]]:
    """What became of each chunk, in a transaction of its own; whatever fails one says nothing of the others."""
    for start in range(0, len(items), _CHUNK):
        chunk = items[start : start + _CHUNK]
        done: _Done | MediakeepError
        try:
            done = await database.transact(partial(work, chunk))
        except MediakeepError as error:
            done = error
        yield chunk, done


def _failed(refused: many.Refused) -> list[dict[str, str]]:
    return [{"asset_id": asset_id, "error": error.detail} for asset_id, error in refused.items()]


def _sentence(error: ValidationError | MediakeepError) -> str:
    if isinstance(error, MediakeepError):
        return error.detail
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
