"""Who waits is told, by one who looks for all of them."""

import asyncio

import pytest

from mediakeep.db import open_database
from mediakeep.errors import RateLimited
from mediakeep.events import record, watcher
from mediakeep.events.watcher import MAX_LISTENERS, Watcher

ME, OTHER = 7, 8
LONG = 20


@pytest.fixture
async def elsewhere(settings):
    """The database as another process has it."""
    database = open_database(settings)
    yield database
    await database.close()


@pytest.fixture
async def watching(database):
    async with Watcher(database) as watching:
        yield watching


@pytest.fixture
def looks(monkeypatch):
    """How often anybody has looked."""
    found = []

    async def find_settled(session):
        found.append(1)
        return await look(session)

    look = watcher.find_settled
    monkeypatch.setattr(watcher, "find_settled", find_settled)
    return found


async def happen(database, owner_id=ME):
    async with database.write() as session:
        await record(session, "asset.created", owner_id=owner_id, subject="a", data={})


async def at_rest(watching, listener):
    """Everything it was told of the time before it came is taken."""
    while watching.settled is None or listener.has_news:
        await listener.news(within=LONG)


async def test_those_are_told_whose_events_they_are(watching, elsewhere):
    mine, theirs, all_of_them = watching.join(ME, ME), watching.join(OTHER, OTHER), watching.join(OTHER, None)
    for listener in (mine, theirs, all_of_them):
        await at_rest(watching, listener)
    before = watching.settled
    await happen(elsewhere)
    assert await mine.news(within=LONG)
    assert watching.settled.place > before.place
    assert all_of_them.has_news
    assert not theirs.has_news
    await all_of_them.news(within=LONG)
    await happen(elsewhere, None)
    assert await all_of_them.news(within=LONG)
    assert not mine.has_news


async def test_a_commit_of_this_process_is_seen_at_once(watching, database, monkeypatch):
    monkeypatch.setattr(watcher, "_POLL_SECONDS", 3600.0)
    monkeypatch.setattr(watcher, "_SHORTEST_PAUSE_SECONDS", 3600.0)
    listener = watching.join(ME, ME)
    await at_rest(watching, listener)
    await happen(database)
    assert await listener.news(within=LONG)


@pytest.mark.parametrize("settings", ["postgres"], indirect=True)  # on SQLite no two transactions overlap
async def test_what_settles_late_is_told_soon_after(watching, database):
    listener, other = watching.join(ME, ME), watching.join(OTHER, OTHER)
    for one in (listener, other):
        await at_rest(watching, one)
    async with database.write() as slow:
        await record(slow, "asset.created", owner_id=OTHER, subject="late", data={})
        await happen(database)
        assert not await listener.news(within=0.2)  # it is committed, and not yet settled
    assert await listener.news(within=LONG)
    assert await other.news(within=LONG)


async def test_one_looks_for_all_and_only_while_anybody_waits(watching, looks, monkeypatch):
    monkeypatch.setattr(watcher, "_POLL_SECONDS", 3600.0)
    monkeypatch.setattr(watcher, "_SHORTEST_PAUSE_SECONDS", 3600.0)
    await asyncio.sleep(0)
    assert looks == []
    listeners = [watching.join(number, number) for number in range(300)]
    for listener in listeners:
        await at_rest(watching, listener)
    assert len(looks) == 1
    for listener in listeners:
        watching.leave(listener)
    async with asyncio.timeout(LONG):
        await watching._looking
    listener = watching.join(ME, ME)
    await at_rest(watching, listener)
    assert len(looks) == 2


async def test_it_looks_again_after_the_database_was_away(watching, elsewhere, monkeypatch):
    monkeypatch.setattr(watcher, "_POLL_SECONDS", 0.01)
    listener = watching.join(ME, ME)
    await at_rest(watching, listener)
    tried = asyncio.Event()

    async def fail(_session):
        tried.set()
        raise ConnectionError

    look = watcher.find_settled
    monkeypatch.setattr(watcher, "find_settled", fail)
    async with asyncio.timeout(LONG):
        await tried.wait()
    await happen(elsewhere)
    monkeypatch.setattr(watcher, "find_settled", look)
    assert await listener.news(within=LONG)


async def test_there_is_room_for_twenty_of_a_user_s(watching):
    listeners = [watching.join(ME, owner) for owner in [ME, None] * (MAX_LISTENERS // 2)]
    with pytest.raises(RateLimited) as refused:
        watching.join(ME, ME)
    assert refused.value.detail == "You have 20 event streams open, which is as many as one may have."
    assert watching.join(OTHER, ME)
    watching.leave(listeners[0])
    assert watching.join(ME, ME)


async def test_all_are_over_when_it_is_closed(watching):
    listener = watching.join(ME, ME)
    await at_rest(watching, listener)
    watching.close()
    assert await listener.news(within=LONG)
    assert listener.is_over
    late = watching.join(ME, ME)
    assert late.is_over
    assert await late.news(within=LONG)
    async with asyncio.timeout(LONG):
        await watching._looking
