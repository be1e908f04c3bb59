"""`/media`: the images and videos of personas."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from pydantic_core import from_json
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mediakeep import assets, collections
from mediakeep.accounts import limits
from mediakeep.accounts.actor import Actor
from mediakeep.assets import persona_media
from mediakeep.assets.persona_media import Found, MediaFilters
from mediakeep.assets.service import NewAsset
from mediakeep.assets.text import check_description, check_name, clean_file_name
from mediakeep.collections.service import Belonging
from mediakeep.errors import (
    ContentTooLarge,
    InvalidInput,
    MediakeepError,
    NotFound,
    PermissionDenied,
    RateLimited,
    UndecodableMedia,
    UnsupportedMedia,
)
from mediakeep.files.ingest import Ingested
from mediakeep.http.auth import ReadActor, WriteActor, authenticate, library_of
from mediakeep.http.base_url import base_url, told
from mediakeep.http.delivery import forget, send_download
from mediakeep.http.multipart import Form, receive_fields
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.persona_media.door import policy_of
from mediakeep.http.persona_media.personas import naming
from mediakeep.http.persona_media.schemas import (
    SHAPE,
    Id,
    MediaChanges,
    MediaFile,
    MediaForm,
    MediaStats,
    MediaType,
    parse_id,
)
from mediakeep.http.problems import problem_responses
from mediakeep.http.upload import IDEMPOTENCY_KEY, RATE_LIMIT_HEADERS, OtherCounted, store_upload
from mediakeep.settings import MIB

router = APIRouter(prefix="/media", tags=["media"])

_MAY_NOT_READ = "This API key may not read."

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

_UPLOAD_BODY: dict[str, Any] = {
    "parameters": [IDEMPOTENCY_KEY],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "description": MediaForm.model_json_schema()["properties"]["description"],
                    },
                }
            }
        },
    },
}

_CHANGES_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            _FORMS[0]: {"schema": MediaForm.model_json_schema()},
            "application/json": {"schema": MediaChanges.model_json_schema()},
        },
    }
}

_LOCATION: dict[str, Any] = {
    "description": "What is known of it.",
    "required": True,
    "schema": {"type": "string", "format": "uri"},
    "example": "http://localhost:8000/media/files/1",
}

_All = Annotated[bool, Query(description="An admin's: everybody's.")]


def _refusals(
    *errors: type[MediakeepError], may_not: str = "write", **sentences: str
) -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        InvalidInput,
        *errors,
        **{
            "permission_denied": f"This API key may not {may_not}.",
            "not_found": "Media file 1 not found",
            "invalid_input": "media_id: Input should be a valid integer",
            **sentences,
        },
    )


def _missing(media_id: int) -> NotFound:
    return NotFound(f"Media file {media_id} not found")


@router.post(
    "/upload/{persona_id}",
    status_code=201,
    response_model=MediaFile,
    summary="Upload a media file",
    openapi_extra=_UPLOAD_BODY,
    responses={
        201: {"headers": {"Location": _LOCATION, **RATE_LIMIT_HEADERS}},
        **_refusals(
            UnsupportedMedia,
            UndecodableMedia,
            NotFound,
            ContentTooLarge,
            RateLimited,
            unsupported_media="Invalid image type. Allowed types: image/jpeg, image/png, image/gif, image/webp, "
            "image/bmp, image/tiff",
            too_large="Image file too large. Maximum size is 10MB",
            undecodable_media="The image is truncated or damaged and cannot be decoded.",
            not_found="Persona 1 not found",
            invalid_input="The form has no file part named 'file'.",
        ),
    },
)
async def upload_media(request: Request, persona_id: Id, actor: WriteActor, window: OtherCounted) -> Response:
    """An image or a video for a persona. What it is comes from its bytes; its name and its declared type only have to
    agree. It is private. Answers once the file is safe.
    """
    library = library_of(request)

    async def record(session: AsyncSession, content: Ingested, form: Form) -> str:
        file_name = clean_file_name(form.file_name)
        new = NewAsset(
            type=content.family,
            name=check_name(file_name),
            file_name=file_name,
            visibility="private",
            description=_description_of(form),
            metadata=content.told,
            belonging=Belonging(persona_id=str(persona_id)),
        )
        file = await content.record(session, owner_id=actor.user_id)
        asset_id = await assets.service.create(session, actor, new, file=file)
        return await assets.queries.show(session, actor, asset_id, shape=SHAPE, told=told(request))

    with naming(persona_id):
        if "idempotency-key" not in request.headers:  # what was carried out before is answered as it was then
            await _check_persona(request, actor, persona_id)
        shown = await store_upload(request, actor, policy_of(library.settings), record, check=_description_of)
    location = f"{base_url(request)}/media/files/{from_json(shown)['id']}"
    headers = {"Location": location, **limits.rate_limit_headers(window)}
    return Response(shown, status_code=201, media_type="application/json", headers=headers)


def _description_of(form: Form) -> str:
    return check_description(form.one("description"))


async def _check_persona(request: Request, actor: Actor, persona_id: int) -> None:
    """Raise `NotFound` before the first byte of the body is read."""
    async with library_of(request).database.read() as session:
        found = await collections.service.find_row_id(session, actor.user_id, "persona_id", str(persona_id))
    if found is None:
        raise NotFound("Persona not found")


@router.get(
    "/files",
    response_model=list[MediaFile],
    summary="List media files",
    responses={
        200: {"headers": PAGE_HEADERS},
        **_refusals(may_not="read", invalid_input="limit: Input should be less than or equal to 1000"),
    },
)
async def list_media(
    request: Request,
    actor: ReadActor,
    persona_id: Annotated[Id | None, Query(description="Those of this persona.")] = None,
    media_type: Annotated[MediaType | None, Query(description="Images, or videos.")] = None,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="All of them where it is absent.")] = None,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    all: _All = False,  # noqa: A002 the wire's name
) -> Response:
    """One's own images and videos that belong to a persona, newest first, through whatever door they came."""
    database = library_of(request).database
    filters = MediaFilters(persona_id=persona_id, media_type=media_type)
    total = await persona_media.count(database, actor, filters, everyones=all)
    if limit is None:
        chunks = persona_media.iter_json(database, actor, filters, shape=SHAPE, offset=offset, everyones=all)
        return await _whole(chunks, headers=_headers_of_whole(request, total))
    shown = await persona_media.list_json(
        database, actor, filters, shape=SHAPE, limit=limit, offset=offset, everyones=all
    )
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    return Response(f"[{','.join(shown)}]", media_type="application/json", headers=headers)


@router.get(
    "/files/{media_id}",
    response_model=MediaFile,
    summary="Read a media file",
    responses=_refusals(NotFound, may_not="read"),
)
async def read_media(request: Request, media_id: Id, actor: ReadActor) -> Response:
    """What is known of a media file, for its owner."""
    shown = await persona_media.find_json(library_of(request).database, actor, media_id, shape=SHAPE)
    if shown is None:
        raise _missing(media_id)
    return Response(shown, media_type="application/json")


@router.put(
    "/files/{media_id}",
    response_model=MediaFile,
    summary="Change a media file",
    openapi_extra=_CHANGES_BODY,
    responses=_refusals(NotFound, invalid_input="description has at most 10000 characters."),
)
async def change_media(request: Request, media_id: Id, actor: WriteActor) -> Response:
    """Its description, from a form of either encoding or as JSON. What is absent stays as it is; in JSON, null clears."""
    changes = await _read_changes(request)
    database = library_of(request).database
    columns: dict[str, Any] = {}
    if "description" in changes.model_fields_set:
        columns["description"] = check_description(changes.description)
    found = await persona_media.find(database, actor, media_id)
    if found is None:
        raise _missing(media_id)
    try:
        async with database.write() as session:
            asset = await assets.service.update(session, actor, found.public_id, columns)
            await forget(request, session, found.public_id)
            shown = await assets.queries.show(session, actor, asset.id, shape=SHAPE, told=told(request))
    except NotFound as error:
        raise _missing(media_id) from error
    return Response(shown, media_type="application/json")


@router.delete(
    "/files/{media_id}",
    status_code=204,
    summary="Delete a media file",
    responses=_refusals(NotFound),
)
async def delete_media(request: Request, media_id: Id, actor: WriteActor) -> None:
    """Deletes it with its file and all that was made of it. Content that another asset shares stays."""
    database = library_of(request).database
    found = await persona_media.find(database, actor, media_id)
    if found is None:
        raise _missing(media_id)
    try:
        async with database.write() as session:
            await assets.service.remove(session, actor, found.public_id)
            await forget(request, session, found.public_id)
    except NotFound as error:
        raise _missing(media_id) from error


@router.get(
    "/stats",
    response_model=MediaStats,
    summary="Count media files",
    responses=_refusals(may_not="read", invalid_input="all: Input should be a valid boolean"),
)
async def read_stats(request: Request, actor: ReadActor, all: _All = False) -> dict[str, Any]:  # noqa: A002 the wire's name
    """How much of one's own there is, in all and for each persona."""
    found = await persona_media.totals(library_of(request).database, actor, everyones=all)
    return {
        "total_files": found.files,
        "total_images": found.images,
        "total_videos": found.videos,
        "total_size_bytes": found.size,
        "total_size_mb": round(found.size / MIB, 2),
        "files_per_persona": {str(one): files for one, files in sorted(found.per_persona.items())},
    }


class _Download:
    """GET and HEAD of the bytes, for the owner or an admin: plain ASGI, as all that answers with files."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        actor = await authenticate(request)
        actor.require("read")
        media_id = _parsed(scope["path_params"]["media_id"])
        found: Found | None = await persona_media.find(library_of(request).database, actor, media_id)
        served = found and await request.app.state.delivery.served.find(found.public_id)
        if not found or not served:
            raise _missing(media_id)
        await send_download(scope, receive, send, served[0], name=found.file_name)


#: What `Delivery` answers.
DELIVERED = [Route("/media/download/{media_id}", _Download(), methods=["GET", "HEAD"])]


def _parsed(given: str) -> int:
    try:
        return int(str(parse_id(given)))
    except ValueError as error:
        raise InvalidInput(f"media_id: {error}", field="media_id") from error


async def _read_changes(request: Request) -> MediaChanges | MediaForm:
    """The body, as a form or as JSON. Raises `RequestValidationError` and `InvalidInput`."""
    type_ = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if type_ == "application/json":
            return MediaChanges.model_validate_json(await request.body())
        if type_ in _FORMS or not await request.body():
            return MediaForm.model_validate(await receive_fields(request))
        raise RequestValidationError(
            [{"loc": ("header", "content-type"), "msg": f"must be {_FORMS[0]} or application/json"}]
        )
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**one, "loc": ("body", *one["loc"])}
                for one in error.errors(include_input=False, include_url=False)
            ]
        ) from error


def _headers_of_whole(request: Request, total: int) -> dict[str, str]:
    """As of a page, of which there is only one."""
    query = request.url.remove_query_params("offset").query
    address = f"{base_url(request)}{request.url.path}" + (f"?{query}" if query else "")
    return {"X-Total-Count": str(total), "Link": f'<{address}>; rel="first"'}


async def _whole(chunks: AsyncIterator[Sequence[str]], *, headers: dict[str, str]) -> Response:
    """A JSON array of all; sent as it is read where there are many, so that memory stays flat."""
    first = await anext(chunks)
    if len(first) < persona_media.CHUNK:
        return Response(f"[{','.join(first)}]", media_type="application/json", headers=headers)

    async def pieces() -> AsyncIterator[str]:
        yield f"[{','.join(first)}"
        async for chunk in chunks:
            if chunk:
                yield f",{','.join(chunk)}"
        yield "]"

    return StreamingResponse(pieces(), media_type="application/json", headers=headers)
