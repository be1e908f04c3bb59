"""The task table's own upkeep."""

from sqlalchemy import delete, or_, select

from mediakeep.db import now_plus
from mediakeep.library import Library
from mediakeep.tasks.models import Task
from mediakeep.tasks.registry import Claimed, periodic, registered_tasks
from mediakeep.tasks.schedule import current_keys, database_time

_KEPT_SECONDS = 24 * 3600
#: Time enough for an admin to see what failed for good, and to have it tried again.
_DEAD_KEPT_SECONDS = 30 * 24 * 3600
_CHUNK = 500


@periodic("tasks.purge", every=lambda _: 3600)
async def purge(library: Library, _job: Claimed) -> None:
    """Remove tasks that were done or cancelled a day ago or died 30 days ago.

    Those of present slots stay, or the slot would run twice.
    """
    async with library.database.read() as session:
        now = await database_time(session)
    present = current_keys(library.settings, registered_tasks().values(), now)
    ended = select(Task.id).where(
        or_(
            Task.status.in_(("done", "cancelled")) & (Task.finished_at < now_plus(-_KEPT_SECONDS)),
            (Task.status == "dead") & (Task.finished_at < now_plus(-_DEAD_KEPT_SECONDS)),
        ),
        Task.key.is_(None) | Task.key.not_in(present.values()),
    )
    deleted = _CHUNK
    while deleted == _CHUNK:
        async with library.database.write() as session:
            statement = delete(Task).where(Task.id.in_(ended.limit(_CHUNK))).returning(Task.id)
            deleted = len(
                (await session.scalars(statement, execution_options={"synchronize_session": False})).all()
            )
