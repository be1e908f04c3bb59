"""A process for `test_kill.py` that claims a task and never ends it: `python -m tests.tasks.stuck_worker DATA MARK URL`."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

from mediakeep.db import open_database
from mediakeep.settings import Settings
from mediakeep.tasks import task
from mediakeep.tasks.worker import Worker

_data, _mark, _database_url = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]


@task("work", lease_seconds=1)
async def work(library, job):
    await asyncio.to_thread(_mark.touch)
    await asyncio.Event().wait()


async def main():
    settings = Settings(data=_data, database_url=_database_url, secret_key="-" * 32)
    await Worker(SimpleNamespace(settings=settings, database=open_database(settings))).run()


if __name__ == "__main__":
    asyncio.run(main())
