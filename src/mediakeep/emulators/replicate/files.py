"""The files API: what models are to read can be left here for a day."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mediakeep.emulators.replicate.catalogue import ACCOUNT
from mediakeep.emulators.replicate.predictions import iso
from mediakeep.emulators.replicate.problems import Invalid, Problem, invalid, not_found
from mediakeep.emulators.replicate.state import Emulator, StoredFile, base_url, emulator_of

MAX_BYTES: Final = 100 << 20
_MAX_NAME_BYTES: Final = 255


@dataclass(kw_only=True)
class _Part:
    file_name: str
    media_type: str
    value: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        return self.value.decode(errors="replace")


async def create_file(request: Request) -> Response:
    emulator = emulator_of(request)
    parts = await _read_form(request)
    if "content" not in parts:
        raise invalid([Invalid("", "required", "content is required")])
    content = parts["content"]
    name = parts["filename"].text if "filename" in parts else content.file_name
    if len(name.encode()) > _MAX_NAME_BYTES:
        sentence = f"String length must be less than or equal to {_MAX_NAME_BYTES}"
        raise invalid([Invalid("filename", "string_lte", sentence)])
    media_type = parts["type"].text if "type" in parts else content.media_type
    file = StoredFile(
        name=name or "file",
        media_type=media_type or "application/octet-stream",
        content=bytes(content.value),
        metadata=_metadata(parts["metadata"].text) if "metadata" in parts else {},
        lifetime=timedelta(seconds=emulator.options.file_lifetime_seconds),
    )
    emulator.files[file.id] = file
    request.state.entry |= {"file": file.id, "size": len(file.content), "media_type": file.media_type}
    return JSONResponse(_document(file, base_url(request)), status_code=201)


async def list_files(request: Request) -> Response:
    emulator = emulator_of(request)
    files = [file for file in reversed(emulator.files.values()) if _is_there(file)]
    results = [_document(file, base_url(request)) for file in files]
    return JSONResponse({"next": None, "previous": None, "results": results})


async def get_file(request: Request) -> Response:
    file = _get(emulator_of(request), request.path_params["id"])
    return JSONResponse(_document(file, base_url(request)))


async def delete_file(request: Request) -> Response:
    emulator = emulator_of(request)
    del emulator.files[_get(emulator, request.path_params["id"]).id]
    return Response(status_code=204)


async def download_file(request: Request) -> Response:
    """Whoever has a signed address gets the content, without a token."""
    emulator = emulator_of(request)
    owner, expiry, given = (request.query_params.get(name, "") for name in ("owner", "expiry", "signature"))
    file = _get(emulator, request.path_params["id"])
    expected = sign_download(emulator.options.files_secret, owner=owner, file_id=file.id, expiry=expiry)
    if owner != ACCOUNT or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Problem(403, "The signature is not valid.", title="Forbidden")
    if not expiry.isdecimal() or int(expiry) < time.time():
        raise Problem(403, "The address has expired.", title="Forbidden")
    disposition = f"attachment; filename*=UTF-8''{quote(file.name)}"
    return Response(file.content, media_type=file.media_type, headers={"Content-Disposition": disposition})


def sign_download(secret: str, *, owner: str, file_id: str, expiry: str) -> str:
    """The `signature` of a download address that is good until `expiry` (Unix time, seconds)."""
    digest = hmac.digest(secret.encode(), f"{owner} {file_id} {expiry}".encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def find_content(emulator: Emulator, file_id: str) -> bytes | None:
    file = emulator.files.get(file_id)
    return file.content if file and _is_there(file) else None


def _get(emulator: Emulator, file_id: str) -> StoredFile:
    file = emulator.files.get(file_id)
    if file is None or not _is_there(file):
        raise not_found()
    return file


def _is_there(file: StoredFile) -> bool:
    return datetime.now(UTC) < file.expires_at


def _document(file: StoredFile, base: str) -> dict[str, object]:
    md5 = hashlib.md5(file.content, usedforsecurity=False).hexdigest()
    return {
        "id": file.id,
        "name": file.name,
        "content_type": file.media_type,
        "size": len(file.content),
        "etag": md5,
        "checksums": {"sha256": hashlib.sha256(file.content).hexdigest(), "md5": md5},
        "metadata": file.metadata,
        "created_at": iso(file.created_at),
        "expires_at": iso(file.expires_at),
        "urls": {"get": f"{base}/v1/files/{file.id}"},
    }


def _metadata(text: str) -> Any:  # whatever JSON it is
    try:
        return json.loads(text)
    except ValueError as error:
        raise invalid([Invalid("metadata", "invalid_type", "Must be JSON")]) from error


async def _read_form(request: Request) -> dict[str, _Part]:
    kind, options = parse_options_header(request.headers.get("content-type", ""))  # type: ignore[no-untyped-call]  # has no annotations
    if kind != "multipart/form-data" or "boundary" not in options:
        raise Problem(415, "The body must be multipart/form-data.", title="Unsupported Media Type")
    parts: dict[str, _Part] = {}
    part = _Part(file_name="", media_type="")
    try:
        with PushMultipartParser(str(options["boundary"])) as parser:
            async for chunk in request.stream():
                for event in parser.parse(chunk) if chunk else ():
                    if isinstance(event, MultipartSegment):
                        part = _Part(file_name=event.filename or "", media_type=event.content_type or "")
                        parts[event.name or ""] = part
                    elif event is not None:
                        part.value += event
                        _check_size(part)
    except MultipartError as error:
        raise Problem(400, "The form cannot be read.", title="Bad Request") from error
    return parts


def _check_size(part: _Part) -> None:
    if len(part.value) > MAX_BYTES:
        raise Problem(413, "A file has at most 100 MB.", title="Content Too Large")
