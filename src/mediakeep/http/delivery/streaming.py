"""Bytes on their way: from memory or as the store is read, all of them, a part or several."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import structlog
from starlette.types import Receive, Send

from mediakeep.errors import NotFound
from mediakeep.http.conditions import ByteRange
from mediakeep.http.delivery.representation import RawHeaders, Representation
from mediakeep.storage import Chunk, MissingObject, Store

log = structlog.get_logger(__name__)

#: More than a whole answer of one piece: only then is it worth watching whether the client is still there.
_WATCHED_BYTES = 4 << 20


async def send_at_hand(content: Representation, body: bytes, parts: Sequence[ByteRange], send: Send) -> None:
    """The whole, or the one part, out of memory."""
    if parts:
        await _start(send, 206, content.headers_of_part(parts[0]))
        await send({"type": "http.response.body", "body": memoryview(body)[parts[0].start : parts[0].end]})
    else:
        await _start(send, 200, content.headers_of_whole())
        await send({"type": "http.response.body", "body": body})


async def send_stored(
    content: Representation, parts: Sequence[ByteRange], store: Store, receive: Receive, send: Send
) -> None:
    """The whole, or the one part, as it is read. Raises `NotFound` where the bytes are gone."""
    part = parts[0] if parts else ByteRange(0, content.size)
    status, headers = (206, content.headers_of_part(part)) if parts else (200, content.headers_of_whole())
    await _stream(content, store.read(content.key, part.start, part.end), status, headers, receive, send)


async def send_parts(
    content: Representation,
    body: bytes | None,
    parts: Sequence[ByteRange],
    store: Store,
    receive: Receive,
    send: Send,
) -> None:
    """Several parts in one answer: `multipart/byteranges` (RFC 9110 §14.6). Raises `NotFound` as `send_stored`."""
    boundary = secrets.token_hex(16)
    type_ = content.media_type
    heads = [
        f"--{boundary}\r\nContent-Type: {type_}\r\nContent-Range: {content.content_range(part)}\r\n\r\n".encode()
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


async def send_head(send: Send, status: int, headers: RawHeaders) -> None:
    """An answer without content."""
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": b""})


def missing(key: str) -> NotFound:
    """The error of a file whose bytes the store has lost, which is logged."""
    log.error("file.missing", key=key)
    return NotFound("The file's content is missing.")


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


async def _start(send: Send, status: int, headers: RawHeaders) -> None:
    # A list of its own: the layers around add theirs to it.
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
