"""`/legacy/api/v2`: upload, list and delete in the older shape."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from mediakeep import assets
from mediakeep.accounts import limits
from mediakeep.assets.queries import Filters, Page
from mediakeep.errors import (
    InvalidInput,
    NotFound,
    PermissionDenied,
    RateLimited,
    TooLarge,
    UndecodableMedia,
    UnsupportedMedia,
)
from mediakeep.files.policy import Policy
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import base_url, told
from mediakeep.http.delivery import forget
from mediakeep.http.doors import describe_formats, policy_of
from mediakeep.http.legacy.schemas import LISTED, UPLOADED, AssetList, Deleted, Uploaded
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import WriteSession
from mediakeep.http.upload import RATE_LIMIT_HEADERS, UPLOAD_BODY, Counted, take_upload
from mediakeep.settings import Settings

router = APIRouter(prefix="/legacy/api/v2", tags=["legacy"])

#: The formats that the older dialect knew.
_FORMATS = ("jpg", "png", "gif", "webp", "mp4", "mov")


#: What its clients can tell apart.
_KNOWN = Filters(types=("image", "video"))


def _policy(settings: Settings) -> Policy:
    return policy_of(settings, tuple(name for name in _FORMATS if name in settings.allowed_types))


@router.post(
    "/upload-asset",
    response_model=Uploaded,
    openapi_extra=UPLOAD_BODY,
    responses={
        200: {"headers": RATE_LIMIT_HEADERS},
        **problem_responses(
            UnsupportedMedia,
            TooLarge,
            UndecodableMedia,
            PermissionDenied,
            NotFound,
            InvalidInput,
            RateLimited,
            unsupported_media=f"Invalid file type: audio/mpeg. Allowed: {describe_formats(_FORMATS)}",
            too_large="File too large. Maximum size is 50.0MB",
            undecodable_media="The image is truncated or damaged and cannot be decoded.",
            not_found="Client not found",
            invalid_input="The form has no file part named 'file'.",
        ),
    },
)
async def upload_asset(request: Request, actor: WriteActor, window: Counted) -> Response:
    """Upload an image or a video."""
    shown = await take_upload(request, actor, _policy(library_of(request).settings), UPLOADED)
    return Response(shown, media_type="application/json", headers=limits.rate_limit_headers(window))


@router.get(
    "/assets",
    response_model=AssetList,
    responses={
        200: {"headers": PAGE_HEADERS},
        **problem_responses(PermissionDenied, InvalidInput, permission_denied="This API key may not read."),
    },
)
async def list_assets(
    request: Request,
    actor: ReadActor,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """One's own images and videos, newest first."""
    page, base = Page(limit=limit, offset=offset), base_url(request)
    shown, total = await assets.lists.list_json(
        library_of(request).database, actor, _KNOWN, page, shape=LISTED, told=told(request)
    )
    body = f'{{"success": true, "assets": {shown}, "limit": {limit}, "offset": {offset}}}'
    headers = page_headers(request, base, total=total, limit=limit, offset=offset)
    return Response(body, media_type="application/json", headers=headers)


@router.delete(
    "/assets/{asset_id}",
    response_model=Deleted,
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
    """Delete an asset with its file."""
    await assets.service.require_file(session, asset_id)
    await assets.service.remove(session, actor, asset_id)
    await forget(request, session, asset_id)
    return {"success": True, "message": f"Asset {asset_id} deleted successfully"}
