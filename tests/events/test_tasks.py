from types import SimpleNamespace

from sqlalchemy import update

from mediakeep.db import now_plus
from mediakeep.events import record
from mediakeep.events.models import Event
from mediakeep.events.reading import RESUMABLE_SECONDS
from mediakeep.events.tasks import purge
from mediakeep.tasks.registry import registered_tasks

DAY = 24 * 3600


async def test_events_are_purged_after_a_week(database, rows):
    async with database.write() as session:
        for n in range(1003):  # more than two chunks
            await record(session, "asset.created", owner_id=1, subject=str(n), data={})
        await session.execute(update(Event).where(Event.subject != "0").values(created_at=now_plus(-8 * DAY)))
        for subject, seconds in (("1", 6 * DAY), ("2", RESUMABLE_SECONDS + 1800)):
            aged = update(Event).where(Event.subject == subject)
            await session.execute(aged.values(created_at=now_plus(-seconds)))
    await purge(SimpleNamespace(database=database), None)
    assert [event.subject for event in await rows()] == ["0", "1", "2"]


def test_the_purge_is_a_periodic_task(settings):
    assert registered_tasks()["events.purge"].every(settings) == 3600
