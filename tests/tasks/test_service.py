import pytest

from mediakeep.tasks import cancel, enqueue, enqueue_all, leases, list_tasks, retry_dead, task, wake


@pytest.fixture(autouse=True)
def registered():
    @task("work")
    async def work(library, job):
        pass


@pytest.fixture
async def claimed(database, claim):
    async with database.write() as session:
        await enqueue(session, "work", {})
        return await claim(session)


async def test_a_task_is_there_once_its_transaction_has_committed(database, rows):
    async with database.write() as session:
        task_id = await enqueue(
            session, "work", {"file": 1}, priority=-1, max_attempts=3, deadline_seconds=60
        )
    [row] = await rows()
    assert (row.id, row.name, row.payload, row.state, row.status) == (
        task_id,
        "work",
        {"file": 1},
        {},
        "queued",
    )
    assert (row.priority, row.max_attempts, row.attempts, row.leased_until) == (-1, 3, 0, None)
    assert (row.deadline_at - row.created_at).total_seconds() == pytest.approx(60, abs=1)


async def test_a_task_goes_with_the_transaction_that_is_rolled_back(database, rows):
    async def fail():
        async with database.write() as session:
            await enqueue(session, "work", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await rows() == []


async def test_a_taken_key_enqueues_nothing(database, rows):
    async with database.write() as session:
        assert await enqueue(session, "work", {"n": 1}, key="once")
        assert await enqueue(session, "work", {"n": 2}, key="once") is None
        assert await enqueue(session, "work", {"n": 3})
        assert await enqueue(session, "work", {"n": 4})
    assert [row.payload["n"] for row in await rows()] == [1, 3, 4]


async def test_many_are_enqueued_at_once_in_their_order(database, rows, claim):
    async with database.write() as session:
        await enqueue(session, "work", {"n": 0}, priority=3)
        ids = await enqueue_all(session, "work", [{"n": n} for n in range(1, 30)], priority=3, max_attempts=7)
        await enqueue(session, "work", {"n": 30}, priority=3)
    there = await rows()
    assert [row.id for row in there[1:-1]] == ids
    assert {(row.status, row.priority, row.max_attempts, row.key) for row in there[1:-1]} == {
        ("queued", 3, 7, None)
    }
    async with database.write() as session:
        assert [(await claim(session)).payload["n"] for _ in there] == list(range(31))


async def test_what_is_enqueued_at_once_takes_turns_with_others(database, claim):
    async with database.write() as session:
        await enqueue_all(session, "work", [{"n": n} for n in range(9)], owner_id=1)
        await enqueue(session, "work", {"n": "another's"}, owner_id=2)
    async with database.write() as session:
        assert "another's" in [(await claim(session)).payload["n"] for _ in range(2)]


async def test_a_waiting_task_is_woken_before_its_time(database, rows, claim):
    async with database.write() as session:
        task_id = await enqueue(session, "work", {}, delay_seconds=3600)
        assert await claim(session) is None
    async with database.write() as session:
        assert await wake(session, task_id)
        assert (await claim(session)).id == task_id


async def test_a_task_that_has_ended_is_neither_woken_nor_cancelled(database, claimed):
    async with database.write() as session:
        await leases.bury(session, claimed, error="no use")
        assert not await wake(session, claimed.id)
        assert not await cancel(session, claimed.id)
        assert not await wake(session, 999)


async def test_cancelling_takes_the_lease_from_whoever_runs_the_task(database, claimed, rows):
    async with database.write() as session:
        assert await cancel(session, claimed.id)
        assert not await leases.renew(session, claimed)
        assert not await leases.finish(session, [claimed])
    [row] = await rows()
    assert (row.status, row.lease_token) == ("cancelled", None)
    assert row.finished_at


async def test_a_dead_task_is_retried_from_its_state(database, claimed, rows, claim):
    async with database.write() as session:
        await leases.postpone(session, claimed, seconds=0, state={"step": 2})
        again = await claim(session)
        await leases.bury(session, again, error="no use")
        assert await retry_dead(session, claimed.id)
        assert not await retry_dead(session, claimed.id)
        third = await claim(session)
    assert (third.attempt, third.state) == (1, {"step": 2})
    assert (await rows())[0].last_error == "no use"


async def test_tasks_are_listed_by_status_and_name_oldest_first(database, claimed):
    async with database.write() as session:
        await leases.bury(session, claimed, error="no use")
        waiting = await enqueue(session, "work", {})
        other = await enqueue(session, "other", {})
    async with database.read() as session:
        assert [row.id for row in await list_tasks(session, statuses=("dead",))] == [claimed.id]
        assert [row.id for row in await list_tasks(session, statuses=("queued", "dead"))] == [
            claimed.id,
            waiting,
            other,
        ]
        assert [row.id for row in await list_tasks(session, statuses=("queued",), names=["other"])] == [other]
