"""The bytes of an asset: the file itself, its thumbnail and its waveform, without login while it is public."""

from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mediakeep.assets.queries import Served, find_served
from mediakeep.assets.text import clean_file_name
from mediakeep.errors import InvalidInput, MediakeepError, NotFound, UndecodableMedia
from mediakeep.files.renditions import (
    THUMBNAIL,
    WAVEFORM,
    WAVEFORM_PICTURE,
    Recipe,
    RenditionCache,
    Source,
)
from mediakeep.http.auth import SECURITY, find_actor, library_of
from mediakeep.http.files import OTHER_VERSION, Content, send_content
from mediakeep.http.problems import document, problem_answer, problem_responses
from mediakeep.http.signing import SIGNATURE, is_signed
from mediakeep.media.formats import get_format

_NOT_FOUND = "Asset not found"


@dataclass(frozen=True, kw_only=True)
class _Access:
    """What a caller may have of an asset, and how long others may keep it."""

    max_age: int | None
    embeddable: bool


class _Endpoint:
    """A GET and HEAD route that answers with bytes; `content` says which."""

    def __init__(self, content: Callable[[Request, Served, _Access], Awaitable[Content]]) -> None:
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        library = library_of(request)
        served = await find_served(library.database, request.path_params["asset_id"])
        if served is None:
            raise NotFound(_NOT_FOUND)
        content = await self._content(request, served, await _access(request, served))
        await send_content(content, library.store, scope, receive, send)


async def _access(request: Request, served: Served) -> _Access:
    """Raises `NotFound` for a private asset unless its owner asks, an admin, or somebody with a signed address."""
    if SIGNATURE in request.query_params:
        if not is_signed(request.app.state.secret, request.url.path, request.query_params.multi_items()):
            raise NotFound(_NOT_FOUND)
        if served.visibility == "private":
            return _Access(max_age=None, embeddable=True)
    if served.visibility == "public":
        return _Access(max_age=library_of(request).settings.public_max_age, embeddable=True)
    actor = await find_actor(request)
    if (
        actor is None
        or not (actor.user_id == served.owner_id or actor.is_admin)
        or "read" not in actor.scopes
    ):
        raise NotFound(_NOT_FOUND)
    return _Access(max_age=None, embeddable=False)


async def _file(request: Request, served: Served, access: _Access) -> Content:
    return Content(
        media_type=served.media_type,
        size=served.size,
        sha256=served.sha256,
        modified_at=served.created_at,
        name=_download_name(served),
        max_age=access.max_age,
        embeddable=access.embeddable,
        key=served.key,
        attachment=_is_download(request),
    )


async def _thumbnail(request: Request, served: Served, access: _Access) -> Content:
    if not served.has_thumbnail:
        raise NotFound("This asset has no thumbnail")
    return await _rendition(request, served, access, THUMBNAIL)


async def _waveform(request: Request, served: Served, access: _Access) -> Content:
    if served.type != "audio":
        raise NotFound("This asset has no waveform")
    recipes = {"json": WAVEFORM, "png": WAVEFORM_PICTURE}
    wanted = request.query_params.get("format", "json")
    if wanted not in recipes:
        raise InvalidInput("format is json or png.", field="format")
    return await _rendition(request, served, access, recipes[wanted])


async def _rendition(request: Request, served: Served, access: _Access, recipe: Recipe) -> Content:
    renditions: RenditionCache = request.app.state.renditions
    source = Source(
        public_id=served.file_public_id,
        key=served.key,
        format=served.format,
        family=get_format(served.format).family,
    )
    try:
        rendition = await renditions.get(source, recipe)
    except UndecodableMedia as error:
        raise NotFound(f"This asset has no {recipe.name}: {error.detail}") from error
    stem = served.name.rpartition(".")[0] or served.name
    return Content(
        media_type=rendition.media_type,
        size=len(rendition.body),
        sha256=rendition.sha256,
        modified_at=served.created_at,
        name=clean_file_name(f"{stem}-{recipe.name}.{recipe.extension}"),
        max_age=access.max_age,
        embeddable=access.embeddable,
        body=rendition.body,
        attachment=_is_download(request),
    )


def _download_name(served: Served) -> str:
    """The asset's name as that of a file, with the extension of what it is unless it has one."""
    extensions = tuple(f".{one}" for one in get_format(served.format).extensions)
    has_one = served.name.lower().endswith(extensions)
    return clean_file_name(served.name if has_one else f"{served.name}.{served.format}")


def _is_download(request: Request) -> bool:
    return request.query_params.get("download", "0") not in {"", "0", "false"}


def routes(prefix: str) -> list[Route]:
    return [
        Route(f"{prefix}/assets/{{asset_id}}", _Endpoint(_file), methods=["GET", "HEAD"]),
        Route(f"{prefix}/assets/{{asset_id}}/thumbnail", _Endpoint(_thumbnail), methods=["GET", "HEAD"]),
        Route(f"{prefix}/assets/{{asset_id}}/waveform", _Endpoint(_waveform), methods=["GET", "HEAD"]),
    ]


_BINARY = {"schema": {"type": "string", "format": "binary"}}

_PEAKS = {
    "schema": {
        "type": "object",
        "required": ["version", "sample_rate", "samples_per_peak", "length", "duration_seconds", "peaks"],
    },
    "example": {
        "version": 1,
        "channels": 1,
        "sample_rate": 44100,
        "samples_per_peak": 441,
        "bits": 8,
        "length": 2,
        "duration_seconds": 0.02,
        "peaks": [-3, 5, -8, 7],
    },
}


def openapi_paths(prefix: str) -> dict[str, Any]:
    """The description of `routes`, which FastAPI does not see."""
    path = f"{prefix}/assets/{{asset_id}}"
    return {
        path: _described(
            "Get the file", "The file itself. `?download=1` makes it an attachment.", {"*/*": _BINARY}
        ),
        f"{path}/thumbnail": _described(
            "Get the thumbnail",
            "A JPEG of at most 512 px on the long side: a small version of an image, a video's frame at 1 s, a PDF's "
            "first page, the drawn waveform of audio.",
            {"image/jpeg": _BINARY},
            missing="This asset has no thumbnail",
        ),
        f"{path}/waveform": _described(
            "Get the waveform",
            "Peaks of an audio asset as JSON, or drawn with `format=png`.",
            {"application/json": _PEAKS, "image/png": _BINARY},
            InvalidInput,
            missing="This asset has no waveform",
            parameters=[_query("format", {"type": "string", "enum": ["json", "png"]})],
        ),
    }


def _described(
    summary: str,
    description: str,
    content: dict[str, Any],
    *errors: type[MediakeepError],
    missing: str = _NOT_FOUND,
    parameters: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    refusals = problem_responses(
        NotFound,
        *errors,
        not_found=missing,
        invalid_input="format is json or png.",
    )
    part = {**_HEADERS, "Content-Range": _header("Which part this is.", "bytes 0-1023/153600")}
    operation = {
        "tags": ["assets"],
        "summary": summary,
        "description": f"{description} Needs no login while the asset is public; a private one needs its owner or a "
        "signed address.",
        "security": [{}, *SECURITY],
        "parameters": [
            _ASSET_ID,
            _query("download", {"type": "string"}, "`1` makes it an attachment.", "1"),
            _query("expires", {"type": "string"}, "Of a signed address: Unix time, seconds."),
            _query("signature", {"type": "string"}, "Of a signed address; then nothing else may be added."),
            *parameters,
        ],
        "responses": {
            "200": {"description": "All of it.", "content": content, "headers": _HEADERS},
            "206": {"description": "The part that `Range` asks for.", "content": content, "headers": part},
            "304": {"description": "It has not changed."},
            "412": problem_answer("It is another version.", other_version=document(412, OTHER_VERSION)),
            "416": problem_answer(
                "The range lies past its end.", past_its_end=document(416, "The file has 153600 bytes.")
            ),
            **{str(status): described for status, described in refusals.items()},
        },
    }
    return {"get": operation, "head": deepcopy(operation)}


def _query(name: str, schema: dict[str, Any], description: str = "", example: str = "") -> dict[str, Any]:
    more = {"description": description, "example": example}
    given = {key: value for key, value in more.items() if value}
    return {"name": name, "in": "query", "required": False, "schema": schema, **given}


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "string"}, "example": example}


_ASSET_ID = {"name": "asset_id", "in": "path", "required": True, "schema": {"type": "string"}}

_HEADERS = {
    "ETag": _header("Strong: the SHA-256 of all of it.", '"9f86d081884c7d65…"'),
    "Last-Modified": _header("To the second.", "Sun, 16 Nov 2025 09:30:00 GMT"),
    "Cache-Control": _header("Private assets are not kept by anybody.", "public, max-age=300"),
    "Accept-Ranges": _header("Ranges are in bytes.", "bytes"),
    "Content-Disposition": _header("The file's name.", 'inline; filename="image.jpg"'),
}
