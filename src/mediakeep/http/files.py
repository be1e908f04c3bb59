"""Answering with a file's bytes: plain ASGI, since FastAPI costs more than the rest of it."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from urllib.parse import quote

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mediakeep.errors import NotFound
from mediakeep.http.conditions import (
    ByteRange,
    RangeNotSatisfiable,
    http_date,
    precondition_status,
    requested_ranges,
)
from mediakeep.http.hot import HotAnswers
from mediakeep.http.problems import problem
from mediakeep.settings import Settings
from mediakeep.storage import Chunk, MissingObject, Store

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

#: More than a whole answer of one piece: only then is it worth watching whether the client is still there.
_WATCHED_BYTES = 4 << 20

_CONDITIONS = frozenset(
    {b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"range"}
)

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, kw_only=True)
class Representation:
    """What is said of the bytes that are answered with, which are at hand or under `key` in the store.

    `sha256` is theirs (hex), `name` what a download is called, `max_age` seconds, None for what must not be kept by
    anybody, `vary` the request header that chose it.
    """

    media_type: str
    size: int
    sha256: str
    modified_at: datetime
    name: str
    max_age: int | None
    key: str = ""
    attachment: bool = False
    #: Whether pages of other origins may embed it.
    embeddable: bool = True
    vary: str = ""
    #: What a CDN is told to forget it by.
    tag: str = ""

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    @property
    def is_inline(self) -> bool:
        return self.media_type in INLINE_TYPES and not self.attachment

    @cached_property
    def validators(self) -> RawHeaders:
        """The headers that a 304 repeats (RFC 9110 §15.4.5)."""
        kept = "private, no-store" if self.max_age is None else f"public, max-age={self.max_age}"
        given = {
            "etag": self.etag,
            "last-modified": http_date(self.modified_at),
            "cache-control": kept,
            "vary": self.vary,
            "cache-tag": self.tag,
        }
        return _raw({name: value for name, value in given.items() if value})

    @cached_property
    def headers(self) -> RawHeaders:
        """All headers of the whole, but for its type and length."""
        return self.validators + _raw(
            {
                "accept-ranges": "bytes",
                "content-disposition": content_disposition(
                    "inline" if self.is_inline else "attachment", self.name
                ),
                "x-content-type-options": "nosniff",
                "content-security-policy": _PDF_POLICY if self.media_type == "application/pdf" else _POLICY,
                "cross-origin-resource-policy": "cross-origin" if self.embeddable else "same-origin",
            }
        )


async def send_representation(
    content: Representation,
    body: bytes | None,
    store: Store,
    settings: Settings,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    good_until: float = 0.0,
) -> None:
    """Answer a GET or HEAD with `content`: conditions, then ranges. Raises `NotFound` where its bytes are gone.

    Until `good_until` (`time.monotonic`) the same bytes may be sent to anybody who asks for the same address.
    """
    given = _conditions(scope)
    status = precondition_status(given, etag=content.etag, modified_at=content.modified_at) if given else None
    if status == 412:
        await problem(412, OTHER_VERSION, headers=_not_kept(content))(scope, receive, send)
    elif status == 304:
        await _send_all(send, 304, content.validators)
        _keep_hot(content, body, scope, good_until)
    elif scope["method"] == "HEAD":
        if body is None and await store.stat(content.key) is None:
            raise missing(content.key)
        await _send_all(send, 200, _whole(content))
    else:
        try:
            parts = _parts(content, given)
        except RangeNotSatisfiable:
            await _not_satisfiable(content)(scope, receive, send)
            return
        if body is not None or not await _handed_over(content, parts, store, settings, given, send):
            await _send_content(content, body, parts, store, scope, receive, send, good_until)


def _conditions(scope: Scope) -> dict[str, str]:
    """The headers that ask for less than the whole; several lines of a name are one list (RFC 9110 §5.2)."""
    given: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _CONDITIONS:
            known = given.get(name.decode())
            text = value.decode("latin-1")
            given[name.decode()] = text if known is None else f"{known}, {text}"
    return given


async def _send_content(
    content: Representation,
    body: bytes | None,
    parts: Sequence[ByteRange],
    store: Store,
    scope: Scope,
    receive: Receive,
    send: Send,
    good_until: float,
) -> None:
    if len(parts) > 1:
        await _send_parts(content, body, parts, store, receive, send)
    elif body is None:
        await _send_stored(content, parts, store, receive, send)
    else:
        await _send_at_hand(content, body, parts, send)
        _keep_hot(content, body, scope, good_until)


def _keep_hot(content: Representation, body: bytes | None, scope: Scope, good_until: float) -> None:
    """Have the connections answer the same request by themselves, where that is the same for everybody."""
    hot: HotAnswers | None = scope.get("state", {}).get("hot")
    # Of a file that was cut off on disk the client would wait for the rest.
    is_whole = body is not None and len(body) == content.size
    if hot and body is not None and is_whole and not content.vary and content.max_age is not None:
        hot.keep(scope, _whole(content), content.validators, body, content.etag, good_until)


def _not_satisfiable(content: Representation) -> Response:
    headers = {
        **_not_kept(content),
        "content-range": f"bytes */{content.size}",
        "accept-ranges": "bytes",
    }
    return problem(416, f"The file has {content.size} bytes.", headers=headers)


def _not_kept(content: Representation) -> dict[str, str]:
    """Headers of a refusal."""
    vary = {"vary": content.vary} if content.vary else {}
    return {"cache-control": "no-store", **vary}


def _parts(content: Representation, given: dict[str, str]) -> list[ByteRange]:
    if "range" not in given:
        return []
    return requested_ranges(given, size=content.size, etag=content.etag, modified_at=content.modified_at)


async def _handed_over(
    content: Representation,
    parts: Sequence[ByteRange],
    store: Store,
    settings: Settings,
    given: dict[str, str],
    send: Send,
) -> bool:
    """Whether somebody else was told to send the bytes, who does so faster: nginx from the data folder, or the store.

    Both judge conditions by tags and dates of their own: those that ours have passed we answer. Raises `NotFound`.
    """
    if not content.key.startswith("files/"):  # a picture, which may be thrown away at any time
        return False
    if settings.accel_redirect:
        # nginx refuses ranges that we pass over.
        if not given.keys() <= {"range", "if-range"} or ("range" in given and not parts):
            return False
        await _hand_to_nginx(content, parts, store, settings, send)
        return True
    # A store knows no name for a download and no several ranges. What If-Range names may be its own tag.
    is_ours = not given.keys().isdisjoint({"if-match", "if-unmodified-since"}) or (
        "if-range" in given and len(parts) > 0
    )
    if settings.redirect_to_storage and content.is_inline and len(parts) < 2 and not is_ours:
        return await _send_to_store(content, store, settings, send)
    return False


async def _hand_to_nginx(
    content: Representation, parts: Sequence[ByteRange], store: Store, settings: Settings, send: Send
) -> None:
    if (
        await store.stat(content.key) is None
    ):  # nginx would say so in its own words, and nobody would hear of it
        raise missing(content.key)
    path = settings.accel_redirect.rstrip("/") + "/" + content.key
    # With the whole nginx says itself that it knows ranges, a second time if we do.
    headers = [header for header in content.headers if parts or header[0] != b"accept-ranges"]
    told = [(b"x-accel-redirect", path.encode()), (b"content-length", b"0")]
    await _send_all(send, 200, [(b"content-type", content.media_type.encode()), *headers, *told])


async def _send_to_store(content: Representation, store: Store, settings: Settings, send: Send) -> bool:
    """Whether there is a store that has addresses."""
    seconds = settings.redirect_to_storage
    address = await store.sign(content.key, expires_in_seconds=seconds)
    if address is None:
        return False
    # Kept for half as long as the address is good, so that nobody follows one that has ended.
    keep = None if content.max_age is None else min(content.max_age, seconds // 2)
    kept = "private, no-store" if keep is None else f"public, max-age={keep}"
    tag = {"cache-tag": content.tag} if content.tag else {}
    headers = _raw({"location": address, "cache-control": kept, "content-length": "0", **tag})
    await _send_all(send, 307, headers)
    return True


async def _send_at_hand(content: Representation, body: bytes, parts: Sequence[ByteRange], send: Send) -> None:
    if parts:
        await _start(send, 206, _partial(content, parts[0]))
        await send({"type": "http.response.body", "body": memoryview(body)[parts[0].start : parts[0].end]})
    else:
        await _start(send, 200, _whole(content))
        await send({"type": "http.response.body", "body": body})


async def _send_stored(
    content: Representation, parts: Sequence[ByteRange], store: Store, receive: Receive, send: Send
) -> None:
    part = parts[0] if parts else ByteRange(0, content.size)
    status, headers = (206, _partial(content, part)) if parts else (200, _whole(content))
    await _stream(content, store.read(content.key, part.start, part.end), status, headers, receive, send)


async def _send_parts(
    content: Representation,
    body: bytes | None,
    parts: Sequence[ByteRange],
    store: Store,
    receive: Receive,
    send: Send,
) -> None:
    """Several ranges in one answer: `multipart/byteranges` (RFC 9110 §14.6)."""
    boundary = secrets.token_hex(16)
    type_ = content.media_type
    heads = [
        f"--{boundary}\r\nContent-Type: {type_}\r\nContent-Range: {_content_range(content, part)}\r\n\r\n".encode()
        for part in parts
    ]
    tail = f"--{boundary}--\r\n".encode()
    length = sum(len(head) + part.end - part.start + 2 for head, part in zip(heads, parts, strict=True))
    headers = [
        (b"content-type", f"multipart/byteranges; boundary={boundary}".encode()),
        (b"content-length", str(length + len(tail)).encode()),
        *content.headers,
    ]

    async def pieces() -> AsyncGenerator[Chunk, None]:
        for head, part in zip(heads, parts, strict=True):
            async with aclosing(_bytes_of(content, body, part, store)) as chunks:
                # The head of the first part waits for its bytes: without them the answer is a 404.
                started = False
                async for chunk in chunks:
                    if not started:
                        yield head
                        started = True
                    yield chunk
            yield b"\r\n"
        yield tail

    await _stream(content, pieces(), 206, headers, receive, send)


async def _bytes_of(
    content: Representation, body: bytes | None, part: ByteRange, store: Store
) -> AsyncGenerator[Chunk, None]:
    if body is not None:
        yield memoryview(body)[part.start : part.end]
        return
    async with aclosing(store.read(content.key, part.start, part.end)) as chunks:
        async for chunk in chunks:
            yield chunk


async def _stream(
    content: Representation,
    chunks: AsyncGenerator[Chunk, None],
    status: int,
    headers: RawHeaders,
    receive: Receive,
    send: Send,
) -> None:
    """Send the chunks as they are read; stop reading when the client has gone."""
    watched = int(dict(headers)[b"content-length"]) > _WATCHED_BYTES
    gone = asyncio.ensure_future(_gone(receive)) if watched else None
    try:
        async with aclosing(chunks):
            started = False
            async for chunk in _or_missing(content, chunks):
                if not started:
                    await _start(send, status, headers)
                    started = True
                if gone and gone.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if not started:  # an empty content
                await _start(send, status, headers)
            await send({"type": "http.response.body", "body": b""})
    finally:
        if gone:
            gone.cancel()


async def _or_missing(content: Representation, chunks: AsyncGenerator[Chunk, None]) -> AsyncIterator[Chunk]:
    try:
        async for chunk in chunks:
            yield chunk
    except MissingObject as error:
        raise missing(content.key) from error


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def missing(key: str) -> NotFound:
    """The error of a file whose bytes the store has lost, which is logged."""
    log.error("file.missing", key=key)
    return NotFound("The file's content is missing.")


def _whole(content: Representation) -> RawHeaders:
    return [
        (b"content-type", content.media_type.encode()),
        (b"content-length", str(content.size).encode()),
        *content.headers,
    ]


def _partial(content: Representation, part: ByteRange) -> RawHeaders:
    return [
        (b"content-type", content.media_type.encode()),
        (b"content-length", str(part.end - part.start).encode()),
        (b"content-range", _content_range(content, part).encode()),
        *content.headers,
    ]


def _content_range(content: Representation, part: ByteRange) -> str:
    return f"bytes {part.start}-{part.end - 1}/{content.size}"


def content_disposition(kind: str, name: str) -> str:
    """With the name in ASCII for old clients and in UTF-8 for all others (RFC 6266 §4.3, Appendix D)."""
    plain = "".join(mark if " " <= mark <= "~" and mark not in '"\\%' else "_" for mark in name)
    value = f'{kind}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def _raw(headers: dict[str, str]) -> RawHeaders:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _send_all(send: Send, status: int, headers: RawHeaders) -> None:
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": b""})


async def _start(send: Send, status: int, headers: RawHeaders) -> None:
    # A list of its own: the layers around add theirs to it.
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
