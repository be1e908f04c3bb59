"""Answering with a file's bytes: plain ASGI, since FastAPI costs more than the rest of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from mediakeep.errors import NotFound
from mediakeep.http.conditions import (
    ByteRange,
    RangeNotSatisfiable,
    http_date,
    precondition_status,
    requested_range,
)
from mediakeep.http.problems import problem
from mediakeep.storage import MissingObject, Store

log = structlog.get_logger(__name__)

# https://github.com/w3c/webappsec-csp: a file opened as a page of its own can run nothing and load nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'; sandbox"
# The browser's PDF viewer is a page that a sandbox would keep from starting.
_PDF_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

#: The sentence of a 412.
OTHER_VERSION = "The file is another version than the request asks for."

#: What a browser may show in place; everything else is a download.
INLINE_TYPES = frozenset(
    {
        "application/pdf",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "image/avif",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "video/mp4",
        "video/quicktime",
        "video/webm",
    }
)


_NOT_KEPT = {"cache-control": "no-store"}


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is answered with: bytes at hand, or under a key in the store.

    `sha256` is that of the bytes (hex), `name` what a download is called, `max_age` seconds, None for what must not
    be kept by anybody.
    """

    media_type: str
    size: int
    sha256: str
    modified_at: datetime
    name: str
    max_age: int | None
    body: bytes | None = None
    key: str = ""
    attachment: bool = False
    #: Whether pages of other origins may embed it.
    embeddable: bool = True

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'


async def send_content(content: Content, store: Store, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a GET or HEAD with `content`: conditions, then one range. Raises `NotFound` where its bytes are gone."""
    headers = Headers(scope=scope)
    common = _validators(content)
    status = precondition_status(headers, etag=content.etag, modified_at=content.modified_at)
    if status == 412:
        await problem(412, OTHER_VERSION, headers=_NOT_KEPT)(scope, receive, send)
        return
    if status == 304:
        await _send_head(send, 304, common)
        return
    try:
        part = None
        if scope["method"] == "GET":
            part = requested_range(
                headers, size=content.size, etag=content.etag, modified_at=content.modified_at
            )
    except RangeNotSatisfiable:
        refusal = {**_NOT_KEPT, "content-range": f"bytes */{content.size}", "accept-ranges": "bytes"}
        await problem(416, f"The file has {content.size} bytes.", headers=refusal)(scope, receive, send)
        return
    await _send_part(content, part, common, store, scope, receive, send)


async def _send_part(
    content: Content,
    part: ByteRange | None,
    common: dict[str, str],
    store: Store,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    whole = ByteRange(0, content.size)
    start, end = (part or whole).start, (part or whole).end
    headers = {**common, **_representation(content), "content-length": str(end - start)}
    if part:
        headers["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
    status = 206 if part else 200
    if scope["method"] == "HEAD":
        if content.body is None and await store.stat(content.key) is None:
            raise _missing(content)
        await _send_head(send, status, headers)
    elif content.body is not None:
        await _start(send, status, headers)
        await send({"type": "http.response.body", "body": content.body[start:end]})
    else:
        await _stream(content, store.read(content.key, start, end), status, headers, receive, send)


async def _stream(
    content: Content,
    chunks: AsyncGenerator[bytes, None],
    status: int,
    headers: dict[str, str],
    receive: Receive,
    send: Send,
) -> None:
    """Send the chunks as they are read; stop reading when the client has gone."""
    gone = asyncio.ensure_future(_gone(receive))
    try:
        async with aclosing(chunks):
            started = False
            async for chunk in _or_missing(content, chunks):
                if not started:
                    await _start(send, status, headers)
                    started = True
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if not started:  # an empty content
                await _start(send, status, headers)
            await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _or_missing(content: Content, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in chunks:
            yield chunk
    except MissingObject as error:
        raise _missing(content) from error


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _missing(content: Content) -> NotFound:
    log.error("file.missing", key=content.key)
    return NotFound("The file's content is missing.")


def _validators(content: Content) -> dict[str, str]:
    """The headers that a 304 repeats (RFC 9110 §15.4.5)."""
    public = content.max_age is not None
    return {
        "etag": content.etag,
        "last-modified": http_date(content.modified_at),
        "cache-control": f"public, max-age={content.max_age}" if public else "private, no-store",
    }


def _representation(content: Content) -> dict[str, str]:
    inline = content.media_type in INLINE_TYPES and not content.attachment
    return {
        "content-type": content.media_type,
        "accept-ranges": "bytes",
        "content-disposition": content_disposition("inline" if inline else "attachment", content.name),
        "x-content-type-options": "nosniff",
        "content-security-policy": _PDF_POLICY if content.media_type == "application/pdf" else _POLICY,
        "cross-origin-resource-policy": "cross-origin" if content.embeddable else "same-origin",
    }


def content_disposition(kind: str, name: str) -> str:
    """With the name in ASCII for old clients and in UTF-8 for all others (RFC 6266 §4.3, Appendix D)."""
    plain = "".join(mark if " " <= mark <= "~" and mark not in '"\\%' else "_" for mark in name)
    value = f'{kind}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


async def _send_head(send: Send, status: int, headers: dict[str, str]) -> None:
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": b""})


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
