"""Asking for background work, in the transaction that causes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Insert, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from mediakeep.db import now_plus
from mediakeep.tasks.models import QUEUED, Task

#: Set in a session's `info` when its commit leaves something to do; a worker in the same process then looks at once.
WORK_WAITS = "tasks.work_waits"


async def enqueue(
    session: AsyncSession,
    name: str,
    payload: dict[str, Any],  # JSON
    *,
    key: str | None = None,
    delay_seconds: float = 0,
    priority: int = 0,
    max_attempts: int | None = None,
    deadline_seconds: float | None = None,
) -> int | None:
    """Have the task `name` run once this transaction has committed; returns its id.

    None when a task with that `key` is there already. Tasks with a key are kept for a day after they ended, so a
    key names one occasion. Smaller priorities go first. `max_attempts` overrides the task's own. A task that is not
    done `deadline_seconds` from now is given up.
    """
    statement = (
        _insert(session)
        .values(
            name=name,
            payload=payload,
            state={},
            key=key,
            priority=priority,
            run_at=now_plus(delay_seconds),
            woken=False,
            attempts=0,
            max_attempts=max_attempts,
            deadline_at=None if deadline_seconds is None else now_plus(deadline_seconds),
            status="queued",
            created_at=now_plus(),
        )
        .returning(Task.id)
    )
    task_id: int | None = await session.scalar(statement)
    if task_id is not None:
        session.info[WORK_WAITS] = True
    return task_id


async def wake(session: AsyncSession, task_id: int) -> bool:
    """Have a waiting task run now; one that is running runs again when it next says "not yet".

    False when it has ended.
    """
    sooner = case((Task.run_at > now_plus(), now_plus()), else_=Task.run_at)
    statement = update(Task).where(Task.id == task_id, Task.status == QUEUED)
    return await _change(session, statement.values(run_at=sooner, woken=True).returning(Task.id))


async def cancel(session: AsyncSession, task_id: int) -> bool:
    """End a task that is not done. One that is running is stopped at its next renewal and cannot write its result.

    False when it has ended.
    """
    statement = update(Task).where(Task.id == task_id, Task.status == QUEUED)
    ended = statement.values(
        status="cancelled", finished_at=now_plus(), leased_until=None, lease_token=None, woken=False
    )
    return await _change(session, ended.returning(Task.id))


async def retry_dead(session: AsyncSession, task_id: int) -> bool:
    """Queue a dead task again, from the state that it had reached, with all its attempts and no deadline.

    False when it is not dead.
    """
    statement = update(Task).where(Task.id == task_id, Task.status == "dead")
    again = statement.values(
        status="queued", run_at=now_plus(), attempts=0, deadline_at=None, finished_at=None
    )
    return await _change(session, again.returning(Task.id))


async def list_tasks(
    session: AsyncSession, *, statuses: Sequence[str], names: Sequence[str] | None = None
) -> list[Task]:
    """The tasks of these statuses and names (any name without them), oldest first. One that is running is queued."""
    statement = select(Task).where(Task.status.in_(statuses)).order_by(Task.id)
    if names is not None:
        statement = statement.where(Task.name.in_(names))
    return list(await session.scalars(statement))


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """How many tasks have not ended, how many failed for good, and how long the first one is due that nobody works on."""

    waiting: int
    dead: int
    overdue_seconds: float


async def backlog(session: AsyncSession) -> Backlog:
    """The figures of the whole table."""
    is_free = or_(Task.leased_until.is_(None), Task.leased_until <= now_plus())
    due = select(func.min(Task.run_at)).where(Task.status == QUEUED, Task.run_at <= now_plus(), is_free)
    waiting = select(func.count()).select_from(Task).where(Task.status == QUEUED)
    dead = select(func.count()).select_from(Task).where(Task.status == "dead")
    statement = select(
        waiting.scalar_subquery().label("waiting"),
        dead.scalar_subquery().label("dead"),
        due.scalar_subquery().label("due_at"),
        now_plus().label("now"),
    )
    row = (await session.execute(statement)).one()
    overdue = 0.0 if row.due_at is None else (row.now - row.due_at).total_seconds()
    return Backlog(waiting=row.waiting, dead=row.dead, overdue_seconds=overdue)


async def _change(session: AsyncSession, statement: ReturningUpdate[tuple[int]]) -> bool:
    found = await session.scalar(statement, execution_options={"synchronize_session": False})
    if found is not None:
        session.info[WORK_WAITS] = True
    return found is not None


def _insert(session: AsyncSession) -> Insert:
    """An INSERT that passes over a key that is taken."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(Task).on_conflict_do_nothing(index_elements=[Task.key])
    return postgresql.insert(Task).on_conflict_do_nothing(index_elements=[Task.key])
