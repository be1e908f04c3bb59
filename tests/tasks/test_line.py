"""Who comes when: turns among owners, priorities, and what waits for its time."""

import re
from collections import Counter

import pytest
from sqlalchemy import event, insert, select, text, update

from mediakeep.db import now_plus
from mediakeep.tasks import cancel, enqueue, leases, line, retry_dead, task, wake
from mediakeep.tasks.models import Task
from mediakeep.tasks.registry import registered_tasks
from mediakeep.tasks.worker import drain

A, B, C = 1, 2, 3


@pytest.fixture(autouse=True)
def registered():
    @task("work")
    async def work(library, job):
        pass


@pytest.fixture
def put(database):
    """Enqueues tasks of owners, in one transaction."""

    async def put_all(*owners, **options):
        async with database.write() as session:
            return [await enqueue(session, "work", {}, owner_id=owner, **options) for owner in owners]

    return put_all


@pytest.fixture
def claim_owners(database):
    """Claims so many tasks, one in each transaction; returns whose they are."""

    async def claim_them(count):
        owners = []
        for _ in range(count):
            async with database.write() as session:
                await line.admit(session)
                claims = await leases.claim(session, registered_tasks(), limit=1)
                ids = [claimed.id for claimed in claims]
                owners += await session.scalars(select(Task.owner_id).where(Task.id.in_(ids)))
        return owners

    return claim_them


@pytest.fixture
def turns(database):
    """The turn of each task, by id."""

    async def read():
        async with database.read() as session:
            return dict((await session.execute(select(Task.id, Task.turn).order_by(Task.id))).all())

    return read


async def test_somebody_with_many_tasks_does_not_keep_others_waiting(put, claim_owners):
    await put(*[A] * 300)
    await put(B)
    assert await claim_owners(3) == [A, B, A]


async def test_what_belongs_to_nobody_takes_its_turn_with_the_others(put, claim_owners):
    await put(*[A] * 5)
    await put(None)
    assert await claim_owners(3) == [A, 0, A]


async def test_owners_with_many_tasks_alternate(put, claim_owners):
    await put(*[A] * 20, *[B] * 20, *[C] * 20)
    assert Counter(await claim_owners(30)) == {A: 10, B: 10, C: 10}


async def test_who_comes_later_gets_a_share_but_nothing_for_the_time_before(put, claim_owners):
    await put(*[A] * 40)
    await claim_owners(20)
    await put(*[B] * 10)
    assert Counter(await claim_owners(10)) == {A: 5, B: 5}


async def test_one_owners_tasks_keep_their_order(put, database, claim):
    ids = await put(*[A] * 5)
    await put(*[B] * 5)
    claimed = []
    async with database.write() as session:
        while found := await claim(session):
            claimed.append(found.id)
    assert [id_ for id_ in claimed if id_ in ids] == ids


async def test_tasks_whose_time_comes_take_turns_as_well(put, claim_owners, database):
    await put(*[A] * 30, delay_seconds=3600)
    await put(B, B, delay_seconds=3600)
    await put(*[C] * 10)
    async with database.write() as session:
        await session.execute(update(Task).where(Task.turn.is_(None)).values(run_at=now_plus(-1)))
    owners = await claim_owners(6)
    assert Counter(owners) == {A: 2, B: 2, C: 2}


async def test_more_tasks_than_fit_in_one_statement_come_into_line_before_any_is_claimed(
    library, monkeypatch
):
    monkeypatch.setattr(line, "CHUNK", 3)
    line._admit_statement.cache_clear()
    ran = []

    @task("noted")
    async def noted(library, job):
        ran.append(job.payload["of"])

    async with library.database.write() as session:
        for owner in (*[A] * 10, B):
            await enqueue(session, "noted", {"of": owner}, owner_id=owner, delay_seconds=3600)
        await session.execute(update(Task).values(run_at=now_plus(-1)))
    try:
        assert await drain(library) == 11
    finally:
        line._admit_statement.cache_clear()
    assert B in ran[: library.settings.task_concurrency]


async def test_what_waits_or_runs_does_not_stand_in_line(put, database, claim, turns):
    [running, waiting], [later] = await put(A, A), await put(A, delay_seconds=3600)
    async with database.write() as session:
        assert (await claim(session)).id == running
    assert await turns() == {running: None, waiting: 1, later: None}


async def test_what_is_woken_retried_or_given_back_is_in_line_at_once(put, database, claim, turns):
    [woken], [dead, given_back] = await put(A, delay_seconds=3600), await put(A, A)
    async with database.write() as session:
        await leases.bury(session, await claim(session), error="no use")
        claimed = await claim(session)
        await wake(session, woken)
        await retry_dead(session, dead)
        await leases.give_back(session, claimed)
    assert set((await turns()).values()) == {0, 1, 2}
    async with database.write() as session:
        assert await cancel(session, given_back)
    assert (await turns())[given_back] is None


async def test_a_step_that_says_again_at_once_goes_behind_the_others(put, database, claim):
    first, second = await put(A, B)
    async with database.write() as session:
        claimed = await claim(session)
        assert await leases.postpone(session, claimed, seconds=0, state=None)
        claims = [await claim(session) for _ in range(2)]
    assert [claimed.id, *(each.id for each in claims)] == [first, second, first]


async def test_a_worker_that_renews_a_lease_that_ran_out_keeps_the_task_out_of_line(
    put, database, claim, turns
):
    [task_id] = await put(A)
    async with database.write() as session:
        claimed = await claim(session)
        await session.execute(update(Task).values(leased_until=now_plus(-1)))
        assert await line.admit(session) == 1
        assert await leases.renew(session, claimed)
        assert await claim(session) is None
        await session.execute(update(Task).values(leased_until=now_plus(-1)))
        await line.admit(session)
        await claimed.hold(session)
        assert await claim(session) is None
    assert await turns() == {task_id: None}
    async with database.write() as session:
        await session.execute(update(Task).values(leased_until=now_plus(-1)))
        await line.admit(session)
        assert await leases.renew(session, claimed)
    assert await turns() == {task_id: None}


async def test_small_priorities_go_first_but_the_others_are_not_forgotten(library):
    ran = []

    @task("noted")
    async def noted(library, job):
        ran.append(job.priority)

    async with library.database.write() as session:
        for priority in (0, 5, 9):
            for _ in range(120):
                await enqueue(session, "noted", {}, priority=priority)
    assert await drain(library) == 360
    first = Counter(ran[:120])
    assert first[0] > 100
    assert first[5]
    assert first[9]


async def test_a_task_that_an_older_version_left_in_line_is_claimed_only_when_it_is_due_and_free(
    put, database, claim
):
    [task_id] = await put(A)
    for left in ({"run_at": now_plus(60)}, {"run_at": now_plus(), "leased_until": now_plus(60)}):
        async with database.write() as session:
            await session.execute(update(Task).values(left))
            assert await claim(session) is None
            assert await leases.due_in(session, registered_tasks()) is None
    async with database.write() as session:
        await session.execute(update(Task).values(leased_until=now_plus(-1)))
        assert (await claim(session)).id == task_id


@pytest.fixture
async def crowded(database):
    """Tasks of 100 owners, most of 25,600 in line; the database knows what lies where."""
    async with database.write() as session:
        for owner in range(100):
            await enqueue(session, "work", {}, owner_id=owner, delay_seconds=3600)
        copied = [column.name for column in Task.__table__.c if column.name not in {"id", "key"}]
        for _ in range(8):  # doubles them each time
            await session.execute(
                insert(Task).from_select(copied, select(*(Task.__table__.c[n] for n in copied)))
            )
        await session.execute(update(Task).where(Task.id > 6000).values(run_at=now_plus(-1)))
        while await line.admit(session) == line.CHUNK:
            pass
        await session.execute(text("ANALYZE tasks"))


async def test_each_statement_finds_its_rows_by_indexes_however_many_there_are(database, crowded):
    sent = []
    event.listen(
        database.write_engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, *_: sent.append((statement, parameters)),
    )
    async with database.write() as session:
        woken = await enqueue(session, "work", {}, owner_id=7, delay_seconds=60)
        sent.clear()
        await enqueue(session, "work", {}, owner_id=7)
        await wake(session, woken)
        await line.admit(session)
        await leases.claim(session, registered_tasks(), limit=2)
        await leases.due_in(session, registered_tasks())
        enqueues, wakes, admits, claims, looks = [await _plan(session, database, *each) for each in sent[:]]
    for plan in (enqueues, wakes, claims, looks):
        assert "Seq Scan" not in plan
        assert not re.search(r"SCAN (tasks|line)$", plan, re.MULTILINE)
    for plan in (enqueues, wakes, admits):
        assert "ix_tasks_owner_line" in plan
        assert "ix_tasks_line" in plan
    assert "ix_tasks_waiting" in admits
    assert "ix_tasks_waiting" in looks
    assert "ix_tasks_line" in claims
    assert "TEMP B-TREE" not in claims


async def _plan(session, database, statement, parameters):
    prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    connection = await session.connection()
    rows = (await connection.exec_driver_sql(f"{prefix} {statement}", parameters)).all()
    return "\n".join(str(row[-1]) for row in rows)
