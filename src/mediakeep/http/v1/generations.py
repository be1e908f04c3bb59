"""`/api/v1`: the generations of image assets."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import limits
from mediakeep.assets import generations
from mediakeep.assets.generations import ShownGeneration
from mediakeep.errors import (
    BadRequest,
    Conflict,
    InvalidInput,
    MediakeepError,
    NotFound,
    PermissionDenied,
    RateLimited,
    TooLarge,
    UndecodableMedia,
    UnsupportedMedia,
)
from mediakeep.files.ingest import Ingested
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import told
from mediakeep.http.delivery import forget
from mediakeep.http.doors import policy_of
from mediakeep.http.multipart import Form
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.upload import IDEMPOTENCY_KEY, RATE_LIMIT_HEADERS, OtherCounted, store_upload
from mediakeep.http.v1.schemas import (
    GenerationBody,
    GenerationChanges,
    GenerationList,
    GenerationStatus,
    ImageGeneration,
    UploadedImage,
    shown_generation,
)

router = APIRouter(prefix="/api/v1", tags=["generations"])

#: What a generation's image may be.
_FORMATS = ("png", "jpg", "webp")

_UPLOAD_BODY: dict[str, Any] = {
    "parameters": [IDEMPOTENCY_KEY],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    },
}


def _refusals(
    *errors: type[MediakeepError], of: str = "Generation", may_not: str = "write", **sentences: str
) -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        *errors,
        **{
            "permission_denied": f"This API key may not {may_not}.",
            "not_found": f"{of} not found",
            "invalid_input": "metadata has at most 65536 bytes as JSON.",
            "conflict": "A generation that is completed cannot become pending.",
            "bad_request": "image_path names no image of yours.",
            **sentences,
        },
    )


@router.get(
    "/assets/{asset_id}/generations",
    response_model=GenerationList,
    summary="List an asset's generations",
    responses=_refusals(NotFound, InvalidInput, of="Asset", may_not="read"),
)
async def list_generations(
    request: Request,
    asset_id: str,
    actor: ReadActor,
    session: ReadSession,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    status: Annotated[GenerationStatus | None, Query(description="Those in this state.")] = None,
    is_favorite: Annotated[bool | None, Query(description="Only the favourite, or the others.")] = None,
) -> dict[str, Any]:
    """An asset's generations, newest first."""
    found, total = await generations.list_page(
        session, actor, asset_id, limit=limit, offset=offset, status=status, is_favorite=is_favorite
    )
    shown = [_shown(request, one) for one in found]
    return {"generations": shown, "total": total, "limit": limit, "offset": offset}


@router.post(
    "/assets/{asset_id}/generations",
    status_code=201,
    response_model=ImageGeneration,
    summary="Create a generation",
    responses=_refusals(NotFound, InvalidInput, of="Asset"),
)
async def create_generation(
    request: Request, asset_id: str, body: GenerationBody, actor: WriteActor, session: WriteSession
) -> dict[str, Any]:
    """A version that a model is going to make, or is making."""
    created = await generations.create(
        session,
        actor,
        asset_id,
        parameters=body.parameters,
        status=body.status,
        metadata=body.metadata,
    )
    return _shown(request, created)


@router.get(
    "/generations/{generation_id}",
    response_model=ImageGeneration,
    summary="Read a generation",
    responses=_refusals(NotFound, may_not="read"),
)
async def read_generation(
    request: Request, generation_id: str, actor: ReadActor, session: ReadSession
) -> dict[str, Any]:
    """One version of an asset."""
    return _shown(request, await generations.get(session, actor, generation_id))


@router.put(
    "/generations/{generation_id}",
    response_model=ImageGeneration,
    summary="Change a generation",
    responses=_refusals(NotFound, InvalidInput, Conflict, BadRequest),
)
async def change_generation(
    request: Request,
    generation_id: str,
    changes: GenerationChanges,
    actor: WriteActor,
    session: WriteSession,
) -> dict[str, Any]:
    """Status, favourite, metadata, or the image that it made, by the storage key of a file of yours. What is absent stays
    as it is. From `pending` and `generating` it may become `generating`, `completed` (with an image), `failed` or
    `cancelled`, and nothing else after those.
    """
    given = {name: getattr(changes, name) for name in changes.model_fields_set}
    changed = await generations.change(session, actor, generation_id, given)
    await forget(request, session, changed.asset_public_id)
    return _shown(request, changed)


@router.delete(
    "/generations/{generation_id}",
    status_code=204,
    summary="Delete a generation",
    responses=_refusals(NotFound),
)
async def delete_generation(
    request: Request, generation_id: str, actor: WriteActor, session: WriteSession
) -> None:
    """Deletes a version of an asset, with its image."""
    asset_id = await generations.remove(session, actor, generation_id)
    await forget(request, session, asset_id)


@router.post(
    "/generations/{generation_id}/favorite",
    response_model=ImageGeneration,
    summary="Make a generation the favourite",
    responses=_refusals(NotFound),
)
async def make_favorite(
    request: Request, generation_id: str, actor: WriteActor, session: WriteSession
) -> dict[str, Any]:
    """The asset's favourite from now on; another one is none any more."""
    changed = await generations.set_favorite(session, actor, generation_id, favorite=True)
    await forget(request, session, changed.asset_public_id)
    return _shown(request, changed)


@router.delete(
    "/generations/{generation_id}/favorite",
    response_model=ImageGeneration,
    summary="Make a generation no favourite",
    responses=_refusals(NotFound),
)
async def unmake_favorite(
    request: Request, generation_id: str, actor: WriteActor, session: WriteSession
) -> dict[str, Any]:
    """The asset has no favourite any more, if it was this one."""
    changed = await generations.set_favorite(session, actor, generation_id, favorite=False)
    await forget(request, session, changed.asset_public_id)
    return _shown(request, changed)


@router.post(
    "/generations/{generation_id}/upload",
    response_model=UploadedImage,
    summary="Upload a generation's image",
    openapi_extra=_UPLOAD_BODY,
    responses={
        200: {"headers": RATE_LIMIT_HEADERS},
        **_refusals(
            NotFound,
            InvalidInput,
            Conflict,
            UnsupportedMedia,
            TooLarge,
            UndecodableMedia,
            RateLimited,
            conflict="A generation that has ended takes no image.",
            unsupported_media="Invalid file type: image/gif. Allowed: images (png, jpg, webp)",
            too_large="File too large. Maximum size is 50.0MB",
            undecodable_media="The image is truncated or damaged and cannot be decoded.",
            invalid_input="The form has no file part named 'file'.",
        ),
    },
)
async def upload_image(
    request: Request, generation_id: str, actor: WriteActor, window: OtherCounted
) -> Response:
    """PNG, JPEG or WebP. One that was pending or generating is completed by it."""
    library = library_of(request)
    if "idempotency-key" not in request.headers:  # what was carried out before is answered as it was then
        async with library.database.read() as session:  # before the first byte of the body is read
            await generations.check_takes_image(session, actor, generation_id)

    async def record(session: AsyncSession, content: Ingested, _form: Form) -> str:
        await generations.lock_for_image(session, actor, generation_id)
        file = await content.record(session, owner_id=actor.user_id)
        generation = await generations.attach(session, actor, generation_id, file)
        await forget(request, session, generation.asset_public_id)
        shown = _shown(request, generation)
        names = ("image_path", "image_url", "file_size", "dimensions", "format")
        return to_json({name: shown[name] for name in names}).decode()

    text = await store_upload(request, actor, policy_of(library.settings, _FORMATS), record)
    return Response(text, media_type="application/json", headers=limits.rate_limit_headers(window))


def _shown(request: Request, generation: ShownGeneration) -> dict[str, Any]:
    return shown_generation(generation, told(request), is_public=generation.is_public)
