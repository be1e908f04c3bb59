import asyncio

import pytest
from sqlalchemy import func, select, update

from mediakeep.accounts.limits import forget_old_hits, hit, rate_limit_headers, take_back
from mediakeep.accounts.models import RateHit
from mediakeep.db import now_plus
from mediakeep.errors import RateLimited


@pytest.fixture
def attempt(database):
    async def attempt(bucket="b", *, limit=3, on=database):
        async with on.write() as session:
            return await hit(session, bucket, limit=limit)

    return attempt


@pytest.fixture
def age(change):
    """Lets all hits have happened some seconds earlier than the newest now is."""

    async def age(seconds):
        await change(update(RateHit).values(at=now_plus(-seconds)))

    return age


async def test_attempts_up_to_the_limit_are_allowed_and_told_what_remains(attempt):
    windows = [await attempt() for _ in range(4)]
    assert [window.allowed for window in windows] == [True, True, True, False]
    assert [window.remaining for window in windows] == [2, 1, 0, 0]


async def test_a_refused_attempt_says_when_the_oldest_one_leaves_and_is_not_counted(attempt, age, database):
    for _ in range(3):
        await attempt()
    await age(50)
    refused = await attempt()
    assert refused.retry_after_seconds == refused.reset_seconds
    assert 8 <= refused.reset_seconds <= 10
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(RateHit)) == 3


async def test_room_is_made_by_each_attempt_that_leaves_not_by_the_turn_of_the_minute(attempt, change):
    for seconds in (59, 30, 1):
        window = await attempt()
        await change(update(RateHit).where(RateHit.id == window.hit_id).values(at=now_plus(-seconds)))
    assert not (await attempt()).allowed
    await change(update(RateHit).where(RateHit.at < now_plus(-45)).values(at=now_plus(-60)))
    assert (await attempt()).allowed
    assert not (await attempt()).allowed


async def test_a_lowered_limit_waits_until_enough_attempts_have_left(attempt, change):
    for seconds in (50, 40, 30):
        window = await attempt()
        await change(update(RateHit).where(RateHit.id == window.hit_id).values(at=now_plus(-seconds)))
    assert 18 <= (await attempt(limit=2)).reset_seconds <= 20


async def test_buckets_do_not_share_a_window(attempt):
    assert (await attempt("a", limit=1)).allowed
    assert (await attempt("b", limit=1)).allowed
    assert not (await attempt("a", limit=1)).allowed


async def test_exactly_the_limit_is_allowed_when_two_processes_race(attempt, database, another_database):
    windows = await asyncio.gather(
        *(attempt(limit=7, on=on) for _ in range(15) for on in (database, another_database))
    )
    assert sum(window.allowed for window in windows) == 7
    assert sorted(window.remaining for window in windows if window.allowed) == list(range(7))


async def test_an_attempt_that_is_taken_back_makes_room(attempt, database):
    window = await attempt(limit=1)
    async with database.write() as session:
        await take_back(session, window)
    assert (await attempt(limit=1)).allowed


async def test_a_limit_of_zero_is_none(attempt, database):
    window = await attempt(limit=0)
    assert window.allowed
    assert rate_limit_headers(window) == {}
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(RateHit)) == 0


async def test_a_refusal_carries_the_headers(attempt):
    await attempt(limit=1)
    window = await attempt(limit=1)
    with pytest.raises(RateLimited) as refusal:
        window.require()
    assert refusal.value.headers == {
        "Retry-After": "60",
        "RateLimit-Limit": "1",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "60",
    }


async def test_old_hits_of_buckets_that_nobody_asks_for_are_forgotten(attempt, age, database):
    await attempt("gone")
    await age(901)
    await attempt("kept")
    async with database.write() as session:
        assert await forget_old_hits(session, limit=500) == 1
    async with database.read() as session:
        assert list(await session.scalars(select(RateHit.bucket))) == ["kept"]
