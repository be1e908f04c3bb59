"""The outbox's upkeep."""

from sqlalchemy import delete, select

from mediakeep.db import now_plus
from mediakeep.events.models import Event
from mediakeep.events.reading import RESUMABLE_SECONDS
from mediakeep.library import Library
from mediakeep.tasks import Claimed, periodic

#: Longer than readers may be away, by what any transaction may last: they do not read quite in the order of the times.
_KEPT_SECONDS = RESUMABLE_SECONDS + 3600
_CHUNK = 500


@periodic("events.purge", every=lambda _: 3600)
async def purge(library: Library, _job: Claimed) -> None:
    """Remove the events of more than a week ago, a few at a time so that others can write meanwhile."""
    old = select(Event.id).where(Event.created_at < now_plus(-_KEPT_SECONDS)).limit(_CHUNK)
    deleted = _CHUNK
    while deleted == _CHUNK:
        async with library.database.write() as session:
            statement = delete(Event).where(Event.id.in_(old)).returning(Event.id)
            deleted = len(
                (await session.scalars(statement, execution_options={"synchronize_session": False})).all()
            )
