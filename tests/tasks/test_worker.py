import asyncio

import pytest
from sqlalchemy import event, text, update
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from mediakeep.db import now_plus
from mediakeep.errors import Unavailable
from mediakeep.tasks import Again, GiveUp, cancel, enqueue, retry_dead, task, wake, worker
from mediakeep.tasks.models import Task
from mediakeep.tasks.worker import Worker, back_off_seconds, describe, drain


@pytest.fixture
def put(database):
    """Enqueues a task in a transaction of its own."""

    async def put_one(name, **options):
        async with database.write() as session:
            return await enqueue(session, name, {}, **options)

    return put_one


@pytest.fixture
def stuck():
    """A registered task that runs until it is stopped; tells when it began and when it was stopped."""

    class Stuck:
        began = asyncio.Event()
        stopped = asyncio.Event()

    @task("stuck", lease_seconds=0.3)
    async def run(library, job):
        Stuck.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            Stuck.stopped.set()

    return Stuck


async def test_draining_runs_everything_due_and_what_that_enqueues(library, put, rows):
    done = []

    @task("parent")
    async def parent(library, job):
        async with library.database.write() as session:
            await enqueue(session, "child", {"of": job.id})

    @task("child")
    async def child(library, job):
        done.append(job.payload["of"])

    ids = [await put("parent") for _ in range(5)]
    await put("child", delay_seconds=3600)
    assert await drain(library) == 10
    assert sorted(done) == ids
    assert [row.name for row in await rows()] == ["child"]


async def test_a_commit_wakes_the_worker_of_its_process(library, put, rarely_polling):
    ran = asyncio.Queue()

    @task("work")
    async def work(library, job):
        ran.put_nowait(job.id)

    async with Worker(library), asyncio.timeout(20):
        await asyncio.sleep(0.2)  # so that it is idle
        first = await put("work")
        assert await ran.get() == first
        later = await put("work", delay_seconds=1800)
        async with library.database.write() as session:
            await wake(session, later)
        assert await ran.get() == later
    assert library.database.after_commit == []


async def test_another_process_is_noticed_by_polling(library, another_library, until):
    @task("work")
    async def work(library, job):
        pass

    async with Worker(library):
        async with another_library().database.write() as session:
            await enqueue(session, "work", {})
        await until(lambda rows: not rows)


async def test_what_waits_for_its_time_runs_when_that_has_come(library, put, until):
    @task("work")
    async def work(library, job):
        pass

    async with Worker(library):
        await put("work", delay_seconds=0.3)
        await until(lambda rows: not rows)


async def test_what_waits_for_its_time_gets_its_turn_while_there_is_always_something_else(
    library, put, monkeypatch
):
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.05)
    ran, is_over = asyncio.Event(), False

    @task("endless")
    async def endless(library, job):
        await asyncio.sleep(0.01)
        if not is_over:
            await put("endless")

    @task("late")
    async def late(library, job):
        ran.set()

    for _ in range(2 * library.settings.task_concurrency):
        await put("endless")
    await put("late", delay_seconds=0.2)
    async with Worker(library), asyncio.timeout(20):
        await ran.wait()
        is_over = True


async def test_an_idle_worker_opens_no_write_transactions(library, put, eventually, monkeypatch):
    @task("work")
    async def work(library, job):
        pass

    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(worker, "_SHORTEST_PAUSE_SECONDS", 0.01)
    await put("work", delay_seconds=3600)
    polls, transactions = [], []
    event.listen(
        library.database.read_engine.sync_engine, "before_cursor_execute", lambda *a: polls.append(a)
    )
    async with Worker(library):
        await eventually(lambda: len(polls) >= 5)
        event.listen(library.database.write_engine.sync_engine, "begin", transactions.append)
        await eventually(lambda: len(polls) >= 15)
    assert transactions == []


async def test_no_more_run_at_once_than_the_setting_says(library, put, until):
    now, most = 0, 0

    @task("work")
    async def work(library, job):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.05)
        now -= 1

    for _ in range(8):
        await put("work")
    async with Worker(library):
        await until(lambda rows: not rows)
    assert most == library.settings.task_concurrency == 4


async def test_eight_workers_run_each_task_once(another_library, put, until):
    ran = []

    @task("work")
    async def work(library, job):
        ran.append(job.id)
        await asyncio.sleep(0)

    ids = [await put("work") for _ in range(60)]
    workers = [Worker(another_library()) for _ in range(8)]
    for each in workers:
        await each.__aenter__()
    try:
        await until(lambda rows: not rows)
    finally:
        await asyncio.gather(*(each.__aexit__(None, None, None) for each in workers))
    assert sorted(ran) == ids


async def test_again_keeps_its_state_and_holds_neither_lease_nor_attempts(library, put, rows):
    seen = []

    @task("poll", max_attempts=2)
    async def poll(library, job):
        seen.append((job.attempt, job.state))
        if len(seen) == 2:
            raise Unavailable("Not now")
        if len(seen) == 3:
            return Again(0)
        return Again(3600, {"asked": True}) if len(seen) == 1 else None

    task_id = await put("poll")
    await drain(library)
    [row] = await rows()
    assert (row.state, row.attempts, row.leased_until, row.lease_token) == ({"asked": True}, 0, None, None)
    for _ in range(2):
        async with library.database.write() as session:
            assert await wake(session, task_id)
        await drain(library)
    assert seen == [(1, {}), (1, {"asked": True}), (2, {"asked": True}), (1, {"asked": True})]
    assert await rows() == []


async def test_a_wake_up_during_a_step_brings_the_next_one_forward(library, put, rows):
    steps = []

    @task("poll")
    async def poll(library, job):
        steps.append(job.id)
        if len(steps) > 1:
            return None
        async with library.database.write() as session:
            await wake(session, job.id)
        return Again(3600)

    await put("poll")
    assert await drain(library) == 2


async def test_a_failure_is_retried_later_and_dead_in_the_end(library, put, rows):
    @task("work", max_attempts=3)
    async def work(library, job):
        raise ValueError("first line, password=hunter22\nsecond line")

    task_id = await put("work")
    with capture_logs() as logs:
        for attempt in (1, 2):
            assert await drain(library) == 1
            [row] = await rows()
            assert (row.status, row.attempts) == ("queued", attempt)
            async with library.database.write() as session:
                await wake(session, task_id)
        await drain(library)
    [row] = await rows()
    assert (row.status, row.attempts) == ("dead", 3)
    assert row.last_error == "ValueError: first line, password=***"
    assert row.finished_at
    assert [log["event"] for log in logs] == ["task failed", "task failed", "task is dead"]
    assert await drain(library) == 0


async def test_a_dead_task_can_be_retried_and_then_succeed(library, put, rows):
    @task("work", max_attempts=1)
    async def work(library, job):
        if not hopeful:
            raise GiveUp("no use")

    hopeful = False
    task_id = await put("work")
    await drain(library)
    hopeful = True
    async with library.database.write() as session:
        assert await retry_dead(session, task_id)
    await drain(library)
    assert await rows() == []


async def test_giving_up_is_final_at_once(library, put, rows):
    @task("work")
    async def work(library, job):
        raise GiveUp("The model is gone.")

    await put("work")
    await drain(library)
    [row] = await rows()
    assert (row.status, row.attempts, row.last_error) == ("dead", 1, "The model is gone.")


async def test_the_number_of_attempts_can_be_given_with_the_task(library, put, rows):
    @task("work", max_attempts=10)
    async def work(library, job):
        raise Unavailable("Not now")

    await put("work", max_attempts=1)
    await drain(library)
    assert (await rows())[0].status == "dead"


async def test_what_kills_its_process_each_time_is_dead_in_the_end(library, put, rows, claim):
    ran = []

    @task("work", max_attempts=2)
    async def work(library, job):
        ran.append(job.id)

    await put("work")
    for _ in range(2):
        async with library.database.write() as session:
            assert await claim(session)
            await session.execute(update(Task).values(leased_until=now_plus(-1)))
    await drain(library)
    [row] = await rows()
    assert (row.status, ran) == ("dead", [])


async def test_a_step_that_cancels_itself_is_a_failure(library, put, rows):
    @task("work")
    async def work(library, job):
        raise asyncio.CancelledError

    await put("work")
    await drain(library)
    assert ((await rows())[0].attempts, (await rows())[0].status) == (1, "queued")


async def test_a_task_ends_at_its_deadline_running_or_not(library, put, stuck, rows):
    await put("stuck", deadline_seconds=0.2)
    await put("stuck", deadline_seconds=-1)
    async with asyncio.timeout(20):
        await drain(library)
    assert stuck.stopped.is_set()
    for row in await rows():
        assert (row.status, row.last_error) == ("dead", "its deadline has passed")


async def test_a_long_step_keeps_its_lease(library, another_library, put):
    steps = 0

    @task("long", lease_seconds=0.6)
    async def run(library, job):
        nonlocal steps
        steps += 1
        await asyncio.sleep(2)

    await put("long")
    async with Worker(another_library()), Worker(library):
        await asyncio.sleep(2.2)
    assert steps == 1


async def test_a_step_that_lost_its_lease_is_stopped_and_writes_nothing(
    library, put, stuck, rows, rarely_polling
):
    task_id = await put("stuck")
    async with Worker(library), asyncio.timeout(20):
        await stuck.began.wait()
        async with library.database.write() as session:
            taken = update(Task).values(lease_token="another's", leased_until=now_plus(60), attempts=7)
            await session.execute(taken)
        await stuck.stopped.wait()
    [row] = await rows()
    assert (row.id, row.attempts, row.lease_token, row.status) == (task_id, 7, "another's", "queued")


async def test_a_stale_step_cannot_complete_the_task_of_its_successor(library, put, rows):
    @task("work", lease_seconds=60)
    async def work(library, job):
        async with library.database.write() as session:
            await session.execute(update(Task).values(lease_token="another's", leased_until=now_plus(60)))

    await put("work")
    with capture_logs() as logs:
        await drain(library)
    assert [row.lease_token for row in await rows()] == ["another's"]
    assert [log["event"] for log in logs] == ["task lost its lease"]


async def test_what_a_step_writes_after_losing_its_lease_is_rolled_back(library, put, rows):
    @task("work", lease_seconds=60)
    async def work(library, job):
        async with library.database.write() as session:
            await session.execute(update(Task).values(lease_token="another's", leased_until=now_plus(60)))
        async with library.database.write() as session:
            await enqueue(session, "result", {})
            await job.hold(session)

    await put("work")
    await drain(library)
    assert [(row.name, row.attempts, row.last_error) for row in await rows()] == [("work", 1, None)]


async def test_a_cancelled_task_stops_running(library, put, stuck, rows, rarely_polling):
    task_id = await put("stuck")
    async with Worker(library), asyncio.timeout(20):
        await stuck.began.wait()
        async with library.database.write() as session:
            assert await cancel(session, task_id)
        await stuck.stopped.wait()
    assert [row.status for row in await rows()] == ["cancelled"]


async def test_stopping_lets_running_tasks_end(library, put, rows):
    began, may_end = asyncio.Event(), asyncio.Event()

    @task("work")
    async def work(library, job):
        began.set()
        await may_end.wait()

    await put("work")
    async with Worker(library, grace_seconds=20):
        await began.wait()
        asyncio.get_running_loop().call_later(0.2, may_end.set)
    assert await rows() == []


async def test_stopping_gives_back_what_does_not_end_without_counting_the_attempt(
    library, put, stuck, rows, claim
):
    await put("stuck")
    await put("stuck", delay_seconds=1800)
    async with Worker(library, grace_seconds=0.1), asyncio.timeout(20):
        await stuck.began.wait()
    assert stuck.stopped.is_set()
    row, _ = await rows()
    assert (row.status, row.attempts, row.lease_token, row.leased_until) == ("queued", 0, None, None)
    async with library.database.write() as session:
        assert (await claim(session)).id == row.id


async def test_the_lease_of_a_step_that_cannot_be_stopped_is_not_given_back(library, put, rows, monkeypatch):
    monkeypatch.setattr(worker, "_LAST_SECONDS", 0.1)
    began, may_end = asyncio.Event(), asyncio.Event()

    @task("stubborn")
    async def run(library, job):
        began.set()
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                pass

    await put("stubborn")
    async with Worker(library, grace_seconds=0.1), asyncio.timeout(20):
        await began.wait()
    [row] = await rows()
    assert row.lease_token
    may_end.set()


async def test_running_alone_ends_by_cancelling(library, put, until):
    @task("work")
    async def work(library, job):
        pass

    await put("work")
    running = asyncio.create_task(Worker(library).run())
    await until(lambda rows: not rows)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("result", "complaint"),
    [(None, "tasks cannot be claimed"), (Again(3600), "end of a task cannot be written")],
)
async def test_the_worker_goes_on_after_the_database_was_away(
    library, put, until, eventually, monkeypatch, result, complaint
):
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.05)

    @task("work")
    async def work(library, job):
        async with library.database.write() as session:
            await session.execute(text("ALTER TABLE tasks RENAME TO away"))
        return result

    await put("work")
    with capture_logs() as logs:
        async with Worker(library):
            await eventually(lambda: complaint in [log["event"] for log in logs])
            await asyncio.sleep(0.2)
            async with library.database.write() as session:
                await session.execute(text("ALTER TABLE away RENAME TO tasks"))
            await until(lambda rows: all(row.lease_token is None for row in rows))
    assert [log["event"] for log in logs].count("tasks cannot be claimed") == 1


async def test_the_worker_goes_on_after_its_connections_were_cut(library, another_library, put, until):
    if library.database.is_sqlite:
        pytest.skip("SQLite has no connections to cut")

    cut = asyncio.Event()

    @task("work")
    async def work(library, job):
        async with another_library().database.write() as session:
            await session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        cut.set()

    await put("work")
    async with Worker(library), asyncio.timeout(20):
        await cut.wait()
        await asyncio.sleep(0.3)  # until the server has ended them all, this test's too
        await until(lambda rows: not rows)


async def test_unknown_tasks_stay_and_are_reported_once(library, put, rows, eventually, monkeypatch):
    monkeypatch.setattr(worker, "_SCHEDULE_SECONDS", 0.05)
    await put("newer")
    with capture_logs() as logs:
        async with Worker(library):
            await eventually(lambda: logs)
            await asyncio.sleep(0.2)
    assert [(log["event"], log["unknown"]) for log in logs] == [("nobody here knows this task", "newer")]
    [row] = await rows()
    assert (row.status, row.attempts) == ("queued", 0)


async def test_log_lines_of_a_step_name_its_task(library, put, monkeypatch):
    seen = {}

    @task("work")
    async def work(library, job):
        seen.update(get_contextvars())

    task_id = await put("work")
    await drain(library)
    assert seen == {"task": "work", "task_id": task_id}


def test_the_back_off_doubles_up_to_an_hour_and_strays_by_half():
    for attempt, seconds in [(1, 2), (2, 4), (5, 32), (11, 2048), (12, 3600), (5000, 3600)]:
        tries = [back_off_seconds(min(attempt, 1000)) for _ in range(200)]
        assert seconds * 0.5 <= min(tries) < seconds * 0.8
        assert seconds * 1.2 < max(tries) <= seconds * 1.5


def test_errors_are_described_in_one_short_line():
    assert describe(ValueError("one\ntwo")) == "ValueError: one"
    assert describe(GiveUp("The model is gone.")) == "The model is gone."
    assert describe(TimeoutError()) == "TimeoutError"
    assert len(describe(ValueError("x" * 9000))) == 500
    assert "sesame" not in describe(OSError("postgresql://me:open-sesame@host/db refused"))
