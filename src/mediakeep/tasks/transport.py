"""Word of new tasks, from the process that enqueued them to all that run tasks, over Redis.

Only a nudge, which carries ids: the table is the truth, and every worker looks at it once a second anyway. So nothing
waits for Redis, and a message that is lost, doubled or late does not matter. It is published rather than queued:
nothing piles up while nobody listens, and none is stuck with a worker that is busy.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import structlog

from mediakeep.library import Library
from mediakeep.tasks.service import WORK_WAITS

if TYPE_CHECKING:
    from taskiq_redis import PubSubBroker

_CHANNEL = "mediakeep.tasks"
_NAME = "mediakeep.tasks.wait"

#: Ids in one message. Whoever hears of these looks for more by itself.
_MOST_IDS = 64

_PAUSE_SECONDS = 1.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Transport:
    """Tells the other processes what this one enqueues, while its block lasts, and hears what they do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._me = secrets.token_hex(8)
        self._untold: list[int] = []
        self._has_news = asyncio.Event()
        self._is_away = False
        self._is_closing = False

    async def __aenter__(self) -> Self:
        self._broker = self._open_broker()
        self._wait = self._broker.register_task(_wait, task_name=_NAME)
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closing = True
        self._has_news.set()
        await asyncio.wait({self._sending}, timeout=_PAUSE_SECONDS)  # what was just committed is still told
        await stop(self._sending)
        await self._broker.shutdown()

    def tell(self, info: dict[Any, Any]) -> None:
        """Tell of the tasks that a transaction leaves, given its session's `info`, as soon as Redis takes it."""
        if task_ids := info.get(WORK_WAITS):
            self._untold = [*self._untold, *task_ids][-_MOST_IDS:]
            self._has_news.set()

    async def listen(self, hear: Callable[[], None]) -> None:
        """Call `hear` whenever another process tells of tasks; until cancelled, whatever becomes of Redis."""
        while True:
            # A new one each time: what fails while it listens does not give its connection back.
            broker = self._open_broker()
            try:
                await _ping(broker)
                self._note(None)
                async with aclosing(broker.listen()) as messages:
                    async for message in messages:
                        if self._is_of_another(message):
                            hear()
            except Exception as error:  # noqa: BLE001 whatever its client raises while Redis is away
                self._note(error)
            finally:
                await broker.shutdown()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def check(self) -> None:
        """Answer whether Redis does. Raises what its client raises."""
        await _ping(self._broker)

    async def _send(self) -> None:
        while not self._is_closing or self._untold:
            await self._has_news.wait()
            self._has_news.clear()
            if not self._untold:
                continue
            task_ids, self._untold = self._untold, []
            try:
                await self._wait.kiq(task_ids, self._me)
            except Exception as error:  # noqa: BLE001 whatever its client raises while Redis is away
                self._note(error)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._note(None)

    def _is_of_another(self, message: bytes) -> bool:
        try:
            _, sender = self._broker.formatter.loads(message).args
        except (ValueError, TypeError):
            return False  # whoever else publishes there
        return bool(sender != self._me)

    def _note(self, error: BaseException | None) -> None:
        """Log once that Redis is away, and once that it is back."""
        if error and not self._is_away:
            _log.warning("redis is away; tasks start within a second", error=str(error.__cause__ or error))
        elif self._is_away and not error:
            _log.info("redis is back")
        self._is_away = error is not None

    def _open_broker(self) -> "PubSubBroker":
        # Only who has a Redis waits for these to be imported.
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from taskiq_redis import PubSubBroker

        # One more attempt finds out whether only the connection is gone.
        return PubSubBroker(self._url, queue_name=_CHANNEL, retry=Retry(NoBackoff(), 1))


async def stop(work: asyncio.Task[None]) -> None:
    """Cancel what speaks to Redis until it ends: its client overlooks one that comes just as it has connected."""
    while not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=0.1)


async def _wait(task_ids: list[int], sender: str) -> None:
    """What the messages say; nobody calls it, since workers claim what is first in line."""


async def _ping(broker: "PubSubBroker") -> None:
    from redis.asyncio import Redis

    await Redis(connection_pool=broker.connection_pool).ping()


@asynccontextmanager
async def open_transport(library: Library) -> AsyncIterator[Transport | None]:
    """Tell of this library's tasks while the block lasts, if the settings name a Redis."""
    if not library.settings.redis_url:
        yield None
        return
    async with Transport(library.settings.redis_url) as transport:
        library.database.after_commit.append(transport.tell)
        try:
            yield transport
        finally:
            library.database.after_commit.remove(transport.tell)
