"""The order of reading: whatever commits when, everything is read once."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, text

from mediakeep.events import record
from mediakeep.events.reading import (
    RESUMABLE_SECONDS,
    Mark,
    Place,
    Wanted,
    find_owners,
    find_settled,
    read_page,
)

ME, OTHER = 7, 8
NOWHERE = Place(0, 0)


#: SQLite has one writer: no two transactions overlap.
on_postgresql = pytest.mark.parametrize("settings", ["postgres"], indirect=True)


@pytest.fixture
def settled(database):
    async def settled():
        async with database.read() as session:
            return await find_settled(session)

    return settled


@pytest.fixture
def read(database, settled):
    """What is settled after a place: the events and the place to go on from."""

    async def read(after, wanted=None, limit=100):
        until = (await settled()).place
        async with database.read() as session:
            page = await read_page(session, wanted or Wanted(owner_id=None), after, until, limit=limit)
        return page, page[-1].mark.place if len(page) == limit else until

    return read


@pytest.fixture
def happen(database):
    async def happen(subject, *, owner_id=ME, kind="asset.created"):
        async with database.write() as session:
            await note(session, subject, owner_id=owner_id, kind=kind)

    return happen


async def note(session, subject, *, owner_id=ME, kind="asset.created"):
    await record(session, kind, owner_id=owner_id, subject=str(subject), data={})


def subjects(page):
    return [one.subject for one in page]


async def test_what_is_settled_is_read_once_from_wherever_it_was_left(happen, read, settled):
    begin = (await settled()).place
    for number in range(7):
        await happen(number)
    page, end = await read(begin)
    assert subjects(page) == list("0123456")
    assert (await read(end))[0] == []
    for number, one in enumerate(page):
        assert subjects((await read(one.mark.place))[0]) == list("0123456")[number + 1 :]
    found, place = [], begin
    for _ in range(4):
        page, place = await read(place, limit=2)
        found += subjects(page)
    assert found == list("0123456")


@on_postgresql
async def test_an_event_that_commits_late_is_not_passed_over(database, read, settled):
    """Its id is the smaller one, and the larger one could be seen long before."""
    begin = (await settled()).place
    async with database.write() as slow:
        await note(slow, "late")
        async with database.write() as quick:
            await note(quick, "early")
        page, place = await read(begin)
        assert page == []
    page, place = await read(place)
    assert subjects(page) == ["late", "early"]
    assert (await read(place))[0] == []
    assert subjects((await read(page[0].mark.place))[0]) == ["early"]


@on_postgresql
async def test_an_event_with_a_larger_id_of_an_older_transaction_is_not_passed_over(database, read, settled):
    begin = (await settled()).place
    async with database.write() as slow:
        await slow.execute(text("SELECT txid_current()"))
        async with database.write() as quick:
            await note(quick, "smaller id")
        page, place = await read(begin)
        assert page == []
        await note(slow, "larger id")
    page, place = await read(place)
    assert subjects(page) == ["larger id", "smaller id"]
    assert page[0].mark.place < page[1].mark.place
    assert subjects((await read(page[0].mark.place))[0]) == ["smaller id"]
    assert (await read(page[1].mark.place))[0] == []


async def test_what_is_rolled_back_holds_nobody_up(database, read, settled, happen):
    begin = (await settled()).place
    with pytest.raises(ZeroDivisionError):
        await fail(database)
    await happen("kept")
    page, _ = await read(begin)
    assert subjects(page) == ["kept"]


async def fail(database):
    async with database.write() as session:
        await note(session, "rolled back")
        raise ZeroDivisionError


async def test_each_reader_has_everything_once_whatever_overlaps(database, read, settled):
    chance = random.Random(1)
    begin = (await settled()).place
    writers, each = 6, 25
    left = writers

    async def write(writer):
        nonlocal left
        for number in range(each):
            async with database.write() as session:
                if number % 3:
                    await session.execute(text("SELECT 1" if database.is_sqlite else "SELECT txid_current()"))
                    await asyncio.sleep(chance.uniform(0, 0.004))
                await note(session, f"{writer}-{number}")
                await asyncio.sleep(chance.uniform(0, 0.004))
        left -= 1

    async def follow(limit):
        found, place = [], begin
        while True:
            is_last = not left
            page, place = await read(place, limit=limit)
            found += subjects(page)
            if is_last and not page:
                return found
            await asyncio.sleep(0)

    *_, first, second, third = await asyncio.gather(
        *(write(writer) for writer in range(writers)), follow(1), follow(3), follow(50)
    )
    assert first == second == third
    assert Counter(first) == Counter(
        f"{writer}-{number}" for writer in range(writers) for number in range(each)
    )
    for writer in range(writers):  # and what one does after the other is read in that order
        own = [one for one in first if one.startswith(f"{writer}-")]
        assert own == [f"{writer}-{number}" for number in range(each)]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(owner_id=ME), "0123"),
        (Wanted(owner_id=OTHER), "4"),
        (Wanted(owner_id=None), "012345"),
        (Wanted(owner_id=ME, kinds=["asset.created"]), "0"),
        (Wanted(owner_id=ME, kinds=["asset.*"]), "01"),
        (Wanted(owner_id=ME, kinds=["asset.created", "job.*"]), "03"),
        (Wanted(owner_id=ME, kinds=["job.*", "*"]), "0123"),
        (Wanted(owner_id=ME, kinds=["_sset.*", "%"]), ""),
        (Wanted(owner_id=None, subject="4"), "4"),
    ],
)
async def test_everybody_reads_what_they_want(wanted, told, happen, read, settled):
    begin = (await settled()).place
    for number, kind in enumerate(("asset.created", "asset.updated", "assets.created", "job.failed")):
        await happen(number, kind=kind)
    await happen(4, owner_id=OTHER)
    await happen(5, owner_id=None)
    page, _ = await read(begin, wanted)
    assert subjects(page) == list(told)


async def test_whose_events_lie_between_two_places_is_known(database, happen, settled):
    async def owners(after, until):
        async with database.read() as session:
            return await find_owners(session, after, until)

    first = (await settled()).place
    await happen("a")
    second = (await settled()).place
    await happen("b", owner_id=OTHER)
    await happen("c", owner_id=None)
    third = (await settled()).place
    assert await owners(first, second) == {ME}
    assert await owners(second, third) == {OTHER, None}
    assert await owners(third, third) == set()


async def test_the_place_does_not_go_back_when_rows_are_removed(database, happen, settled):
    for number in range(3):
        await happen(number)
    before = (await settled()).place
    async with database.write() as session:
        await session.execute(text("DELETE FROM events"))
    assert (await settled()).place >= before


async def test_reading_uses_indexes(database, happen, settled):
    """However many events there are: it reads none of those before the place, and sorts nothing."""
    await happen("a")
    until = (await settled()).place
    names = ["ix_events_", "ix_events_transaction_id_id"]  # of an owner, whichever of the two suits better
    if database.is_sqlite:
        names = ["ix_events_owner_id_transaction_id_id", "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]
    engine = database.read_engine.sync_engine
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    for wanted, name in zip((Wanted(owner_id=ME), Wanted(owner_id=None)), names, strict=True):
        asked = []
        event.listen(engine, "before_cursor_execute", lambda *given, asked=asked: asked.append(given[2:4]))
        async with database.read() as session:
            await read_page(session, wanted, until, until, limit=10)
            connection = await session.connection()
            if not database.is_sqlite:
                await connection.exec_driver_sql("SET enable_seqscan = off")  # a table of one row
            statement, parameters = asked[0]
            plan = str((await connection.exec_driver_sql(explain + statement, parameters)).all())
        assert name in plan
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


def test_a_mark_is_what_was_written():
    mark = Mark(place=Place(901, 17), seconds=1763285400)
    assert str(mark) == "1763285400-901-17"
    assert Mark.find(str(mark)) == mark
    assert Mark.find("") is Mark.find("1763285400-901") is Mark.find("a-1-2") is None


@pytest.mark.parametrize(
    ("place", "age", "can"),
    [
        (Place(5, 3), 0, True),
        (Place(9, 0), 0, True),
        (Place(9, 1), 0, False),  # the database has been put back
        (Place(5, 3), RESUMABLE_SECONDS - 1, True),
        (Place(5, 3), RESUMABLE_SECONDS, False),
        (Place(0, 3), 0, False),  # SQLite's
    ],
)
def test_a_mark_can_be_followed_while_all_after_it_is_kept(place, age, can):
    seconds = int(datetime.now(UTC).timestamp())
    now = Mark(place=Place(9, 0), seconds=seconds)
    assert Mark(place=place, seconds=seconds - age).can_be_followed(now) is can
