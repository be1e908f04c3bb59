from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from mediakeep.events import record

SUBJECT = "0b0e3c1e-0f2b-4b6e-9d2e-0f5a4c3b2a19"


async def test_an_event_is_there_once_its_transaction_has_committed(database, rows):
    async with database.write() as session:
        await record(session, "asset.created", owner_id=7, subject=SUBJECT, data={"name": "Ünï"})
    [event] = await rows()
    assert (event.kind, event.owner_id, event.subject, event.data) == (
        "asset.created",
        7,
        SUBJECT,
        {"name": "Ünï"},
    )
    assert abs((datetime.now(UTC) - event.created_at).total_seconds()) < 60


async def test_an_event_goes_with_the_transaction_that_is_rolled_back(database, rows):
    async def fail():
        async with database.write() as session:
            await record(session, "asset.created", owner_id=7, subject=SUBJECT, data={})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await rows() == []


async def test_events_tell_which_of_them_nothing_can_precede_any_more(database, rows):
    if database.is_sqlite:
        async with database.write() as session:
            await record(session, "asset.created", owner_id=None, subject=SUBJECT, data={})
        assert [event.transaction_id for event in await rows()] == [None]
        return
    below = text(
        "SELECT id FROM events WHERE transaction_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    )
    async with database.write() as slow:
        await record(slow, "asset.created", owner_id=None, subject=SUBJECT, data={})
        async with database.write() as quick:
            await record(quick, "asset.deleted", owner_id=None, subject=SUBJECT, data={})
        assert [event.kind for event in await rows()] == ["asset.deleted"]
        async with database.read() as session:
            assert (await session.scalars(below)).all() == []
    async with database.read() as session:
        assert len((await session.scalars(below)).all()) == 2
