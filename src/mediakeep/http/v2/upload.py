"""`POST /api/v2/upload-asset`, and the two doors that it replaced."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import from_json

from mediakeep.accounts import limits
from mediakeep.errors import (
    InvalidInput,
    NotFound,
    PermissionDenied,
    RateLimited,
    TooLarge,
    UndecodableMedia,
    UnsupportedMedia,
)
from mediakeep.http.auth import WriteActor, library_of
from mediakeep.http.doors import policy_of
from mediakeep.http.problems import problem_responses
from mediakeep.http.upload import RATE_LIMIT_HEADERS, UPLOAD_BODY, Counted, take_upload
from mediakeep.http.v2.schemas import SHAPE, Asset

router = APIRouter(tags=["assets"])

_SUCCESSOR = "/api/v2/upload-asset"

#: When 002 replaced the two older doors, as RFC 9745 writes it: 2025-11-16.
_DEPRECATED_SINCE = "@1763251200"

_LOCATION: dict[str, Any] = {
    "description": "Where the file is.",
    "required": True,
    "schema": {"type": "string", "format": "uri"},
    "example": "http://localhost:8000/api/v2/assets/098a4f86-fbc5-4507-99c3-2723e6e79399",
}

_DOOR: dict[str, Any] = {
    "status_code": 201,
    "response_model": Asset,
    "openapi_extra": UPLOAD_BODY,
    "responses": {
        201: {"headers": {"Location": _LOCATION, **RATE_LIMIT_HEADERS}},
        **problem_responses(
            UnsupportedMedia,
            TooLarge,
            UndecodableMedia,
            PermissionDenied,
            NotFound,
            InvalidInput,
            RateLimited,
            unsupported_media="Invalid file type: image/bmp. Allowed: images (jpg, png, gif, webp), videos (mp4, mov), "
            "audio (mp3, wav), documents (pdf)",
            too_large="File too large. Maximum size is 50.0MB",
            undecodable_media="The image is truncated or damaged and cannot be decoded.",
            not_found="Client not found",
            invalid_input="The form has no file part named 'file'.",
        ),
    },
}


@router.post(_SUCCESSOR, summary="Upload a file", **_DOOR)
async def upload_asset(request: Request, actor: WriteActor, window: Counted) -> Response:
    """Stores the file and makes an asset of it. What it is comes from its bytes; its name and its declared type only
    have to agree. Answers once the file is safe.
    """
    return await _take(request, actor, window, belonging={})


@router.post("/api/clients/{client_id}/assets", summary="Upload a file to a client", deprecated=True, **_DOOR)
async def upload_client_asset(
    request: Request, client_id: str, actor: WriteActor, window: Counted
) -> Response:
    """Answers like `upload-asset`, which replaces it, with the client from the address."""
    return _deprecated(await _take(request, actor, window, belonging={"client_id": client_id}))


@router.post(
    "/api/campaigns/{campaign_id}/assets", summary="Upload a file to a campaign", deprecated=True, **_DOOR
)
async def upload_campaign_asset(
    request: Request, campaign_id: str, actor: WriteActor, window: Counted
) -> Response:
    """Answers like `upload-asset`, which replaces it, with the campaign from the address."""
    return _deprecated(await _take(request, actor, window, belonging={"campaign_id": campaign_id}))


async def _take(
    request: Request, actor: WriteActor, window: limits.Window, *, belonging: dict[str, str]
) -> Response:
    settings = library_of(request).settings
    policy = policy_of(settings, settings.allowed_types)
    shown = await take_upload(request, actor, policy, SHAPE, belonging=belonging)
    headers = {"Location": from_json(shown)["url"], **limits.rate_limit_headers(window)}
    return Response(shown, status_code=201, media_type="application/json", headers=headers)


def _deprecated(answer: Response) -> Response:
    """Mark the answer of a door that another replaces (RFC 9745, RFC 8594)."""
    answer.headers["Deprecation"] = _DEPRECATED_SINCE
    answer.headers["Link"] = f'<{_SUCCESSOR}>; rel="successor-version"'
    return answer
