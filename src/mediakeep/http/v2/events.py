"""`/api/v2/events`: what happens to one's things, as it happens (server-sent events, WHATWG HTML section 9.2)."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import format_sse_event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.types import Receive, Scope, Send

from mediakeep import events, metrics
from mediakeep.accounts.actor import Actor
from mediakeep.db import may_pass
from mediakeep.errors import InvalidInput, PermissionDenied, RateLimited, Unavailable
from mediakeep.events import watcher
from mediakeep.events.reading import Happened, Mark, Wanted, find_settled, read_page
from mediakeep.events.watcher import Listener, Watcher
from mediakeep.http.auth import ReadActor, find_actor, library_of
from mediakeep.http.problems import problem_responses
from mediakeep.webhooks.service import EVENT_TYPES

router = APIRouter(tags=["events"])

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS: Final = 15.0

#: What clients wait before they come back after a connection has ended.
_RETRY_MILLISECONDS = 3000

#: Whoever has read nothing of what was sent for so long is left; they go on from what they have read.
_SEND_SECONDS = 30.0

_PAGE = 200

#: After the database was away.
_PAUSE_SECONDS = 1.0

_MALFORMED: Final = "The id is not one of an event of this server."
_RESET: Final = (
    "What came after that id is not kept any more. Read what you need anew; events go on from now."
)

_EXAMPLE = """\
retry: 3000
id: 1763285400-0-41

event: asset.created
data: {"id":"1763285412-0-42","type":"asset.created","timestamp":"2025-11-16T09:30:12.345Z",\
"data":{"id":"6f1c8a52-7f0e-4b8e-9d55-0c4e1f6a2b3d","type":"image","name":"boat.png"}}
id: 1763285412-0-42

: heartbeat
id: 1763285427-0-42

"""


@router.get(
    "/api/v2/events",
    response_class=Response,
    responses={
        200: {
            "description": "A stream that goes on until either side closes it.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **problem_responses(
            PermissionDenied,
            InvalidInput,
            RateLimited,
            permission_denied="This API key may not read.",
            invalid_input=_MALFORMED,
            rate_limited=watcher.TOO_MANY,
        ),
    },
)
async def follow_events(
    request: Request,
    actor: ReadActor,
    types: Annotated[
        str | None,
        Query(
            description="Only these types, families such as `asset.*`, or `*`, with commas between them.",
            examples=["asset.*,job.completed"],
        ),
    ] = None,
    subject: Annotated[
        str | None,
        Query(
            max_length=64,
            pattern="^[0-9A-Za-z-]+$",
            description="Only what happens to the thing that has this id.",
        ),
    ] = None,
    all: Annotated[bool, Query(description="An admin's: everybody's.")] = False,  # noqa: A002 the wire's name
    last_event_id: Annotated[
        str | None,
        Query(description="As the header, for clients that cannot send it; the header goes first."),
    ] = None,
    header: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID", description="Go on after this event: nothing is lost, nothing comes twice."
        ),
    ] = None,
) -> Response:
    """Events of one's own things from now on, or after an id, for as long as the connection lasts.

    Types and `data` are those of webhooks. At most 20 streams each.
    """
    if all:
        actor.require("admin")
    wanted = Wanted(
        owner_id=None if all else actor.user_id, kinds=_kinds(types), subject=subject and subject.lower()
    )
    return _EventStream(request, actor, wanted, after=_mark(header or last_event_id))


def _kinds(given: str | None) -> Sequence[str]:
    """Raises `InvalidInput`."""
    kinds = [] if given is None else [kind.strip() for kind in given.split(",")]
    for kind in kinds:
        if kind not in EVENT_TYPES:
            raise InvalidInput(f"There is no type of event “{kind[:64]}”.", field="types")
    return kinds


def _mark(given: str | None) -> Mark | None:
    """Raises `InvalidInput`."""
    if not given:
        return None
    mark = Mark.find(given)
    if mark is None:
        raise InvalidInput(_MALFORMED, field="last_event_id")
    return mark


class _EventStream(Response):
    """Reads the outbox when there are news, from where it was: while it waits it holds nothing but its place."""

    media_type = "text/event-stream"

    def __init__(self, request: Request, actor: Actor, wanted: Wanted, *, after: Mark | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._request, self._actor, self._wanted = request, actor, wanted
        self._database = library_of(request).database
        self._watcher: Watcher = request.app.state.watcher
        self._given = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = self._watcher.join(self._actor.user_id, self._wanted.owner_id)
        try:
            opening = await self._begin()
            gone = asyncio.create_task(_end_when_gone(receive, listener))
            try:
                with _counted_as_stream(scope):
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    await self._go_on(listener, send, opening)
            except TimeoutError:
                log.info("events.reader_too_slow", user_id=self._actor.user_id)
            finally:
                gone.cancel()
        finally:
            self._watcher.leave(listener)

    async def _begin(self) -> bytes:
        """Find out where the stream begins; returns what it begins with."""
        async with self._database.read() as session:
            now = await find_settled(session)
        if self._given is None or self._given.can_be_followed(now):
            self._at = self._given or now
            return format_sse_event(id=str(self._at), retry=_RETRY_MILLISECONDS)
        self._at = now
        told = events.document("reset", datetime.fromtimestamp(now.seconds, UTC), {"detail": _RESET})
        return _frame("reset", told, now, retry=_RETRY_MILLISECONDS)

    async def _go_on(self, listener: Listener, send: Send, opening: bytes) -> None:
        """Send what happens, and a sign of life now and then, until it is over. Raises `TimeoutError` for slow readers."""
        await _send(send, opening)
        clock = asyncio.get_running_loop().time
        checked_at = clock()
        while not listener.is_over:
            if await listener.news(within=max(checked_at + HEARTBEAT_SECONDS - clock(), 0)):
                await self._tell_news(listener, send)
            if clock() >= checked_at + HEARTBEAT_SECONDS and not listener.is_over:
                if not await self._may_go_on():
                    break
                checked_at = clock()
                self._skip_what_is_not_wanted(listener)
                await _send(send, format_sse_event(comment="heartbeat", id=str(self._at)))
        await _send(send, b"", more=False)

    async def _tell_news(self, listener: Listener, send: Send) -> None:
        """Send the next page of what has happened. Where that is not all there are still news."""
        until = self._watcher.settled
        if until is None or self._at.place >= until.place:
            return
        page = await self._read(until)
        if page is None:
            await asyncio.sleep(_PAUSE_SECONDS)
            listener.tell()
            return
        if page:
            await _send(send, b"".join(_happened(one) for one in page))
        if len(page) == _PAGE:
            self._at = page[-1].mark
            listener.tell()
        else:
            self._at = until

    async def _read(self, until: Mark) -> list[Happened] | None:
        """The next events; None while the database is away."""
        try:
            async with self._database.read() as session:
                return await read_page(session, self._wanted, self._at.place, until.place, limit=_PAGE)
        except (DBAPIError, PoolTimeout, OSError) as error:
            if not may_pass(error):
                raise
            return None

    async def _may_go_on(self) -> bool:
        """Whether what the request came with is still good for what it asked."""
        try:
            actor = await find_actor(self._request)
        except Unavailable:
            return True
        needed = "read" if self._wanted.owner_id is not None else "admin"
        return actor is not None and actor.user_id == self._actor.user_id and needed in actor.scopes

    def _skip_what_is_not_wanted(self, listener: Listener) -> None:
        """Where a reader goes on after a quiet week must not be a week ago."""
        settled = self._watcher.settled
        if settled is not None and settled.place >= self._at.place and not listener.has_news:
            self._at = settled


async def _end_when_gone(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end()


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(_SEND_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": more})


@contextmanager
def _counted_as_stream(scope: Scope) -> Iterator[None]:
    """As long as a stream lasts it is no request in progress, and how long it lasts is not how long its answer took."""
    scope["streams_from"] = time.perf_counter()
    metrics.REQUESTS_IN_PROGRESS.add(-1)
    metrics.EVENT_STREAMS.add(1)
    try:
        yield
    finally:
        metrics.REQUESTS_IN_PROGRESS.add(1)
        metrics.EVENT_STREAMS.add(-1)


def _happened(one: Happened) -> bytes:
    told = events.document(one.kind, one.created_at, {"id": one.subject, **one.data})
    return _frame(one.kind, told, one.mark)


def _frame(kind: str, told: dict[str, Any], mark: Mark, *, retry: int | None = None) -> bytes:
    # In ASCII: some clients take for the end of a line what Unicode calls one.
    data = json.dumps({"id": str(mark), **told}, separators=(",", ":"))
    return format_sse_event(event=kind, data_str=data, id=str(mark), retry=retry)
