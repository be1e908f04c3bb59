"""Transactions that are carried out again, and what they do last."""

import asyncio
from types import SimpleNamespace

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from mediakeep.db import do_last, open_database
from mediakeep.errors import Unavailable
from mediakeep.index.models import Term


@pytest.fixture
async def another_database(settings, database):
    database = open_database(settings)
    yield database
    await database.close()


@pytest.fixture
def words(database):
    async def words():
        async with database.read() as session:
            return list(await session.scalars(select(Term.word).order_by(Term.word)))

    return words


async def add(session, word):
    await session.execute(insert(Term).values(word=word, gram_count=0))


def collision():
    """What PostgreSQL's driver raises where two transactions wait for each other."""
    return DBAPIError("", {}, SimpleNamespace(sqlstate="40P01"))


async def test_a_transaction_that_collides_is_carried_out_again(database, words):
    attempts = 0

    async def work(session):
        nonlocal attempts
        attempts += 1
        await add(session, "once")
        if attempts < 3:
            raise collision()
        return attempts

    assert await database.transact(work) == 3
    assert await words() == ["once"]


@pytest.mark.parametrize(
    ("error", "expected", "attempts"),
    [
        (collision(), "Others are changing the same things. Try again in a moment.", 3),
        (OperationalError("", {}, Exception()), "The database does not answer. Try again in a moment.", 1),
        (ConnectionRefusedError(), "The database does not answer. Try again in a moment.", 1),
    ],
)
async def test_one_that_cannot_be_carried_out_leaves_nothing(error, expected, attempts, database, words):
    tried = 0

    async def work(session):
        nonlocal tried
        tried += 1
        await add(session, "never")
        raise error

    with pytest.raises(Unavailable, match=expected):
        await database.transact(work)
    assert tried == attempts
    assert await words() == []


async def test_a_fault_of_ours_is_not_tried_again(database, words):
    async def work(session):
        await add(session, "same")
        await add(session, "same")

    with pytest.raises(IntegrityError):
        await database.transact(work)
    assert await words() == []


async def test_two_that_wait_for_each_other_both_end_well(database, another_database, words):
    async with database.write() as session:
        await add(session, "a")
        await add(session, "b")

    async def append(on, first, second):
        async def work(session):
            for word in (first, second):
                changed = update(Term).where(Term.word.startswith(word)).values(word=Term.word + "x")
                await session.execute(changed)
                await asyncio.sleep(0.1)

        await on.transact(work)

    await asyncio.gather(append(database, "a", "b"), append(another_database, "b", "a"))
    assert await words() == ["axx", "bxx"]


async def test_what_is_done_last_has_an_order_and_is_done_once(database):
    done = []

    async def first(_session):
        done.append("first")

    async def second(_session):
        done.append("second")

    async with database.write() as session:
        do_last(session, second)
        do_last(session, first, order=0)
        do_last(session, second)
        assert done == []
    assert done == ["first", "second"]
