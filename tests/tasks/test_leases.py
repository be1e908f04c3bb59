import asyncio
from functools import partial

import pytest
from sqlalchemy import update

from mediakeep.db import now_plus
from mediakeep.tasks import LeaseLost, enqueue, leases, task, wake
from mediakeep.tasks.models import Task
from mediakeep.tasks.registry import registered_tasks


async def finish(session, claimed):
    return await leases.finish(session, [claimed])


ENDINGS = [
    leases.renew,
    finish,
    partial(leases.postpone, seconds=0, state={"by": "stale"}),
    partial(leases.put_off, seconds=0, error="stale"),
    partial(leases.bury, error="stale"),
    leases.give_back,
]


@pytest.fixture(autouse=True)
def registered():
    @task("work", max_attempts=5, lease_seconds=30)
    async def work(library, job):
        pass

    @task("slow work", lease_seconds=3000)
    async def slow_work(library, job):
        pass


@pytest.fixture
def claim_next(database, claim):
    """Claims in a transaction of its own."""

    async def claim_one():
        async with database.write() as session:
            return await claim(session)

    return claim_one


@pytest.fixture
def let_leases_run_out(database):
    async def let():
        async with database.write() as session:
            await session.execute(update(Task).values(leased_until=now_plus(-1)))

    return let


async def test_smaller_priorities_go_first_and_then_what_waits_longest(database, claim_next):
    async with database.write() as session:
        for priority, n in [(0, 3), (5, 4), (-5, 1), (-5, 2)]:
            await enqueue(session, "work", {"n": n}, priority=priority)
            await asyncio.sleep(0.002)  # SQLite's clock has milliseconds
    assert [(await claim_next()).payload["n"] for _ in range(4)] == [1, 2, 3, 4]


async def test_a_claim_brings_what_the_step_needs(database, claim_next, rows):
    async with database.write() as session:
        await enqueue(session, "work", {"a": 1}, key="k", deadline_seconds=100)
        await enqueue(session, "slow work", {}, max_attempts=2)
    claimed, slow = await claim_next(), await claim_next()
    assert (claimed.name, claimed.payload, claimed.state, claimed.key) == ("work", {"a": 1}, {}, "k")
    assert (claimed.attempt, claimed.max_attempts, claimed.lease_seconds) == (1, 5, 30)
    assert claimed.seconds_left == pytest.approx(100, abs=5)
    assert (slow.max_attempts, slow.lease_seconds, slow.seconds_left) == (2, 3000, None)
    leased, slowly_leased = [row.leased_until for row in await rows()]
    assert (slowly_leased - leased).total_seconds() == pytest.approx(2970, abs=5)
    assert claimed.lease_token != slow.lease_token


async def test_no_two_of_eight_claimants_get_the_same_task(database, another_library, claim):
    async with database.write() as session:
        ids = [await enqueue(session, "work", {}) for _ in range(60)]

    async def claim_all(own):
        found = []
        while True:
            async with own.write() as session:
                claimed = await claim(session)
            if not claimed:
                return found
            found.append(claimed.id)

    found = await asyncio.gather(*(claim_all(another_library().database) for _ in range(8)))
    assert sorted(id_ for each in found for id_ in each) == ids


async def test_several_tasks_are_claimed_in_their_order(database):
    async with database.write() as session:
        ids = [await enqueue(session, "work", {}, priority=-n) for n in range(5)]
        first = await leases.claim(session, registered_tasks(), limit=3)
        rest = await leases.claim(session, registered_tasks(), limit=3)
    assert [claimed.id for claimed in first + rest] == ids[::-1]


async def test_tasks_finish_together_and_those_with_a_key_are_kept(database, claim, let_leases_run_out, rows):
    async with database.write() as session:
        for key in (None, None, "one", "two"):
            await enqueue(session, "work", {}, key=key)
        claims = await leases.claim(session, registered_tasks(), limit=4)
    await let_leases_run_out()
    async with database.write() as session:
        assert await claim(session)
        assert await leases.finish(session, claims) == {claimed.id for claimed in claims[1:]}
    assert [(row.key, row.status) for row in await rows()] == [
        (None, "queued"),
        ("one", "done"),
        ("two", "done"),
    ]


async def test_a_claim_does_not_wait_for_one_that_is_not_committed(database, another_library, claim):
    if database.is_sqlite:
        pytest.skip("SQLite has one writer")
    other = another_library().database
    async with database.write() as session:
        await enqueue(session, "work", {"n": 1})
        await enqueue(session, "work", {"n": 2})
    async with database.write() as one, other.write() as two, asyncio.timeout(10):
        claims = [await claim(session) for session in (one, two, one)]
    assert [claimed and claimed.payload["n"] for claimed in claims] == [1, 2, None]


async def test_tasks_that_this_process_does_not_know_are_left_alone(database, claim_next, rows):
    async with database.write() as session:
        await enqueue(session, "newer", {})
        await enqueue(session, "work", {})
    assert (await claim_next()).name == "work"
    assert await claim_next() is None
    async with database.read() as session:
        assert await leases.unknown_names(session, registered_tasks()) == ["newer"]
    assert (await rows())[0].attempts == 0


async def test_an_expired_lease_is_taken_over_as_another_attempt(database, claim_next, let_leases_run_out):
    async with database.write() as session:
        await enqueue(session, "work", {})
    first = await claim_next()
    assert await claim_next() is None
    await let_leases_run_out()
    second = await claim_next()
    assert (second.id, second.attempt) == (first.id, 2)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("key", [None, "key"])
async def test_who_lost_the_lease_can_write_nothing(
    database, claim_next, let_leases_run_out, rows, ending, key
):
    async with database.write() as session:
        await enqueue(session, "work", {}, key=key)
    stale = await claim_next()
    await let_leases_run_out()
    assert await claim_next()
    before = [vars(row) | {"_sa_instance_state": None} for row in await rows()]
    async with database.write() as session:
        assert not await ending(session, stale)
    assert [vars(row) | {"_sa_instance_state": None} for row in await rows()] == before


async def test_holding_rolls_back_the_transaction_of_who_lost_the_lease(
    database, claim_next, let_leases_run_out
):
    async with database.write() as session:
        await enqueue(session, "work", {})
    stale = await claim_next()
    await let_leases_run_out()
    async with database.write() as session:
        await stale.hold(session)  # nobody took over yet: the lease is renewed
    assert await claim_next() is None
    await let_leases_run_out()
    assert await claim_next()
    with pytest.raises(LeaseLost):
        async with database.write() as session:
            await stale.hold(session)


@pytest.mark.parametrize(
    "ending", [ENDINGS[2], partial(leases.put_off, seconds=3600, error="x"), leases.give_back]
)
async def test_a_wake_up_while_leased_is_honoured_on_release(database, claim_next, ending, rows):
    async with database.write() as session:
        task_id = await enqueue(session, "work", {})
    claimed = await claim_next()
    async with database.write() as session:
        assert await wake(session, task_id)
    assert await claim_next() is None
    async with database.write() as session:
        assert await ending(session, claimed)
    assert (await rows())[0].woken is False
    assert (await claim_next()).id == task_id


async def test_the_next_due_time_counts_waiting_and_leased_tasks(database, claim_next):
    async with database.write() as session:
        assert await leases.due_in(session, registered_tasks()) is None
        await enqueue(session, "newer", {})
        assert await leases.due_in(session, registered_tasks()) is None
        await enqueue(session, "work", {}, delay_seconds=100)
        assert await leases.due_in(session, registered_tasks()) == pytest.approx(100, abs=5)
        await enqueue(session, "work", {})
        assert await leases.due_in(session, registered_tasks()) <= 0
    await claim_next()
    async with database.write() as session:
        assert await leases.due_in(session, registered_tasks()) == pytest.approx(30, abs=5)
