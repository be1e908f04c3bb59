"""A worker whose tasks do nothing: `python -m bench.idle_worker PORT [TASKS]`, with settings from the environment.

It enqueues so many tasks itself, one after the other, or none. Whoever connects to the port is told, as JSON, when each
task was enqueued here and when it was begun, by its id, in seconds of the machine's monotonic clock, and how much CPU
the tasks took.
"""

import asyncio
import json
import random
import sys
import time
from types import SimpleNamespace
from typing import Any

import uvloop

from mediakeep.db import Database, open_database
from mediakeep.settings import load_settings
from mediakeep.tasks import enqueue, task
from mediakeep.tasks.transport import open_transport
from mediakeep.tasks.worker import Worker

NAME = "bench.idle"

#: Between two tasks, so that the worker is idle and no clock of its own is in step with them.
_PAUSES_SECONDS = (0.01, 0.06)

_enqueued: dict[int, float] = {}
_begun: dict[int, float] = {}
_cpu: list[float] = []


@task(NAME)
async def _idle(_library: Any, claimed: Any) -> None:
    _begun[claimed.id] = time.monotonic()
    _cpu.append(time.process_time())


async def enqueue_apart(database: Database, tasks: int) -> dict[int, float]:
    """Enqueue tasks in a transaction each, with pauses; returns when each commit had returned, by the task's id."""
    enqueued: dict[int, float] = {}
    for _ in range(tasks):
        await asyncio.sleep(random.uniform(*_PAUSES_SECONDS))
        async with database.write() as session:
            task_id = await enqueue(session, NAME, {})
        enqueued[task_id or 0] = time.monotonic()
    return enqueued


async def _tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    cpu_seconds = _cpu[-1] - _cpu[0] if _cpu else 0.0
    writer.write(json.dumps({"enqueued": _enqueued, "begun": _begun, "cpu_seconds": cpu_seconds}).encode())
    await writer.drain()
    writer.close()


async def main(port: int, tasks: int) -> None:
    settings = load_settings()
    library: Any = SimpleNamespace(settings=settings, database=open_database(settings))
    telling = asyncio.start_server(_tell, "127.0.0.1", port)
    async with open_transport(library) as transport, Worker(library, transport=transport), await telling:
        _enqueued.update(await enqueue_apart(library.database, tasks))
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
