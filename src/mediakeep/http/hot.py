"""Whole answers that the connection's own code can send: small public files that are asked for again and again.

For a second after an address was answered from memory, the same request needs no task, no layers and no headers to be
built: that is several times what sending the bytes costs. Whatever is not exactly that goes the ordinary way.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import Scope

from mediakeep.http.request_ids import new_request_id, request_id_from
from mediakeep.logs import log_request
from mediakeep.metrics import RequestMetrics, request_metrics

_MOST_KEPT = 4096

#: One body takes at most this share, and an address so many bytes: anybody may add to it what he likes.
_LARGEST_SHARE = 32
_LONGEST_TARGET = 1024

#: What an answer takes besides its body and its address: two heads, and their object.
_HEADS_BYTES = 2048

#: A request with one of these is not exactly what was answered before.
_SPECIAL = frozenset(
    {
        b"content-length",
        b"expect",
        b"if-match",
        b"if-modified-since",
        b"if-range",
        b"if-unmodified-since",
        b"range",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: What changes a detail of the answer.
_TOLD = frozenset({b"if-none-match", b"origin", b"x-request-id"})


@dataclass(frozen=True, slots=True)
class HotRequest:
    """What a request that is exactly the one before may say besides."""

    request_id: str
    #: Whether the client has the very bytes already.
    is_known: bool


def read_hot_request(
    headers: Sequence[tuple[bytes, bytes]], etag: bytes, *, any_origin: bool
) -> HotRequest | None:
    """What the headers say; None where they ask for another answer, or one that takes more thought."""
    names = {name for name, _ in headers}
    if not names.isdisjoint(_SPECIAL):
        return None
    if names.isdisjoint(_TOLD):
        return HotRequest(request_id=new_request_id(), is_known=False)
    given = dict(reversed(headers))  # of several lines the first, as elsewhere
    if sum(name == b"if-none-match" for name, _ in headers) > 1:
        return None
    if b"origin" in given and not any_origin:
        return None
    if b"if-none-match" in given and given[b"if-none-match"] != etag:
        return None
    return HotRequest(
        request_id=request_id_from(given.get(b"x-request-id", b"").decode("latin-1")),
        is_known=b"if-none-match" in given,
    )


@dataclass(frozen=True, slots=True)
class HotAnswer:
    """The bytes of an answer but for its date and its request's id; `not_modified` is the head of the 304."""

    head: bytes
    not_modified: bytes
    body: bytes
    etag: bytes
    path: str
    good_until: float
    metrics: RequestMetrics
    not_modified_metrics: RequestMetrics


class HotAnswers:
    """The answers by the target of their request, as it stands in the request line; up to `max_bytes` in all.

    `common` are headers of every answer that has none of its own; `any_origin` says whether they are the same whatever
    page asks.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        common: Sequence[tuple[str, str]],
        any_origin: bool,
    ) -> None:
        self._kept: OrderedDict[bytes, HotAnswer] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._common = [(name.encode(), value.encode()) for name, value in common]
        self.any_origin = any_origin

    def keep(
        self,
        scope: Scope,
        headers: Sequence[tuple[bytes, bytes]],
        validators: Sequence[tuple[bytes, bytes]],
        body: bytes,
        etag: str,
        good_until: float,
    ) -> None:
        """Answer what `scope` asks for with these headers and this body until `good_until` (`time.monotonic`)."""
        if good_until <= time.monotonic() or scope["method"] != "GET":
            return
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self._drop(target)
        if len(body) > self._max_bytes // _LARGEST_SHARE or len(target) > _LONGEST_TARGET:
            return
        self._bytes += _size(target, body)
        while self._kept and (len(self._kept) >= _MOST_KEPT or self._bytes > self._max_bytes):
            self._drop(next(iter(self._kept)))
        route = getattr(scope.get("route"), "path", "")
        self._kept[target] = HotAnswer(
            head=b"HTTP/1.1 200 OK\r\n" + self._completed(headers),
            not_modified=b"HTTP/1.1 304 Not Modified\r\n" + self._completed(validators),
            body=body,
            etag=etag.encode(),
            path=scope["path"],
            good_until=good_until,
            metrics=request_metrics("GET", route, 200),
            not_modified_metrics=request_metrics("GET", route, 304),
        )

    def find(self, target: bytes) -> HotAnswer | None:
        found = self._kept.get(target)
        if found is None or found.good_until > time.monotonic():
            return found
        self._drop(target)
        return None

    def note(self, answer: HotAnswer, asked: HotRequest, *, seconds: float) -> None:
        """Log and count what was sent."""
        if asked.is_known:
            answer.not_modified_metrics.observe(seconds, 0)
        else:
            answer.metrics.observe(seconds, len(answer.body))
        status = 304 if asked.is_known else 200
        log_request("GET", answer.path, status, seconds, request_id=asked.request_id)

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0

    def _completed(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        names = {name for name, _ in headers}
        return _lines([*headers, *(header for header in self._common if header[0] not in names)])

    def _drop(self, target: bytes) -> None:
        if old := self._kept.pop(target, None):
            self._bytes -= _size(target, old.body)


def _size(target: bytes, body: bytes) -> int:
    return _HEADS_BYTES + len(target) + len(body)


def _lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)
