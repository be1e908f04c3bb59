"""Telling those who wait, in this process, that something has settled in the outbox, whichever process recorded it."""

import asyncio
from types import TracebackType
from typing import Any, Final, Self

import structlog

from mediakeep.db import Database
from mediakeep.errors import RateLimited
from mediakeep.events.reading import Mark, find_owners, find_settled
from mediakeep.events.service import RECORDED

#: How many may wait for one user: somebody's pages, programs and what they left open.
MAX_LISTENERS: Final = 20

TOO_MANY: Final = f"You have {MAX_LISTENERS} event streams open, which is as many as one may have."

_POLL_SECONDS = 1.0
#: After news: what is settled last may wait for another transaction, which is over soon.
_SHORTEST_PAUSE_SECONDS = 0.05

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Listener:
    """Somebody who waits for events of one owner's, or of everybody's. What happened, they read for themselves.

    So it costs next to nothing to wait, and nobody has to keep what somebody else is slow to read.
    """

    def __init__(self, user_id: int, owner_id: int | None) -> None:
        self.user_id = user_id
        #: None: everybody's.
        self.owner_id = owner_id
        self.is_over = False
        self._news = asyncio.Event()

    @property
    def has_news(self) -> bool:
        return self._news.is_set()

    async def news(self, *, within: float) -> bool:
        """Wait until something may have happened since the last time, or it is over; False after so many seconds."""
        try:
            async with asyncio.timeout(within):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def tell(self) -> None:
        self._news.set()

    def end(self) -> None:
        self.is_over = True
        self._news.set()


class Watcher:
    """Looks into the outbox for all listeners of this process, while there are any and its block lasts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._happened = asyncio.Event()
        self._is_closed = False
        #: Up to where listeners have been told; None before the first look.
        self.settled: Mark | None = None

    async def __aenter__(self) -> Self:
        self._database.after_commit.append(self._on_commit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.after_commit.remove(self._on_commit)
        self.close()
        if self._looking is not None:
            await self._looking

    def join(self, user_id: int, owner_id: int | None) -> Listener:
        """A listener that is told from now on, until it leaves. Raises `RateLimited` when the user has too many."""
        if sum(one.user_id == user_id for one in self._listeners) >= MAX_LISTENERS:
            raise RateLimited(TOO_MANY, retry_after_seconds=60)
        listener = Listener(user_id, owner_id)
        if self._is_closed:
            listener.end()
            return listener
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self.settled = None
            self._looking = asyncio.create_task(self._look_while_anybody_listens())
        listener.tell()
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners:
            self._happened.set()

    def close(self) -> None:
        """End all listeners, and whoever comes later."""
        self._is_closed = True
        for listener in self._listeners:
            listener.end()
        self._happened.set()

    def _on_commit(self, info: dict[Any, Any]) -> None:
        if RECORDED in info:
            self._happened.set()

    async def _look_while_anybody_listens(self) -> None:
        pause, is_failing = _SHORTEST_PAUSE_SECONDS, False
        while self._listeners and not self._is_closed:
            self._happened.clear()
            try:
                await self._look()
                is_failing = False
            except Exception as error:  # noqa: BLE001 whatever drivers raise while the database is away
                if not is_failing:
                    _log.warning("events.cannot_be_read", error=type(error).__name__)
                pause, is_failing = _POLL_SECONDS, True
            try:
                async with asyncio.timeout(pause):
                    await self._happened.wait()
                pause = _SHORTEST_PAUSE_SECONDS
            except TimeoutError:
                pause = min(2 * pause, _POLL_SECONDS)

    async def _look(self) -> None:
        """Tell those whose events have settled since the last look; at the first one, everybody."""
        async with self._database.read() as session:
            settled = await find_settled(session)
            before = self.settled
            if before is not None and settled.place > before.place:
                owners = await find_owners(session, before.place, settled.place)
            else:
                owners = set()
        self.settled = settled
        for listener in self._listeners:
            if before is None or listener.owner_id in owners or (listener.owner_id is None and owners):
                listener.tell()
