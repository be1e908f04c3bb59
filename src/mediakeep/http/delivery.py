"""The bytes of an asset: the file itself, its thumbnail and its waveform, without login while it is public."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mediakeep.assets.queries import Served, find_served
from mediakeep.errors import InvalidInput, NotAuthenticated, NotFound, RateLimited, Unavailable
from mediakeep.files.renditions import (
    THUMBNAIL,
    WAVEFORM,
    WAVEFORM_PICTURE,
    Recipe,
    RenditionCache,
    Source,
)
from mediakeep.http.auth import find_actor, library_of
from mediakeep.http.files import Content, send_content
from mediakeep.http.problems import problem_responses
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
        name=served.name,
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
    rendition = await renditions.get(source, recipe)
    stem = served.name.rpartition(".")[0] or served.name
    return Content(
        media_type=rendition.media_type,
        size=len(rendition.body),
        sha256=rendition.sha256,
        modified_at=served.created_at,
        name=f"{stem}-{recipe.name}.{recipe.extension}",
        max_age=access.max_age,
        embeddable=access.embeddable,
        body=rendition.body,
        attachment=_is_download(request),
    )


def _is_download(request: Request) -> bool:
    return request.query_params.get("download", "0") not in {"", "0", "false"}


def routes(prefix: str) -> list[Route]:
    return [
        Route(f"{prefix}/assets/{{asset_id}}", _Endpoint(_file), methods=["GET", "HEAD"]),
        Route(f"{prefix}/assets/{{asset_id}}/thumbnail", _Endpoint(_thumbnail), methods=["GET", "HEAD"]),
        Route(f"{prefix}/assets/{{asset_id}}/waveform", _Endpoint(_waveform), methods=["GET", "HEAD"]),
    ]


def openapi_paths(prefix: str) -> dict[str, Any]:
    """The description of `routes`, which FastAPI does not see."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    file = _described(
        "Get the file", "The file itself. `?download=1` makes it an attachment.", {"*/*": binary}
    )
    thumbnail = _described(
        "Get the thumbnail",
        "A JPEG of at most 512 px on the long side: a small version of an image, a video's frame at 1 s, a PDF's "
        "first page, the drawn waveform of audio.",
        {"image/jpeg": binary},
    )
    peaks = {
        "schema": {"type": "object"},
        "example": {"version": 1, "duration_seconds": 2.0, "peaks": [-3, 5]},
    }
    waveform = _described(
        "Get the waveform",
        "Peaks of an audio asset as JSON, or drawn with `format=png`.",
        {"application/json": peaks, "image/png": binary},
    )
    waveform["get"]["parameters"].append(_query("format", {"type": "string", "enum": ["json", "png"]}))
    return {
        f"{prefix}/assets/{{asset_id}}": file,
        f"{prefix}/assets/{{asset_id}}/thumbnail": thumbnail,
        f"{prefix}/assets/{{asset_id}}/waveform": waveform,
    }


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _described(summary: str, description: str, content: dict[str, Any]) -> dict[str, Any]:
    refusals = problem_responses(NotAuthenticated, NotFound, InvalidInput, RateLimited, Unavailable)
    for unused in (401, 429):
        refusals.pop(unused)
    operation = {
        "tags": ["assets"],
        "summary": summary,
        "description": description
        + " Needs no login while the asset is public; a private one needs its owner or a "
        "signed address.",
        "parameters": [
            {
                "name": "asset_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "format": "uuid"},
            },
            _query("download", {"type": "string", "enum": ["0", "1"]}),
        ],
        "responses": {
            "200": {"description": "All of it.", "content": content},
            "206": {"description": "The part that `Range` asks for.", "content": content},
            "304": {"description": "It has not changed."},
            "412": {"description": "It is another version.", **_PROBLEM},
            "416": {"description": "The range lies past its end.", **_PROBLEM},
            **{str(status): described for status, described in refusals.items()},
        },
    }
    return {"get": operation, "head": {**operation, "responses": operation["responses"]}}


_PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
