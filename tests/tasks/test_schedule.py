import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, update

from mediakeep.db import now_plus
from mediakeep.tasks import enqueue, leases, periodic, task
from mediakeep.tasks.models import Task
from mediakeep.tasks.registry import registered_tasks
from mediakeep.tasks.schedule import current_keys, enqueue_slots
from mediakeep.tasks.tasks import purge
from mediakeep.tasks.worker import Worker, drain


@pytest.fixture
def ran():
    return []


@pytest.fixture(autouse=True)
def registered(ran):
    @periodic("sweep", every=lambda settings: settings.sweep_interval)
    async def sweep(library, job):
        ran.append(job.key)

    @task("work")
    async def work(library, job):
        pass


@pytest.fixture
def schedule(library):
    async def enqueue_all(of=library):
        return await enqueue_slots(of.database, of.settings, registered_tasks().values())

    return enqueue_all


@pytest.fixture
def change(database):
    async def change_all(**values):
        async with database.write() as session:
            await session.execute(update(Task).values(**values))

    return change_all


def test_a_slot_is_named_by_the_time_it_began(settings):
    now = datetime(2026, 11, 20, 10, 59, 59, tzinfo=UTC)
    assert current_keys(settings, registered_tasks().values(), now) == {"sweep": "sweep:2026-11-20T10:00:00Z"}


async def test_several_workers_enqueue_a_slot_once(another_library, schedule, rows):
    libraries = [another_library() for _ in range(6)]
    await asyncio.gather(*(schedule(each) for each in libraries))
    [row] = await rows()
    assert row.name == "sweep"
    assert row.key.startswith("sweep:20")


async def test_several_workers_run_a_slot_once(another_library, ran, until):
    workers = [Worker(another_library()) for _ in range(3)]
    for each in workers:
        await each.__aenter__()
    try:
        await until(lambda rows: [row.status for row in rows] == ["done"])
        await asyncio.sleep(0.3)
    finally:
        await asyncio.gather(*(each.__aexit__(None, None, None) for each in workers))
    assert len(ran) == 1


async def test_nothing_is_written_when_the_slot_is_there(library, schedule, rows):
    assert 0 < await schedule() <= library.settings.sweep_interval
    transactions = []
    event.listen(library.database.write_engine.sync_engine, "begin", transactions.append)
    await schedule()
    await drain(library)
    transactions.clear()
    await schedule()
    assert transactions == []
    assert [row.status for row in await rows()] == ["done"]


async def test_a_slot_is_left_out_while_an_earlier_one_is_not_done(library, schedule, change, rows, ran):
    await schedule()
    await change(key="sweep:2020-01-01T00:00:00Z")
    await schedule()
    assert len(await rows()) == 1
    await drain(library)
    await schedule()
    await drain(library)
    assert len(ran) == 2


async def test_ended_tasks_are_purged_after_a_day_but_not_dead_or_present_ones(
    library, database, schedule, change, rows, claim
):
    async with database.write() as session:
        for key in ("old", "cancelled", "dead"):
            await enqueue(session, "work", {}, key=key)
    await schedule()
    await drain(library)
    async with database.write() as session:
        for status in ("cancelled", "dead"):
            await session.execute(update(Task).where(Task.key == status).values(status=status))
    await change(finished_at=now_plus(-23 * 3600))
    await purge(library, None)
    assert len(await rows()) == 4
    async with database.write() as session:
        await enqueue(session, "work", {}, key="new")
        claimed = await claim(session)
    await change(finished_at=now_plus(-25 * 3600))
    async with database.write() as session:
        await leases.finish(session, [claimed])
    await purge(library, None)
    assert [row.key.partition(":")[0] for row in await rows()] == ["dead", "sweep", "new"]


async def test_dead_tasks_are_purged_after_thirty_days(library, database, change, rows):
    async with database.write() as session:
        await enqueue(session, "work", {})
    await change(status="dead", finished_at=now_plus(-29 * 24 * 3600))
    await purge(library, None)
    assert len(await rows()) == 1
    await change(finished_at=now_plus(-31 * 24 * 3600))
    await purge(library, None)
    assert await rows() == []
