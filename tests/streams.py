"""Event streams, read as a browser reads them (WHATWG HTML section 9.2.6), and the application's without a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI

PATH = "/api/v2/events"

#: What does not come within so long does not come.
_SECONDS = 20


@dataclass
class Block:
    """What stands between two empty lines."""

    fields: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.fields["id"]

    @property
    def kind(self) -> str:
        return self.fields["event"]

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.fields["data"])
        return told

    @property
    def is_event(self) -> bool:
        """Whether a browser dispatches it."""
        return "data" in self.fields


class Parser:
    """Takes bytes as they come, gives blocks."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> Iterator[Block]:
        *whole, self._rest = (self._rest + received).split(b"\n\n")
        for text in whole:
            block = Block()
            for line in text.decode().split("\n"):
                name, _, value = line.partition(":")
                if name:
                    assert name not in block.fields, text
                    block.fields[name] = value.removeprefix(" ")
                else:
                    block.comments.append(value.removeprefix(" "))
            yield block


class Stream:
    """A stream of the application's. `status`, `headers` and, unless it is one, the `body` of the answer."""

    def __init__(self, app: FastAPI, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        #: The last id it told, as a browser knows it.
        self.last_id = ""
        self._left = asyncio.Event()
        self._parser = Parser()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._blocks: list[Block] = []
        #: As long as it is not set, nobody reads.
        self.reads = asyncio.Event()
        self.reads.set()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "root_path": "",
            "query_string": urlencode(query).encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1234),
            "server": ("localhost", 8000),
        }
        self._running = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, object]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        await self.reads.wait()
        self._chunks.put_nowait(message["body"])
        if not message.get("more_body", False):
            self._chunks.put_nowait(None)

    async def begin(self) -> None:
        """Return once its answer is there: the opening block, or all of an answer that is no stream."""
        if await self._more() and self.status != 200:
            while await self._more():
                pass

    async def _more(self) -> bool:
        async with asyncio.timeout(_SECONDS):
            getting = asyncio.ensure_future(self._chunks.get())
            await asyncio.wait({getting, self._running}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done() and self._chunks.empty():
                getting.cancel()
                self._running.result()
                return False
            chunk = await getting
        if chunk is None:
            return False
        self.body += chunk
        if self.status == 200:
            self._blocks += self._parser.feed(chunk)
        return True

    async def block(self) -> Block | None:
        """The next block; None once the stream has ended."""
        while not self._blocks:
            if not await self._more():
                return None
        block = self._blocks.pop(0)
        self.last_id = block.fields.get("id", self.last_id)
        return block

    async def event(self) -> Block:
        """The next event."""
        async with asyncio.timeout(_SECONDS):
            while block := await self.block():
                if block.is_event:
                    return block
        raise AssertionError("the stream has ended")

    async def events(self, number: int) -> list[Block]:
        return [await self.event() for _ in range(number)]

    async def end(self) -> None:
        """Return once it has ended of itself."""
        async with asyncio.timeout(_SECONDS):
            while await self.block():
                pass
            await self._running

    async def leave(self) -> None:
        self.reads.set()
        self._left.set()
        async with asyncio.timeout(_SECONDS):
            with suppress(asyncio.CancelledError):
                await self._running


@asynccontextmanager
async def following(
    app: FastAPI, headers: Mapping[str, str], *, last_id: str = "", **query: str
) -> AsyncIterator[Stream]:
    """A stream that has begun, for somebody with these headers."""
    sent = {**headers, "last-event-id": last_id} if last_id else dict(headers)
    stream = Stream(app, query, sent)
    try:
        await stream.begin()
        yield stream
    finally:
        await stream.leave()
