"""The server's side of a connection: what uvicorn leaves without bounds, and what can be answered at once.

A request's head is held in memory until it is complete, and nobody has proved anything until then.
"""

import asyncio
import time
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mediakeep.events.watcher import Watcher
from mediakeep.http.conditions import current_date
from mediakeep.http.hot import HotAnswers, read_hot_request
from mediakeep.http.problems import problem

log = structlog.get_logger(__name__)

MAX_HEAD_BYTES = 64 << 10

HEAD_SECONDS = 15.0

#: How long the rest of a refused request is read and thrown away: a client that still sends sees no answer.
_DRAIN_SECONDS = 2.0


class BoundedProtocol(HttpToolsProtocol):
    """Refuses heads (request line, header fields and trailers) that are too long, closes for those that are too slow.

    A connection on which nothing was ever sent is closed as one is that is kept alive for nothing.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # uvicorn's, passed on as they are
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        # The parser tells of a header field once it is whole: these bytes it may be holding back.
        self._silent_bytes = 0
        self._too_long = False
        self._awaits_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._hot: HotAnswers | None = self.app_state.get("hot")
        self._was_hot = False
        self._watcher: Watcher | None = self.app_state.get("watcher")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def shutdown(self) -> None:
        """The server stops: event streams, which nothing else would end, end now."""
        if self._watcher is not None:
            self._watcher.close()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._too_long:
            return
        self._silent_bytes += len(data)
        self._awaits_head = True
        super().data_received(data)
        if self._silent_bytes > MAX_HEAD_BYTES and not self._too_long:
            self._too_long = True
            self._refuse()
        elif self._awaits_head and self._timer is None and self._is_idle and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEAD_SECONDS, self._close)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._silent_bytes = 0
        self._awaits_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)  # with ": " and the end of the line
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._awaits_head = False
        if self._hot is None or not self._send_hot(self._hot):
            self._unset_keepalive_if_required()  # set by a request that came with this one and was answered at once
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._was_hot:
            self._was_hot = False
            return
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that the parser gave up on, which is also how `_count` stops it."""
        if self._too_long:
            self._refuse()
        else:
            super().send_400_response(msg)

    @property
    def _is_idle(self) -> bool:
        """No request is being carried out: whatever arrives belongs to the head of the next."""
        return self.cycle is None or self.cycle.response_complete

    def _send_hot(self, hot: HotAnswers) -> bool:
        """Answer a request whose answer is ready, unless it is not exactly the one that was answered before."""
        answer = hot.find(self.url)
        if (
            answer is None
            or self.parser.get_method() != b"GET"
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
            or not self._is_idle
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return False
        began = time.perf_counter()
        asked = read_hot_request(self.headers, answer.etag, any_origin=hot.any_origin)
        if asked is None:
            return False
        head = answer.not_modified if asked.is_known else answer.head
        more = (b"date: ", current_date(), b"\r\nx-request-id: ", asked.request_id.encode(), b"\r\n\r\n")
        self.transport.write(b"".join((head, *more)))
        if not asked.is_known:
            self.transport.write(answer.body)
        self._was_hot = True
        self.server_state.total_requests += 1
        self._unset_keepalive_if_required()  # of another request that came with this one
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        hot.note(answer, asked, seconds=time.perf_counter() - began)
        return True

    def _count(self, size: int) -> None:
        self._silent_bytes = 0
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._too_long = True
            raise ValueError("the head of the request is too long")

    def _refuse(self) -> None:
        log.warning("request.head_too_long", client=self.client[0] if self.client else "")
        self._stop_timer()
        if not self._is_idle:  # the answer to an earlier request may be half sent
            self._close()
            return
        self.transport.write(_ANSWER_HEAD + b"date: " + current_date() + _ANSWER_REST)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(_DRAIN_SECONDS, self._close)

    def _close(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _answer() -> tuple[bytes, bytes]:
    """The answer's head up to its date, and what comes after."""
    response = problem(
        431,
        f"The request's headers are too large. This server takes at most {MAX_HEAD_BYTES} bytes.",
        code="headers-too-large",
        headers={"Connection": "close"},
    )
    fields = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
    return b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + fields, b"\r\n\r\n" + bytes(response.body)


_ANSWER_HEAD, _ANSWER_REST = _answer()
