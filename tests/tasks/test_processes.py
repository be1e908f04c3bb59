"""`mediakeep worker`, as real processes: side by side, killed and stopped, with and without Redis."""

import asyncio
import time

import pytest

from mediakeep.db import open_database
from mediakeep.settings import Settings
from mediakeep.tasks import enqueue
from tests.processes import SECRET, Installation, Process

NAME = "files.delete_bytes"


@pytest.fixture
def installation(settings, tmp_path):
    """A library with its schema and no process."""
    made = Installation(tmp_path, database_url=settings.database_url)
    assert made.run("migrate").returncode == 0
    yield made
    made.stop()


@pytest.fixture
def put(installation, settings):
    """Enqueues tasks that have nothing to do."""
    given = Settings(data=installation.data, database_url=settings.database_url, secret_key=SECRET)

    async def enqueue_all(count):
        database = open_database(given)
        async with database.write() as session:
            for number in range(count):
                await enqueue(session, NAME, {"key": f"none/{number}", "public_id": "none"})
        await database.close()

    return lambda count: asyncio.run(enqueue_all(count))


def wait_until_done(installation):
    deadline = time.monotonic() + 60
    while rows := installation.query(f"SELECT status, last_error FROM tasks WHERE name = '{NAME}'"):
        assert time.monotonic() < deadline, rows
        time.sleep(0.02)


def test_workers_side_by_side_outlive_a_kill_and_stop_when_they_are_told(installation, put, redis_server):
    workers = [installation.work(REDIS_URL=redis_server.url) for _ in range(2)]
    for worker in workers:
        worker.wait_for("worker.started")
    put(20)
    workers[0].kill()
    put(20)
    wait_until_done(installation)
    redis_server.stop()
    put(5)
    wait_until_done(installation)
    assert workers[1].stop() == 0
    assert "redis is away" in workers[1].output


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_how_many_run_at_a_time_is_an_option(installation, put):
    worker = Process(
        "worker", "--concurrency", "1", folder=installation.folder, settings=installation.settings
    )
    try:
        put(5)
        wait_until_done(installation)
    finally:
        assert worker.stop() == 0
    refused = installation.run("worker", "--concurrency", "0")
    assert refused.returncode == 1
    assert "MEDIAKEEP_TASK_CONCURRENCY" in refused.stderr


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
@pytest.mark.parametrize("address", ["http://host", "redis://", "redis://host:port", "host:6379"])
def test_an_address_that_is_no_redis_is_one_sentence(installation, address):
    refused = installation.run("worker", REDIS_URL=f"{address}/hush")
    assert refused.returncode == 1
    assert "MEDIAKEEP_REDIS_URL" in refused.stderr
    assert "hush" not in refused.stderr
    assert "Traceback" not in refused.stderr
