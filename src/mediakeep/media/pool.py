"""The decode processes: where files that nobody has checked are opened.

A file may crash, hang or starve its process; that costs this one job, and the next one runs.
"""

import asyncio
import heapq
import itertools
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

from pebble import ProcessExpired, ProcessPool
from pebble.common.types import CONSTS

from mediakeep import metrics
from mediakeep.errors import Unavailable, UndecodableMedia
from mediakeep.media import worker
from mediakeep.media.fork_server import Context, fork_server

if TYPE_CHECKING:  # a decode process knows nothing of settings
    from mediakeep.settings import Settings

T = TypeVar("T")

MAX_JOBS_PER_PROCESS = 500  # what a library leaks ends with its process
MAX_WAITING_RENDITIONS = 64

_log = logging.getLogger(__name__)

# A process that hangs inside a library does not hear SIGTERM: do not wait the default 3 s for it.
CONSTS.term_timeout = 0.1
# A process killed from outside while it answers leaves the others' lock closed: find out sooner than in 60 s.
CONSTS.channel_lock_timeout = 5


class Priority(IntEnum):
    """Whose turn it is: the smaller number first."""

    UPLOAD = 0
    RENDITION = 1
    MODEL = 2


def decode_process_count(settings: "Settings") -> int:
    """Decode processes of each server process: as set, else its share of the machine's cores."""
    return settings.decode_processes or max(1, (os.cpu_count() or 1) // settings.workers)


class DecodePool:
    """`processes` decode processes, each allowed `memory_bytes` beyond its start, and the line in front of them.

    Serves one event loop. `start` and `close` block for some tenths of a second (libraries load, processes end).
    """

    def __init__(
        self, *, processes: int, memory_bytes: int, max_waiting_renditions: int = MAX_WAITING_RENDITIONS
    ) -> None:
        self._processes = processes
        self._memory_bytes = memory_bytes
        self._max_waiting_renditions = max_waiting_renditions
        self._pool: Any = None  # a ProcessPool; its methods carry no types
        self._free = processes
        self._numbers = itertools.count()
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []
        self._running: set[asyncio.Future[Any]] = set()
        self._mending = threading.Lock()

    def start(self) -> None:
        """Start the processes. Call it early, before the server has many threads and connections."""
        fork_server.enter()
        self._pool = self._started_pool()

    def close(self) -> None:
        """End all processes at once; whoever waits gets `Unavailable`. Call it from the event loop's thread."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for waiter in [*self._running, *(waiter for _, _, waiter in self._waiting)]:
            if not waiter.done():
                waiter.set_exception(Unavailable("The server is shutting down."))
        pool.stop()
        pool.join()
        fork_server.leave()

    async def run(
        self,
        function: Callable[..., T],
        *args: Any,
        timeout_seconds: float,
        priority: Priority = Priority.UPLOAD,
    ) -> T:
        """What `function(*args)` returns in a decode process. `function` must be importable, paths absolute.

        A `MediakeepError` raised there arrives here. Raises `UndecodableMedia` also when the job takes longer than
        `timeout_seconds` (its waiting does not count) or its process dies, and `Unavailable` when too many renditions
        wait or the pool is closed. Cancelling the caller stops the job.
        """
        with metrics.DecodeJob() as job:
            await self._enter(priority)
            job.start()
            return await self._run(job, function, args, timeout_seconds)

    async def _run(
        self,
        job: metrics.DecodeJob,
        function: Callable[..., T],
        args: tuple[Any, ...],
        timeout_seconds: float,
    ) -> T:
        try:
            return await self._mended(function, args, timeout_seconds)
        except TimeoutError as error:
            job.outcome = "timed_out"
            raise UndecodableMedia(f"Decoding took longer than {timeout_seconds:g} s.") from error
        except ProcessExpired as error:
            job.outcome = "died"
            _log.warning("a decode process died", extra={"exit_code": error.exitcode})
            raise UndecodableMedia("The file could not be decoded: the decoder stopped.") from error
        except worker.DecoderFaultError as error:
            job.outcome = "failed"
            _log.exception("a decoder failed unexpectedly")
            raise UndecodableMedia("The file could not be decoded.") from error
        finally:
            self._leave()

    async def _mended(self, function: Callable[..., T], args: tuple[Any, ...], timeout_seconds: float) -> T:
        """Run a job; once more in new processes if all of them broke, which is not this file's fault."""
        pool = self._open_pool()
        try:
            return await self._once(pool, function, args, timeout_seconds)
        except (BrokenProcessPool, RuntimeError):
            _log.warning("the decode processes broke and are started anew")
        except ProcessExpired:
            if self._pool is pool:
                raise  # else it ended with the others when they were replaced
        await asyncio.to_thread(self._mend, pool)
        try:
            return await self._once(self._open_pool(), function, args, timeout_seconds)
        except (BrokenProcessPool, RuntimeError) as error:
            raise Unavailable("The decoders do not answer.") from error

    async def _once(
        self, pool: Any, function: Callable[..., T], args: tuple[Any, ...], timeout_seconds: float
    ) -> T:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        job: Future[T] = pool.schedule(
            worker.execute, args=(function, args, timeout_seconds), timeout=timeout_seconds
        )
        job.add_done_callback(lambda done: _hand_over(loop, done, result))
        self._running.add(result)
        try:
            return await result
        finally:
            self._running.discard(result)
            job.cancel()  # stops its process unless it is done

    def _open_pool(self) -> Any:
        if self._pool is None:
            raise Unavailable("The decoders are not running.")
        return self._pool

    def _mend(self, broken: Any) -> None:
        with self._mending:
            if self._pool is broken:
                self._pool = self._started_pool()
                broken.stop()
                broken.join()

    def _started_pool(self) -> Any:
        pool = ProcessPool(
            max_workers=self._processes,
            max_tasks=MAX_JOBS_PER_PROCESS,
            initializer=worker.lock_in,
            initargs=(self._memory_bytes,),
            context=Context(),
        )
        if not pool.active:  # asking starts it
            raise Unavailable("The decoders do not start.")
        return pool

    async def _enter(self, priority: Priority) -> None:
        """Wait for a free process; the line before pebble's own, which knows no priorities."""
        if self._free:
            self._free -= 1
            return
        self._waiting = [entry for entry in self._waiting if not entry[2].done()]
        heapq.heapify(self._waiting)
        renditions = sum(waiting is Priority.RENDITION for waiting, _, _ in self._waiting)
        if priority is Priority.RENDITION and renditions >= self._max_waiting_renditions:
            raise Unavailable("Too many pictures are waiting to be made.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was our turn just now: pass it on
            raise

    def _leave(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _hand_over(loop: asyncio.AbstractEventLoop, job: Future[T], result: asyncio.Future[T]) -> None:
    """Carry a finished job from pebble's thread to the loop, which may have ended meanwhile."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(_settle, job, result)


def _settle(job: Future[T], result: asyncio.Future[T]) -> None:
    if result.done() or job.cancelled():
        return
    error = job.exception()
    if error is not None:
        result.set_exception(error)
    else:
        result.set_result(job.result())
