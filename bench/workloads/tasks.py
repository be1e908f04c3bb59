"""B9: tasks a second, and how long one waits that nothing is in the way of."""

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench import tree
from bench.idle_worker import NAME, enqueue_apart
from bench.processes import SubjectFailed, free_port, started
from bench.references import commits
from bench.registry import Options, Outcome, Row, Workload, register
from bench.rounds import fresh_folder
from bench.subjects import run_command

_TASKS = 4000
_DELAYS = 200

#: Before the others, until everything is connected to what it needs: of those that are enqueued one after the other, and
#: of those that wait in a row.
_WARM = 20
_WARM_IN_A_ROW = 500

#: As many as a process runs at a time, so that there are as many in each commit.
_AT_ONCE = 4

_AT_LEAST = 0.5
_MOST_MS = 50.0

#: A commit is on disk when it returns.
_POSTGRESQL = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on"}

_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A library that is empty but for its schema, and the settings of the processes on it."""

    folder: Path
    settings: Mapping[str, str]

    @property
    def url(self) -> str:
        return self.settings.get("MEDIAKEEP_DATABASE_URL", "")


#: Makes an empty library in a folder.
_Make = Callable[[Path], _Place]


@dataclass(frozen=True, kw_only=True)
class _Rate:
    """Tasks a second of ours and of the reference's, and our CPU seconds for a task."""

    ours: float
    reference: float
    cpu: float


def _tasks(options: Options) -> Outcome:
    from tests.servers.postgres import running_postgres
    from tests.servers.redis import running_redis

    tasks, delays = round(_TASKS * options.scale), round(_DELAYS * options.scale)
    busy, own, began = tree.machine_cpu_seconds(), tree.family_cpu_seconds(os.getpid()), time.perf_counter()
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres(_POSTGRESQL, parent=Path(tempfile.gettempdir())))
        redis = stack.enter_context(running_redis())
        numbers = iter(range(1000))

        def on_postgresql(folder: Path) -> _Place:
            url = postgres.create_database(f"b9_{next(numbers)}")
            return _place(
                folder, {"MEDIAKEEP_DATABASE_URL": url, "MEDIAKEEP_SECRET_KEY": "only for measuring " * 3}
            )

        def with_redis(folder: Path) -> _Place:
            place = on_postgresql(folder)
            return _Place(folder=folder, settings={**place.settings, "MEDIAKEEP_REDIS_URL": redis.url})

        engines = {"SQLite": lambda folder: _place(folder, {}), "PostgreSQL": on_postgresql}
        rates = _all_rates(options, engines, tasks)
        rows = [_rate_row(engine, found) for engine, found in rates.items()]
        for engine, make in engines.items():
            rows.append(_delay_row(f"embedded, {engine}", _delays_of(options, make, _embedded, delays)))
        apart = _delays_of(options, with_redis, _apart, delays)
        rows.append(_delay_row("another process, PostgreSQL and Redis", apart))
        looking = _delays_of(options, on_postgresql, _apart, delays)
        rows.append(_delay_row("another process, PostgreSQL without Redis", looking, has_bar=False))
    busy, own = tree.machine_cpu_seconds() - busy, tree.family_cpu_seconds(os.getpid()) - own
    return Outcome(rows=rows, others=max(0.0, busy - own) / (time.perf_counter() - began))


def _place(folder: Path, settings: Mapping[str, str]) -> _Place:
    place = _Place(folder=folder, settings={"MEDIAKEEP_DATA": str(folder / "data"), **settings})
    run_command(place.settings, "migrate")
    return place


# Tasks a second


def _all_rates(options: Options, engines: Mapping[str, _Make], tasks: int) -> dict[str, list[_Rate]]:
    rates: dict[str, list[_Rate]] = {engine: [] for engine in engines}
    for number in range(1, options.rounds + 1):
        for engine, make in engines.items():
            with fresh_folder(options.folder) as folder:
                found = _rate(make(folder), tasks)
            rates[engine].append(found)
            print(
                f"  round {number} {engine:10} {found.ours:7.0f}/s, bare loop {found.reference:7.0f}/s, "
                f"{found.cpu * 1000:.3f} CPU ms",
                file=sys.stderr,
                flush=True,
            )
    return rates


def _rate(place: _Place, tasks: int) -> _Rate:
    all_tasks = _WARM_IN_A_ROW + tasks
    asyncio.run(_enqueue(place, all_tasks))
    with _worker(place) as ask:
        told = _wait_for(ask, all_tasks)
    begun = sorted(told["begun"].values())[_WARM_IN_A_ROW:]
    ids = asyncio.run(_enqueue(place, tasks))
    if place.url:
        reference = commits.on_postgresql(place.url, ids, at_once=_AT_ONCE)
    else:
        reference = commits.on_sqlite(place.folder / "data" / "mediakeep.db", ids, at_once=_AT_ONCE)
    return _Rate(
        ours=(tasks - 1) / (begun[-1] - begun[0]),
        reference=tasks / reference,
        cpu=told["cpu_seconds"] / all_tasks,
    )


async def _enqueue(place: _Place, tasks: int) -> list[int]:
    from mediakeep.tasks import enqueue

    async with _database(place) as library, library.database.write() as session:
        return [await enqueue(session, NAME, {}) or 0 for _ in range(tasks)]


def _rate_row(engine: str, rates: list[_Rate]) -> Row:
    ours, reference = (
        statistics.median(values)
        for values in zip(*((one.ours, one.reference) for one in rates), strict=True)
    )
    ratio = statistics.median(one.ours / one.reference for one in rates)
    return Row(
        workload="B9",
        measured=f"tasks a second, {engine}",
        ours=f"{ours:,.0f}/s",
        reference=f"bare loop {reference:,.0f}/s",
        ratio=f"{ratio:.2f}",
        bar=f"≥ {_AT_LEAST:g} × bare loop",
        is_met=ratio >= _AT_LEAST,
        cpu=f"{statistics.median(one.cpu for one in rates) * 1000:.2f} ms",
    )


# The delay from commit to start


def _delays_of(
    options: Options, make: _Make, measure: Callable[[_Place, int], list[float]], tasks: int
) -> list[float]:
    """Milliseconds of each task of all rounds."""
    delays: list[float] = []
    for _ in range(options.rounds):
        with fresh_folder(options.folder) as folder:
            delays += [seconds * 1000 for seconds in measure(make(folder), tasks)]
    return delays


def _embedded(place: _Place, tasks: int) -> list[float]:
    """Of tasks that the worker's own process enqueues."""
    with _worker(place, str(_WARM + tasks)) as ask:
        told = _wait_for(ask, _WARM + tasks)
    return _delays_between(told["enqueued"], told["begun"])


def _apart(place: _Place, tasks: int) -> list[float]:
    """Of tasks that this process enqueues."""
    with _worker(place) as ask:
        enqueued = asyncio.run(_enqueue_apart(place, _WARM + tasks))
        told = _wait_for(ask, _WARM + tasks)
    return _delays_between({str(task_id): at for task_id, at in enqueued.items()}, told["begun"])


async def _enqueue_apart(place: _Place, tasks: int) -> dict[int, float]:
    from mediakeep.tasks.transport import open_transport

    async with _database(place) as library, open_transport(library):
        return await enqueue_apart(library.database, tasks)


def _delays_between(enqueued: Mapping[str, float], begun: Mapping[str, float]) -> list[float]:
    # One that begins before its commit has returned here has not waited.
    return [max(0.0, begun[task_id] - at) for task_id, at in list(enqueued.items())[_WARM:]]


def _delay_row(measured: str, delays: list[float], *, has_bar: bool = True) -> Row:
    median, late = statistics.median(delays), statistics.quantiles(delays, n=20)[-1]
    return Row(
        workload="B9",
        measured=f"from commit to start, {measured}",
        ours=f"{median:.1f} ms, 95 % within {late:.1f} ms",
        reference="",
        bar=f"≤ {_MOST_MS:g} ms" if has_bar else "",
        is_met=median <= _MOST_MS if has_bar else None,
    )


# Processes


@contextmanager
def _worker(place: _Place, *arguments: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """A worker process of tasks that do nothing; gives a function that asks it what it has done."""
    port = free_port()

    def ask() -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            told: dict[str, Any] = json.loads(b"".join(iter(lambda: connection.recv(1 << 20), b"")))
        return told

    command = [sys.executable, "-m", "bench.idle_worker", str(port), *arguments]
    with started(command, place.settings, place.folder, port):
        yield ask


def _wait_for(ask: Callable[[], dict[str, Any]], tasks: int) -> dict[str, Any]:
    """What it tells once all of its tasks have begun."""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        told = ask()
        if len(told["begun"]) >= tasks and len(told["enqueued"]) in {0, tasks}:
            return told
        time.sleep(0.2)
    raise SubjectFailed(f"only {len(told['begun'])} of {tasks} tasks have begun")


class _database:  # noqa: N801 used like a function
    """The library's database, with its settings, for the block."""

    def __init__(self, place: _Place) -> None:
        self._place = place

    async def __aenter__(self) -> Any:  # the parts of a `Library` that tasks use
        from mediakeep.db import open_database
        from mediakeep.settings import Settings

        given = {
            name.removeprefix("MEDIAKEEP_").lower(): value for name, value in self._place.settings.items()
        }
        settings = Settings(**given)  # type: ignore[arg-type]
        self._library = SimpleNamespace(settings=settings, database=open_database(settings))
        return self._library

    async def __aexit__(self, *_: object) -> None:
        await self._library.database.close()


register(
    Workload(
        name="B9",
        title=f"{_TASKS:,} tasks that do nothing, {_AT_ONCE} at a time; and {_DELAYS} one after the other",
        run=_tasks,
    )
)
