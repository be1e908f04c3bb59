"""`/api/v2/assets`: list, read, change, delete, sign."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from mediakeep import assets
from mediakeep.assets.metadata import check_metadata
from mediakeep.assets.queries import Filters, Page
from mediakeep.assets.text import check_description, check_name, check_tags
from mediakeep.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from mediakeep.http import picture_query
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import base_url, told
from mediakeep.http.bodies import WITHOUT_NUL, Text
from mediakeep.http.delivery import forget
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.picture_query import PictureQuery
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import WriteSession
from mediakeep.http.signing import sign_query
from mediakeep.http.times import GivenTime, zulu
from mediakeep.http.v2.schemas import (
    SHAPE,
    Asset,
    AssetChanges,
    AssetType,
    Deleted,
    SignedUrls,
    SignRequest,
)

router = APIRouter(prefix="/api/v2/assets", tags=["assets"])

_MAY_NOT_READ = "This API key may not read."

_Q_MEANS = (
    "Words that the name, description or tags hold, in whatever case and with or without accents. From three letters "
    'on, the beginning of a word will do; "quoted words" follow one another.'
)

_COLLECTIONS = {
    "clientId": "client_id",
    "campaignId": "campaign_id",
    "personaId": "persona_id",
    "projectId": "project_id",
}


class _ListQuery(BaseModel):
    """The query of a list of assets; as one model it is read in a third of the time that as many parameters take."""

    clientId: str | None = Field(None, description="Assets of this client.")  # noqa: N815 the wire's names
    campaignId: str | None = Field(None, description="Assets of this campaign.")  # noqa: N815
    personaId: str | None = Field(None, description="Assets of this persona.")  # noqa: N815
    projectId: str | None = Field(None, description="Assets of this project.")  # noqa: N815
    asset_type: AssetType | None = Field(None, description="Assets of this type.")
    tag: Text | None = Field(None, description="Assets with this tag, in whatever case.")
    q: Annotated[str, Field(max_length=1000), WITHOUT_NUL] = Field("", description=_Q_MEANS)
    created_after: GivenTime | None = Field(None, description="ISO 8601; UTC where no zone is given.")
    created_before: GivenTime | None = Field(None, description="ISO 8601; UTC where no zone is given.")
    sort_by: Literal["created_at", "updated_at", "name", "size"] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"
    limit: int = Field(50, ge=1, le=100)
    offset: int = Field(0, ge=0, le=2**31)
    all: bool = Field(False, description="An admin's: everybody's assets.")


@router.get(
    "",
    response_model=list[Asset],
    summary="List assets",
    responses={
        200: {"headers": PAGE_HEADERS},
        **problem_responses(PermissionDenied, InvalidInput, permission_denied=_MAY_NOT_READ),
    },
)
async def list_assets(request: Request, actor: ReadActor, asked: Annotated[_ListQuery, Query()]) -> Response:
    """One's own assets, newest first. `X-Total-Count` says how many there are in all, `Link` where the other pages are.

    Where several filters meet, or words, they are counted up to 10,000: a larger total then says that there are more.
    """
    filters = Filters(
        client_id=asked.clientId,
        campaign_id=asked.campaignId,
        persona_id=asked.personaId,
        project_id=asked.projectId,
        types=(asked.asset_type,) if asked.asset_type else (),
        tag=None if asked.tag is None else asked.tag.strip(),
        q=asked.q if asked.q.strip() else None,
        created_after=asked.created_after,
        created_before=asked.created_before,
    )
    page = Page(
        limit=asked.limit,
        offset=asked.offset,
        sort_by=asked.sort_by,
        descending=asked.sort_order == "desc",
    )
    base = base_url(request)
    shown, total = await assets.lists.list_json(
        library_of(request).database,
        actor,
        filters,
        page,
        shape=SHAPE,
        told=told(request),
        everyones=asked.all,
    )
    return _json(shown, page_headers(request, base, total=total, limit=asked.limit, offset=asked.offset))


@router.get(
    "/{asset_id}/info",
    response_model=Asset,
    summary="Read an asset",
    responses=problem_responses(
        PermissionDenied, NotFound, not_found="Asset not found", permission_denied=_MAY_NOT_READ
    ),
)
async def read_asset(request: Request, asset_id: str, actor: ReadActor) -> Response:
    """What is known of an asset, for its owner."""
    database = library_of(request).database
    return _json(await assets.queries.get_json(database, actor, asset_id, shape=SHAPE, told=told(request)))


@router.patch(
    "/{asset_id}",
    response_model=Asset,
    summary="Change an asset",
    responses=problem_responses(
        PermissionDenied,
        NotFound,
        InvalidInput,
        Conflict,
        not_found="Asset not found",
        invalid_input="name must not be empty.",
        conflict="An asset with generations needs a project: move it to another one, or delete them first.",
    ),
)
async def change_asset(
    request: Request, asset_id: str, changes: AssetChanges, actor: WriteActor, session: WriteSession
) -> Response:
    """What is absent stays as it is, null clears, `metadata` is replaced whole."""
    await assets.service.require_file(session, asset_id)
    asset = await assets.service.update(session, actor, asset_id, _columns(changes))
    await forget(request, session, asset_id)
    return _json(await assets.queries.show(session, actor, asset.id, shape=SHAPE, told=told(request)))


@router.delete(
    "/{asset_id}",
    response_model=Deleted,
    summary="Delete an asset",
    responses=problem_responses(
        PermissionDenied,
        NotFound,
        not_found="Asset not found",
        permission_denied="You don't have permission to delete this asset",
    ),
)
async def delete_asset(
    request: Request, asset_id: str, actor: WriteActor, session: WriteSession
) -> dict[str, Any]:
    """Deletes the asset, its file and all that was made of it. Content that another asset shares stays."""
    await assets.service.require_file(session, asset_id)
    await assets.service.remove(session, actor, asset_id)
    await forget(request, session, asset_id)
    return {"success": True, "message": f"Asset {asset_id} deleted successfully"}


@router.post(
    "/{asset_id}/sign",
    response_model=SignedUrls,
    summary="Sign an asset's addresses",
    responses=problem_responses(
        PermissionDenied,
        NotFound,
        InvalidInput,
        not_found="Asset not found",
        invalid_input="expires_in is at most 604800 seconds.",
    ),
)
async def sign_asset(
    request: Request, asset_id: str, wanted: SignRequest, actor: WriteActor
) -> dict[str, Any]:
    """Addresses that let anybody read a private asset for a while; `parameters` make `url` that of a picture of it."""
    given = _signed_parameters(request, wanted)
    longest = library_of(request).settings.max_sign_seconds
    if wanted.expires_in > longest:
        raise InvalidInput(f"expires_in is at most {longest} seconds.", field="expires_in")
    served = await assets.served.find_served(library_of(request).database, asset_id)
    if served is None or not (served.owner_id == actor.user_id or actor.is_admin):
        raise NotFound("Asset not found")
    expires_at = int(time.time()) + wanted.expires_in

    def signed(suffix: str, parameters: Sequence[tuple[str, str]] = ()) -> str:
        path = f"/api/v2/assets/{asset_id}{suffix}"
        query = sign_query(request.app.state.secret, path, expires_at=expires_at, parameters=parameters)
        return f"{base_url(request)}{path}?{query}"

    return {
        "url": signed("", given),
        "thumbnailUrl": signed("/thumbnail") if served.has_thumbnail else None,
        "waveformUrl": signed("/waveform") if served.type == "audio" else None,
        "expiresAt": zulu(datetime.fromtimestamp(expires_at, UTC)),
    }


def _columns(changes: AssetChanges) -> dict[str, Any]:
    """The changes that were sent, by the asset's columns and checked. Raises `InvalidInput`."""
    columns: dict[str, Any] = {}
    for field in changes.model_fields_set:
        value = getattr(changes, field)
        match field:
            case "name":
                columns["name"] = check_name(value)
            case "description":
                columns["description"] = check_description(value)
            case "tags":
                columns["tags"] = check_tags(value or [])
            case "metadata":
                columns["metadata_"] = check_metadata(value or {})
            case "visibility":
                columns["visibility"] = value
            case "focalPoint":
                columns["focal_x"] = value and value.x
                columns["focal_y"] = value and value.y
            case _:
                columns[_COLLECTIONS[field]] = None if value is None else str(value)
    return columns


def _signed_parameters(request: Request, wanted: SignRequest) -> list[tuple[str, str]]:
    """The parameters as they stand in an address, checked. Raises `InvalidInput` and `RequestValidationError`."""
    unknown = wanted.parameters.keys() - picture_query.NAMES - {"download"}
    if unknown:
        raise InvalidInput(f"{min(unknown)} is no parameter of a picture, nor download.", field="parameters")
    given = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in wanted.parameters.items()
    }
    query = picture_query.parse(given)
    if query.model_fields_set:  # else it is the file itself
        _check_picture(request, query)
    return list(given.items())


def _check_picture(request: Request, query: PictureQuery) -> None:
    """Raises `InvalidInput` for a picture that delivery refuses of every asset, signed or not."""
    try:
        picture_query.with_preset(query, request.app.state.presets)
        picture_query.check_presets_only(query, library_of(request).settings)
    except (NotFound, PermissionDenied) as error:
        raise InvalidInput(error.detail, field="parameters") from error


def _json(text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(text, media_type="application/json", headers=headers)
