"""Word of tasks between processes, over a real Redis: a nudge, on which nothing hangs."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from mediakeep.db import open_database
from mediakeep.tasks import enqueue, task, transport, worker
from mediakeep.tasks.transport import open_transport
from mediakeep.tasks.worker import Worker

CHANNEL = "mediakeep.tasks"


@pytest.fixture
def settings(settings, redis_server):
    return settings.model_copy(update={"redis_url": redis_server.url})


@pytest.fixture
def ran():
    """The ids of the tasks that have run, as they do."""
    ran = asyncio.Queue()

    @task("work")
    async def work(library, job):
        ran.put_nowait(job.id)

    return ran


@pytest.fixture
def process(settings):
    """Opens the library and the transport as a process of its own does."""

    @asynccontextmanager
    async def open_process():
        library = SimpleNamespace(settings=settings, database=open_database(settings))
        async with open_transport(library) as opened:
            yield library, opened
        await library.database.close()

    return open_process


@pytest.fixture
def working(process):
    """Runs tasks as a worker process does; gives its library."""

    @asynccontextmanager
    async def work():
        async with process() as (library, heard), Worker(library, transport=heard):
            yield library

    return work


@pytest.fixture
def redis(redis_server):
    """A client of the server."""
    return Redis.from_url(redis_server.url)


@pytest.fixture
def subscribers(redis_server):
    """Waits until so many listen."""

    async def wait(count):
        async with Redis.from_url(redis_server.url) as redis, asyncio.timeout(20):
            while (await redis.pubsub_numsub(CHANNEL))[0][1] != count:  # noqa: ASYNC110 Redis tells nobody
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def brief_pauses(monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.02)


async def put(library):
    async with library.database.write() as session:
        return await enqueue(session, "work", {})


async def test_a_commit_wakes_the_worker_of_another_process(
    process, working, subscribers, ran, rarely_polling
):
    async with process() as (server, _), working(), asyncio.timeout(20):
        await subscribers(1)
        await asyncio.sleep(0.2)  # so that it is idle
        ids = [await put(server) for _ in range(3)]
        assert sorted([await ran.get() for _ in ids]) == ids


async def test_a_busy_process_keeps_no_word_from_an_idle_one(process, working, subscribers, rarely_polling):
    began, ends = asyncio.Queue(), asyncio.Event()

    @task("work")
    async def work(library, job):
        began.put_nowait(job.id)
        await ends.wait()

    async with process() as (server, _), working(), working(), asyncio.timeout(20):
        await subscribers(2)
        ids = [await put(server) for _ in range(2 * server.settings.task_concurrency)]
        assert sorted([await began.get() for _ in ids]) == ids
        ends.set()


async def test_a_message_that_comes_twice_runs_its_task_once(
    process, working, subscribers, ran, redis, until
):
    async with process() as (server, _), redis, redis.pubsub() as channel, working(), asyncio.timeout(20):
        await channel.subscribe(CHANNEL)
        await subscribers(2)
        task_id = await put(server)
        message = await next_message(channel)
        for _ in range(5):
            await redis.publish(CHANNEL, message)
        assert await ran.get() == task_id
        last = await put(server)
        assert await ran.get() == last
        await until(lambda rows: not rows)
    assert ran.empty()


async def test_what_nobody_was_told_of_is_found_by_looking(working, ran, another_library):
    async with working(), asyncio.timeout(20):
        assert await put(another_library()) == await ran.get()


async def test_what_others_publish_there_does_no_harm(
    process, working, subscribers, ran, redis, rarely_polling
):
    async with process() as (server, _), redis, working(), asyncio.timeout(20):
        await subscribers(1)
        for message in (b"", b"\xff", b"{}", b"[1]", b"null", b'{"task_id": 1}'):
            await redis.publish(CHANNEL, message)
        assert await put(server) == await ran.get()


async def test_work_goes_on_while_redis_is_away_and_it_is_used_again_when_it_is_back(
    process, working, subscribers, ran, redis_server, brief_pauses, monkeypatch
):
    with capture_logs() as logs:
        async with process() as (server, _), working(), asyncio.timeout(60):
            await subscribers(1)
            redis_server.stop()
            for _ in range(3):
                assert await put(server) == await ran.get()
            redis_server.start()
            await subscribers(1)
            monkeypatch.setattr(worker, "_POLL_SECONDS", 3600)
            await asyncio.sleep(1.2)  # the last look of before
            assert await put(server) == await ran.get()
    said = [line["event"] for line in logs if "redis" in line["event"]]
    assert said.count("redis is away; tasks start within a second") == 2  # who tells, and who hears
    assert said.count("redis is back") == 2


async def test_a_worker_starts_without_redis(working, ran, redis_server, brief_pauses):
    redis_server.stop()
    async with working() as library, asyncio.timeout(60):
        assert await put(library) == await ran.get()


async def test_outages_leave_no_connections_behind(working, subscribers, redis_server, redis, brief_pauses):
    async with working(), asyncio.timeout(60):
        for _ in range(5):
            await subscribers(1)
            redis_server.stop()
            redis_server.start()
        await subscribers(1)
        async with redis:
            assert len(await redis.client_list()) == 2  # who listens, and who asks


async def test_many_tasks_of_one_transaction_are_one_message(process, redis):
    async with process() as (server, _), redis, redis.pubsub() as channel, asyncio.timeout(20):
        await channel.subscribe(CHANNEL)
        async with server.database.write() as session:
            for _ in range(1000):
                await enqueue(session, "work", {})
        assert len(await next_message(channel)) < 2000
        assert await channel.get_message(ignore_subscribe_messages=True, timeout=0.2) is None


async def test_what_was_committed_last_is_told_before_a_process_ends(process, redis):
    async with redis, redis.pubsub() as channel, asyncio.timeout(20):
        await channel.subscribe(CHANNEL)
        async with process() as (server, _):
            await put(server)
        assert await next_message(channel)


async def test_without_the_setting_nothing_is_told(database, settings):
    settings = settings.model_copy(update={"redis_url": ""})
    async with open_transport(SimpleNamespace(settings=settings, database=database)) as opened:
        assert opened is None
        assert database.after_commit == []


async def next_message(channel):
    while True:
        message = await channel.get_message(ignore_subscribe_messages=True, timeout=10)
        if message:
            return message["data"]
