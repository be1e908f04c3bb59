"""Around every request: its id and log line, the last resort for faults, limits on bodies, and early answers.

Plain ASGI: Starlette's `BaseHTTPMiddleware` costs a task per request and breaks cancellation.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mediakeep import metrics
from mediakeep.errors import TooLarge
from mediakeep.http.auth import authenticate
from mediakeep.http.conditions import current_date
from mediakeep.http.metrics import template_of
from mediakeep.http.problems import answer_of, internal_error, problem
from mediakeep.http.request_ids import request_id_from
from mediakeep.logs import log_request

log = structlog.get_logger(__name__)


class RequestLog:
    """Gives each request an id (a sensible `X-Request-ID` is kept), logs one line, and answers faults with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = request_id_from(given.decode("latin-1"))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if "\0" in scope["path"]:
            # PostgreSQL's text cannot hold it. Nothing has such an id, and nothing has this one.
            scope = {**scope, "path": scope["path"].replace("\0", "\ufffd")}
        started = time.perf_counter()
        status = body_bytes = 0
        metrics.REQUESTS_IN_PROGRESS.add(1)

        async def send_with_id(message: Message) -> None:
            nonlocal status, body_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"date", current_date()),
                    (b"x-request-id", request_id.encode()),
                ]
            elif scope["method"] != "HEAD":
                body_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("request.failed", method=scope["method"], path=scope["path"])
            if status:  # too late for an answer: the server closes the connection
                raise
            await internal_error()(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            metrics.REQUESTS_IN_PROGRESS.add(-1)
            # A stream's answer begins, and then lasts as long as somebody wants it.
            measured = scope["streams_from"] - started if "streams_from" in scope else seconds
            metrics.request_metrics(scope["method"], template_of(scope), status).observe(measured, body_bytes)
            log_request(scope["method"], scope["path"], status, seconds, request_id=request_id)


class EarlyAnswer:
    """Lets a client see an answer that comes before its whole body was read.

    A socket that is closed with unread bytes shows up as a network error, and many clients read nothing before they
    have sent everything. So: answer, go on reading and throwing away for at most `seconds` or `max_bytes`, then close.
    """

    def __init__(self, app: ASGIApp, *, seconds: float = 2.0, max_bytes: int = 64 << 20) -> None:
        self.app = app
        self.seconds = seconds
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not has_body(scope):
            await self.app(scope, receive, send)
            return
        read_all = False
        answering_early = False

        async def watched_receive() -> Message:
            nonlocal read_all
            message = await receive()
            read_all = read_all or not message.get("more_body", False)
            return message

        async def draining_send(message: Message) -> None:
            nonlocal answering_early
            if message["type"] == "http.response.start" and not read_all:
                answering_early = True
                MutableHeaders(raw=message["headers"])["connection"] = "close"
            if answering_early and message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                await self._drain(receive)
                await send({"type": "http.response.body", "body": b""})
                return
            await send(message)

        await self.app(scope, watched_receive, draining_send)

    async def _drain(self, receive: Receive) -> None:
        left = self.max_bytes
        try:
            async with asyncio.timeout(self.seconds):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return


class LimitBody:
    """Refuses bodies of more than `max_bytes` (413) or that take more than `seconds` to arrive (408).

    Except where a route reads its stream with limits of its own. Routes of `larger` take as many bytes as that says, in
    four times the time: but from known callers only, and `large_at_once` at a time, so that memory is bounded.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        streaming: Sequence[str] = (),
        larger: Mapping[str, int] | None = None,
        seconds: float = 30.0,
        large_at_once: int = 2,
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.seconds = seconds
        self.streaming = [re.compile(pattern) for pattern in streaming]
        self.larger = larger or {}
        self._large = asyncio.Semaphore(large_at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or not has_body(scope)
            or any(pattern.fullmatch(scope["path"]) for pattern in self.streaming)
        ):
            await self.app(scope, receive, send)
            return
        most = max_body_bytes(scope["path"], self.max_bytes, self.larger)
        given = Headers(scope=scope).get("content-length", "")
        length = int(given) if given.isdigit() else most
        if length > most:
            await self._refuse(most, scope, receive, send)
        elif length <= self.max_bytes:
            await self._take(most, self.seconds, scope, receive, send)
        else:
            await self._take_large(most, scope, receive, send)

    async def _take_large(self, most: int, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            await authenticate(request)
        except Exception as error:
            answer = await answer_of(request, error)
            if answer is None:
                raise
            await answer(scope, receive, send)
            return
        async with self._large:
            await self._take(most, 4 * self.seconds, scope, receive, send)

    async def _take(self, most: int, seconds: float, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(seconds):
                body = await _read(receive, most)
        except TimeoutError:
            sentence = f"The request body did not arrive within {seconds:g} seconds."
            answer = problem(408, sentence, code="request-timeout", headers={"Connection": "close"})
            await answer(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            if len(body) > most:
                await self._refuse(most, scope, receive, send)
            else:
                await self.app(scope, _replay(body, receive), send)

    async def _refuse(self, most: int, scope: Scope, receive: Receive, send: Send) -> None:
        sentence = f"The request body is too large. This address takes at most {most} bytes."
        await problem(413, sentence, code=TooLarge.code)(scope, receive, send)


def max_body_bytes(path: str, usual: int, larger: Mapping[str, int]) -> int:
    """The largest body that an address takes, or the template of one; `larger` has exceptions by regular expression."""
    return next((most for pattern, most in larger.items() if re.fullmatch(pattern, path)), usual)


async def _read(receive: Receive, most: int) -> bytes:
    """The whole body, or as much as shows that it is too long: what follows never sees half of one."""
    body = bytearray()
    more = True
    while more and len(body) <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def has_body(scope: Scope) -> bool:
    """Whether the request says that a body follows its head."""
    for name, value in scope["headers"]:
        if (name == b"content-length" and value != b"0") or name == b"transfer-encoding":
            return True
    return False


#: Headers of every answer that has none of its own.
SECURITY_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin"}

_SECURITY = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
#: Where answers are not kept by anybody unless they say so.
_NOT_KEPT = ("/api/", "/legacy/", "/media/", "/personas")
_STRICTEST_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class SecurityHeaders:
    """Headers that suit every answer; those of user files are stricter and set by delivery."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[tuple[bytes, bytes]] = message["headers"]
                names = {name for name, _ in headers}
                headers += [header for header in _SECURITY if header[0] not in names]
                # A 304 has none of its own: caches would put it in the place of the file's (RFC 9111 section 4.3.4).
                if b"content-security-policy" not in names and message["status"] != 304:
                    headers.append(_STRICTEST_POLICY)
                if b"cache-control" not in names and scope["path"].startswith(_NOT_KEPT):
                    headers.append((b"cache-control", b"no-store"))
            await send(message)

        await self.app(scope, receive, send_with_headers)
