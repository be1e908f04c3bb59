"""`/api/v1`: many image assets in one call. Each item counts by itself: a bad one does not undo the others."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import to_json

from mediakeep.assets import image_assets, project_lists
from mediakeep.assets.text import check_tags
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

_Ids = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(min_length=1, max_length=MAX_BULK, examples=[["098a4f86-fbc5-4507-99c3-2723e6e79399"]]),
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
    force: bool = Field(False, description="Also those that have generations, with them.")


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
    visibility = library.settings.default_visibility
    good: list[tuple[int, dict[str, Any]]] = []
    failed: list[dict[str, Any]] = []
    for index, item in enumerate(body.assets):
        try:
            good.append((index, columns_of(AssetBody.model_validate(item))))
        except (ValidationError, MediakeepError) as error:
            failed.append({"index": index, "error": _sentence(error)})
    shown: list[str] = []
    for start in range(0, len(good), _CHUNK):
        chunk = good[start : start + _CHUNK]
        try:
            async with library.database.write() as session:
                ids = [
                    await image_assets.create(session, actor, project_id, visibility=visibility, **columns)
                    for _, columns in chunk
                ]
                texts = await project_lists.show(session, ids, shape=SHAPE, told=told(request))
        except NotFound as error:  # the project was deleted meanwhile
            failed += [{"index": index, "error": error.detail} for index, _ in chunk]
        else:
            shown += [texts[row_id] for row_id in ids]
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
    row_id = await project_lists.find_own_project(library.database, actor, project_id)
    deleted: list[str] = []
    failed: list[dict[str, Any]] = []
    ids = sorted(set(body.asset_ids))  # in one order for everybody: each locks its assets
    for start in range(0, len(ids), _CHUNK):
        async with library.database.write() as session:
            for asset_id in ids[start : start + _CHUNK]:
                try:
                    await image_assets.remove(session, actor, asset_id, force=body.force, project_id=row_id)
                except MediakeepError as error:
                    failed.append({"asset_id": asset_id, "error": error.detail})
                else:
                    deleted.append(asset_id)
                    await forget(request, session, asset_id)
    return {"deleted": deleted, "failed": failed}


@router.put(
    "/assets/bulk/tags",
    response_model=BulkTagged,
    summary="Change the tags of many assets",
    responses=refusals(InvalidInput),
)
async def change_tags(request: Request, body: BulkTags, actor: WriteActor) -> dict[str, Any]:
    """Adds tags to 1 to 1,000 assets, removes them, or replaces all by these."""
    library = library_of(request)
    tags = check_tags(body.tags)
    updated = 0
    failed: list[dict[str, Any]] = []
    ids = sorted(set(body.asset_ids))  # in one order for everybody: each locks its assets
    for start in range(0, len(ids), _CHUNK):
        async with library.database.write() as session:
            for asset_id in ids[start : start + _CHUNK]:
                try:
                    await image_assets.change_tags(session, actor, asset_id, body.operation, tags)
                    updated += 1
                except MediakeepError as error:
                    failed.append({"asset_id": asset_id, "error": error.detail})
    return {"updated": updated, "failed": failed}


def _sentence(error: ValidationError | MediakeepError) -> str:
    if isinstance(error, MediakeepError):
        return error.detail
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
