"""The description of delivery's routes for OpenAPI: FastAPI does not see them."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from mediakeep.errors import (
    BadRequest,
    InvalidInput,
    MediakeepError,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RateLimited,
)
from mediakeep.http.auth import SECURITY
from mediakeep.http.delivery.renditions import IMAGE_SIZES
from mediakeep.http.delivery.sending import OTHER_VERSION
from mediakeep.http.picture_query import PictureQuery
from mediakeep.http.problems import document, problem_answer, problem_responses

_PICTURE_REFUSALS = {
    "bad_request": "A side of 3000 pixels is too long; without login or signature at most 2560 may be asked for.",
    "invalid_input": "quality: Input should be less than or equal to 100",
    "permission_denied": "Pictures of other sizes need a signed address here.",
}

_BINARY = {"schema": {"type": "string", "format": "binary"}}

_PARTS = {"multipart/byteranges": {"schema": {"type": "string", "format": "binary"}}}

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
            "Get the file, or a picture of it",
            "The file itself; with any of the parameters from `width` on a picture of it: of an image, a PDF's page "
            "or a video's frame. Nothing is enlarged unless `enlarge`; orientation is applied, colours are sRGB, "
            "metadata and location are left out.",
            {"*/*": _BINARY},
            BadRequest,
            InvalidInput,
            PermissionDenied,
            RateLimited,
            parameters=_picture_parameters(),
            refusals=_PICTURE_REFUSALS,
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
            refusals={"invalid_input": "format is json or png."},
        ),
    }


def download_path() -> dict[str, Any]:
    """The description of the download of a persona's media file."""
    refused = problem_responses(
        NotAuthenticated,
        PermissionDenied,
        NotFound,
        InvalidInput,
        permission_denied="This API key may not read.",
        not_found="Media file 1 not found",
        invalid_input="media_id: Input should be a valid integer",
    )
    media_id = {
        "name": "media_id",
        "in": "path",
        "required": True,
        "schema": {"type": "integer"},
        "example": 1,
    }
    answers = _answers({"*/*": _BINARY}, refused)
    del answers["307"]  # a store knows no name for a download
    operation = {
        "tags": ["media"],
        "summary": "Download a media file",
        "description": "The file itself, under the name that it came with, for its owner and nobody's cache.",
        "security": SECURITY,
        "parameters": [media_id],
        "responses": answers,
    }
    return {"/media/download/{media_id}": {"get": operation, "head": deepcopy(operation)}}


def image_paths() -> dict[str, Any]:
    """The description of `delivery.image_routes`."""
    image_id = {
        "name": "image_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "A generation's id, with an extension or without.",
    }
    sizes = _query(
        "size", {"type": "string", "enum": list(IMAGE_SIZES)}, "160, 320 or 640 px on the long side."
    )
    return {
        "/api/v1/files/images/{image_id}": _described(
            "Get a generation's image, or a picture of it",
            "The image itself; with any of the parameters from `width` on a picture of it.",
            {"*/*": _BINARY},
            BadRequest,
            InvalidInput,
            PermissionDenied,
            RateLimited,
            missing="Image not found",
            parameters=_picture_parameters(),
            refusals=_PICTURE_REFUSALS,
            of=image_id,
            tag="generations",
        ),
        "/api/v1/assets/{asset_id}/thumbnail": _described(
            "Get an asset's thumbnail",
            "A JPEG of the favourite generation, else of the first that was completed, else of the asset's own image.",
            {"image/jpeg": _BINARY},
            InvalidInput,
            parameters=[sizes],
            refusals={"invalid_input": "size is small, medium or large."},
            tag="image assets",
        ),
    }


def _described(
    summary: str,
    description: str,
    content: dict[str, Any],
    *errors: type[MediakeepError],
    missing: str = "Asset not found",
    parameters: Sequence[dict[str, Any]] = (),
    refusals: dict[str, str] | None = None,
    of: dict[str, Any] | None = None,
    tag: str = "assets",
) -> dict[str, Any]:
    refused = problem_responses(NotFound, *errors, not_found=missing, **(refusals or {}))
    operation = {
        "tags": [tag],
        "summary": summary,
        "description": f"{description} Needs no login while the asset is public; a private one needs its owner or a "
        "signed address.",
        "security": [{}, *SECURITY],
        "parameters": [
            of or _ASSET_ID,
            _query("download", {"type": "string"}, "`1` makes it an attachment.", "1"),
            _query("expires", {"type": "string"}, "Of a signed address: Unix time, seconds."),
            _query("signature", {"type": "string"}, "Of a signed address; it covers all other parameters."),
            *parameters,
        ],
        "responses": _answers(content, refused),
    }
    return {"get": operation, "head": deepcopy(operation)}


def _answers(content: dict[str, Any], refused: dict[int | str, Any]) -> dict[str, Any]:
    part = {
        **_HEADERS,
        "Content-Range": _header("Which part this is.", "bytes 0-1023/153600", required=False),
    }
    return {
        "200": {"description": "All of it.", "content": content, "headers": _HEADERS},
        "206": {
            "description": "The part that `Range` asks for; several parts as `multipart/byteranges`.",
            "content": content | _PARTS,
            "headers": part,
        },
        "307": {
            "description": "The file is read from the object store itself, where the settings say so.",
            "headers": {"Location": _header("Good for a while.", "https://bucket.example/files/ab/…")},
        },
        "304": {"description": "It has not changed."},
        "412": problem_answer("It is another version.", other_version=document(412, OTHER_VERSION)),
        "416": problem_answer(
            "The range lies past its end.", past_its_end=document(416, "The file has 153600 bytes.")
        ),
        **{str(status): described for status, described in refused.items()},
    }


def _query(name: str, schema: dict[str, Any], description: str = "", example: object = "") -> dict[str, Any]:
    more = {"description": description, "example": example}
    given = {key: value for key, value in more.items() if value}
    return {"name": name, "in": "query", "required": False, "schema": schema, **given}


def _header(description: str, example: str, *, required: bool = True) -> dict[str, Any]:
    return {
        "description": description,
        "required": required,
        "schema": {"type": "string"},
        "example": example,
    }


def _picture_parameters() -> list[dict[str, Any]]:
    """The parameters of a picture, as its model says."""
    parameters = []
    for name, schema in PictureQuery.model_json_schema()["properties"].items():
        schema.pop("title", None)
        description, examples = schema.pop("description", ""), schema.pop("examples", [""])
        parameters.append(_query(name, schema, description, examples[0]))
    return parameters


_ASSET_ID = {"name": "asset_id", "in": "path", "required": True, "schema": {"type": "string"}}

_HEADERS = {
    "ETag": _header("Strong: the SHA-256 of all of it.", '"9f86d081884c7d65…"'),
    "Last-Modified": _header("To the second.", "Sun, 16 Nov 2025 09:30:00 GMT"),
    "Cache-Control": _header("Private assets are not kept by anybody.", "public, max-age=300"),
    "Accept-Ranges": _header("Ranges are in bytes.", "bytes"),
    "Content-Disposition": _header("The file's name.", 'inline; filename="image.jpg"'),
}
