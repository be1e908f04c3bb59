import asyncio
import sys

import pytest

from mediakeep.tasks import enqueue, task
from mediakeep.tasks.worker import Worker


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_the_task_of_a_killed_process_is_taken_over(library, tmp_path, until, eventually):
    attempts = []

    @task("work", lease_seconds=1)
    async def work(library, job):
        attempts.append(job.attempt)

    async with library.database.write() as session:
        await enqueue(session, "work", {})
    mark = tmp_path / "mark"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tasks.stuck_worker", tmp_path, mark
    )
    try:
        await eventually(mark.exists)
        async with Worker(library):
            await asyncio.sleep(1.5)
            assert attempts == []  # the other one lives, and renews its lease
            process.kill()
            await process.wait()
            await until(lambda rows: not rows)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert attempts == [2]
