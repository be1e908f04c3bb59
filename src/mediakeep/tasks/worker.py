"""Running tasks: claims what is due, keeps the leases of what runs, and writes how it ended.

Works inside a server process or alone; any number of processes may share one database. A worker outlives whatever
its database or its tasks do.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.contextvars import bound_contextvars

from mediakeep import metrics
from mediakeep.errors import MediakeepError
from mediakeep.library import Library
from mediakeep.logs import hide_secrets
from mediakeep.tasks import leases, line
from mediakeep.tasks.registry import Again, Claimed, GiveUp, LeaseLost, registered_tasks
from mediakeep.tasks.schedule import enqueue_slots
from mediakeep.tasks.service import WORK_WAITS
from mediakeep.tasks.transport import Transport, stop

_POLL_SECONDS = 1.0
_SHORTEST_PAUSE_SECONDS = 0.05
_SCHEDULE_SECONDS = 10.0
_LONGEST_BACK_OFF_SECONDS = 3600.0
#: How long a cancelled step may take to end; its lease is given back only after it has.
_LAST_SECONDS = 2.0

#: One claim in so many goes to another priority than the first in line, so that none waits for ever.
_CLAIMS_IN_A_ROUND = 8

_TOO_LATE = "its deadline has passed"

#: Writes how a step ended and says whether the claim still stood; or "done", which is written together with others.
_Writer = Callable[[AsyncSession, Claimed], Awaitable[bool]]
_Ending = _Writer | Literal["done"]

#: What the metrics call the endings.
_OUTCOMES: dict[object, str] = {
    "done": "done",
    leases.postpone: "postponed",
    leases.put_off: "failed",
    leases.bury: "dead",
    leases.give_back: "given_back",
    None: "lost",
}

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Worker:
    """Runs tasks while its block lasts; then lets running ones end for `grace_seconds` and gives back the others.

    It hears at once of what this process enqueues and, given a `transport`, of what others do.
    """

    def __init__(
        self, library: Library, *, transport: Transport | None = None, grace_seconds: float = 5.0
    ) -> None:
        self._library = library
        self._transport = transport
        self._database = library.database
        self._tasks = registered_tasks()
        self._grace_seconds = grace_seconds
        self._running: set[asyncio.Task[None]] = set()
        self._finished: list[Claimed] = []
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._halt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unknown: set[str] = set()
        self._admit_at = 0.0  # on the loop's clock
        self._claims = 0
        self._after = leases.BEFORE_ALL

    async def run(self) -> None:
        """Run tasks until cancelled."""
        async with self:
            await asyncio.Event().wait()

    async def __aenter__(self) -> Self:
        self._database.after_commit.append(self._on_commit)
        self._loops = {asyncio.create_task(self._dispatch()), asyncio.create_task(self._keep_schedule())}
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.after_commit.remove(self._on_commit)
        self._stopping.set()
        await stop(self._listening)
        if self._running:
            await asyncio.wait(self._running, timeout=self._grace_seconds)
        self._halt.set_result(None)  # cancels the others' steps
        await _end(self._running, within=2 * _LAST_SECONDS)
        self._news.set()
        await _end(self._loops, within=2 * _LAST_SECONDS)

    async def drain(self) -> int:
        """Run what is due, and what becomes due by it, until nothing is; returns the number of steps."""
        steps = 0
        while True:
            self._news.clear()
            is_idle = not self._running and not self._finished
            await self._admit()
            started = await self._settle()
            if is_idle and not started:
                return steps
            steps += started
            if self._running:
                await self._news.wait()

    async def _listen(self) -> None:
        if self._transport:
            await self._transport.listen(self._news.set)

    def _on_commit(self, info: dict[Any, Any]) -> None:
        if WORK_WAITS in info:
            self._news.set()

    async def _dispatch(self) -> None:
        is_news, is_failing = True, False
        while not self._is_over():
            self._news.clear()
            try:
                pause = await self._look(is_news=is_news)
                is_failing = False
            except Exception as error:  # noqa: BLE001 whatever drivers raise while the database is away
                if not is_failing:
                    _log.warning("tasks cannot be claimed", error=describe(error))
                pause, is_failing = _POLL_SECONDS, True
            is_news = not self._is_over() and await _happens(self._news, within=pause)

    def _is_over(self) -> bool:
        return self._stopping.is_set() and not self._running and not self._finished

    async def _look(self, *, is_news: bool) -> float:
        """Start what is due; returns how long to wait unless there are news.

        Without news a read tells first whether it is worth opening a write transaction.
        """
        due_in = 0.0 if is_news or self._finished else await self._due_in()
        if due_in <= 0:
            if self._clock() >= self._admit_at:
                await self._admit()
            await self._settle()
            if not self._room():
                return _POLL_SECONDS
            due_in = await self._due_in()
        return max(due_in, _SHORTEST_PAUSE_SECONDS)

    async def _due_in(self) -> float:
        async with self._database.read() as session:
            seconds = await leases.due_in(session, self._tasks)
        pause = _POLL_SECONDS if seconds is None else min(seconds, _POLL_SECONDS)
        self._admit_at = self._clock() + pause
        return pause

    async def _admit(self) -> None:
        """Have everything take its turn whose time has come; in several commits, so that others can write between."""
        admitted = line.CHUNK
        while admitted == line.CHUNK:
            async with self._database.write() as session:
                admitted = await line.admit(session)
        self._admit_at = self._clock() + _POLL_SECONDS

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    async def _settle(self) -> int:
        """Write which tasks are done and claim as many as there is room for, in one commit; returns how many started."""
        done, room = self._finished.copy(), self._room()
        if not done and not room:
            return 0
        async with self._database.write() as session:
            connection = await session.connection()  # nothing here needs what a session adds
            finished = await leases.finish(connection, done)
            claims = await self._claim(connection, room) if room else []
        del self._finished[: len(done)]
        for lost in (claimed for claimed in done if claimed.id not in finished):
            _log.warning("task lost its lease", task=lost.name, task_id=lost.id)
        for claimed in claims:
            running = asyncio.create_task(self._run(claimed))
            self._running.add(running)
            running.add_done_callback(self._ended)
        return len(claims)

    async def _claim(self, session: leases.Executes, room: int) -> list[Claimed]:
        self._claims += 1
        if self._claims % _CLAIMS_IN_A_ROUND:
            return await leases.claim(session, self._tasks, limit=room)
        claims = await leases.claim(session, self._tasks, limit=1, after=self._after)
        self._after = claims[0].priority if claims else leases.BEFORE_ALL
        if len(claims) < room:
            claims += await leases.claim(session, self._tasks, limit=room - len(claims))
        return claims

    def _room(self) -> int:
        return 0 if self._stopping.is_set() else self._library.settings.task_concurrency - len(self._running)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._news.set()

    async def _run(self, claimed: Claimed) -> None:
        with bound_contextvars(task=claimed.name, task_id=claimed.id):
            ending: _Ending | None
            if claimed.attempt > claimed.max_attempts:
                ending = _buried(claimed, "whatever ran it was killed each time")
            elif claimed.seconds_left is not None and claimed.seconds_left <= 0:
                ending = _buried(claimed, _TOO_LATE)
            else:
                ending = await self._perform(claimed)
            metrics.TASK_STEPS.inc(claimed.name, _OUTCOMES[getattr(ending, "func", ending)])
            if ending == "done":
                self._finished.append(claimed)
            elif ending is not None:
                await self._write(claimed, ending)

    async def _perform(self, claimed: Claimed) -> _Ending | None:
        """Run one step while its lease and its time last; returns what to write about it."""
        began_at = self._clock()
        step = asyncio.ensure_future(self._tasks[claimed.name].step(self._library, claimed))
        try:
            await self._wait_for(step, within=_least(claimed.lease_seconds / 3, claimed.seconds_left))
            if step.done():  # as most are, before there is a lease to renew
                return _ending(claimed, step)
            return await self._see_through(claimed, step, began_at)
        finally:
            step.cancel()

    async def _see_through(
        self, claimed: Claimed, step: asyncio.Future[Again | None], began_at: float
    ) -> _Ending | None:
        left = None if claimed.seconds_left is None else claimed.seconds_left - (self._clock() - began_at)
        lost = asyncio.create_task(self._keep_lease(claimed, held_until=began_at + claimed.lease_seconds))
        try:
            await self._wait_for(step, lost, within=left)
            if step.done():
                return _ending(claimed, step)
            step.cancel()
            await asyncio.wait({step}, timeout=_LAST_SECONDS)
            return self._ending_of_interrupted(claimed, step, is_lost=lost.done())
        finally:
            lost.cancel()
            await asyncio.wait({lost})

    async def _wait_for(self, *ends: asyncio.Future[Any], within: float | None) -> None:
        """Return when one of them ends, the time is over, or running steps are to stop."""
        await asyncio.wait({*ends, self._halt}, timeout=within, return_when=asyncio.FIRST_COMPLETED)

    def _ending_of_interrupted(
        self, claimed: Claimed, step: asyncio.Future[Again | None], *, is_lost: bool
    ) -> _Ending | None:
        if step.done() and not step.cancelled() and not step.exception():
            return _ending(claimed, step)  # it was just about to end
        if is_lost:
            _log.warning("task lost its lease")
            return None
        if self._halt.done():
            return leases.give_back if step.done() else None  # else its lease must run out first
        return _buried(claimed, _TOO_LATE)

    async def _keep_lease(self, claimed: Claimed, *, held_until: float) -> None:
        """Renew the lease until it is lost."""
        while (asked_at := self._clock()) < held_until:
            try:
                async with asyncio.timeout_at(held_until), self._database.write() as session:
                    is_held = await leases.renew(session, claimed)
            except Exception as error:  # noqa: BLE001 whatever drivers raise while the database is away
                _log.warning("lease cannot be renewed", error=describe(error))
            else:
                if not is_held:
                    return
                held_until = asked_at + claimed.lease_seconds
            await asyncio.sleep(min(claimed.lease_seconds / 3, held_until - self._clock()))

    async def _write(self, claimed: Claimed, ending: _Writer) -> None:
        """Write how a step ended, if need be again and again while its lease lasts."""
        clock = asyncio.get_running_loop().time
        held_until = clock() + claimed.lease_seconds
        while clock() < held_until:
            try:
                async with self._database.write() as session:
                    if not await ending(session, claimed):
                        _log.warning("task lost its lease")
            except Exception as error:  # noqa: BLE001 whatever drivers raise while the database is away
                _log.warning("end of a task cannot be written", error=describe(error))
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return

    async def _keep_schedule(self) -> None:
        while not self._stopping.is_set():
            pause = _SCHEDULE_SECONDS
            try:
                until_next = await enqueue_slots(self._database, self._library.settings, self._tasks.values())
                pause = min(max(until_next, _SHORTEST_PAUSE_SECONDS), _SCHEDULE_SECONDS)
                await self._report_unknown()
            except Exception as error:  # noqa: BLE001 whatever drivers raise while the database is away
                _log.warning("periodic tasks cannot be enqueued", error=describe(error))
            await _happens(self._stopping, within=pause)

    async def _report_unknown(self) -> None:
        """Log, once each, names that only another version of the program knows; their tasks wait for it."""
        async with self._database.read() as session:
            names = await leases.unknown_names(session, self._tasks)
        for name in names:
            if name not in self._unknown:
                self._unknown.add(name)
                _log.warning("nobody here knows this task", unknown=name)


async def drain(library: Library) -> int:
    """Run what is due, and what becomes due by it, until nothing is; returns the number of steps. For tests."""
    return await Worker(library).drain()


def describe(error: BaseException) -> str:
    """One line about an error, without secrets, to be logged and kept."""
    first_line = str(error).strip().partition("\n")[0]
    line = (
        first_line
        if isinstance(error, GiveUp)
        else f"{type(error).__name__}: {first_line}".removesuffix(": ")
    )
    return str(hide_secrets(None, "", {"error": line})["error"])[:500]


def back_off_seconds(attempt: int) -> float:
    """Doubles with each attempt up to an hour, and strays by half so that not all come back at once."""
    return min(2.0**attempt, _LONGEST_BACK_OFF_SECONDS) * random.uniform(0.5, 1.5)  # noqa: S311 no secret


def _least(seconds: float, other: float | None) -> float:
    return seconds if other is None else min(seconds, other)


def _ending(claimed: Claimed, step: asyncio.Future[Again | None]) -> _Ending | None:
    """What to write about a step that ended by itself."""
    error = asyncio.CancelledError("cancelled itself") if step.cancelled() else step.exception()
    if error:
        return _failed(claimed, error)
    result = step.result()
    if result is None:
        return "done"
    return partial(leases.postpone, seconds=result.after_seconds, state=result.state)


def _failed(claimed: Claimed, error: BaseException) -> _Ending | None:
    if isinstance(error, LeaseLost):
        _log.warning("task lost its lease")
        return None
    if isinstance(error, GiveUp) or claimed.attempt >= claimed.max_attempts:
        return _buried(claimed, describe(error), traceback_of=error)
    seconds = back_off_seconds(claimed.attempt)
    _log.warning(
        "task failed",
        attempt=claimed.attempt,
        again_in_seconds=round(seconds),
        error=describe(error),
        exc_info=_traceback(error),
    )
    return partial(leases.put_off, seconds=seconds, error=describe(error))


def _buried(claimed: Claimed, reason: str, *, traceback_of: BaseException | None = None) -> _Ending:
    _log.error("task is dead", attempt=claimed.attempt, error=reason, exc_info=_traceback(traceback_of))
    return partial(leases.bury, error=reason)


def _traceback(error: BaseException | None) -> BaseException | None:
    """The error if its traceback is of interest: expected ones say all in their sentence."""
    return None if isinstance(error, MediakeepError | GiveUp) else error


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _end(tasks: set[asyncio.Task[None]], *, within: float) -> None:
    """Wait for the tasks to end, and cancel those that do not."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=within)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
