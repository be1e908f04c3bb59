"""Asking for background work, in the transaction that causes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, SmallInteger, and_, bindparam, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from mediakeep.db import now_plus
from mediakeep.db.base import insert_on, table_of
from mediakeep.tasks.line import is_free, next_turn
from mediakeep.tasks.models import QUEUED, RELEASED, Task

_t = table_of(Task)

_NEXT_TURN = next_turn(_t.c.owner_id, _t.c.priority)

_ANEW = {"status": "queued", "turn": _NEXT_TURN, "attempts": 0, "deadline_at": None, "finished_at": None}

_TURN_OF = next_turn(bindparam("of_owner", type_=BigInteger), bindparam("of_priority", type_=SmallInteger))

_FIRST_TURN = select(_TURN_OF)
_INSERT_ALL = insert(_t).values(run_at=now_plus(), created_at=now_plus()).returning(_t.c.id, _t.c.turn)

_MOST_AT_ONCE = 500

#: In a session's `info`: the ids of the tasks that its commit leaves to do. Workers that hear of it look at once.
WORK_WAITS = "tasks.work_waits"


async def enqueue(
    session: AsyncSession,
    name: str,
    payload: dict[str, Any],  # JSON
    *,
    owner_id: int | None = None,
    key: str | None = None,
    delay_seconds: float = 0,
    priority: int = 0,
    max_attempts: int | None = None,
    deadline_seconds: float | None = None,
) -> int | None:
    """Have the task `name` run once this transaction has committed; returns its id.

    `owner_id` is the user for whom it is done: users take turns, and the program itself, without one, with them. None
    when a task with that `key` is there already. Tasks with a key are kept for a day after they ended, so a key names
    one occasion. Smaller priorities go first. `max_attempts` overrides the task's own. A task that is not done
    `deadline_seconds` from now is given up.
    """
    statement = _insert_statement(session.get_bind().dialect.name, delay_seconds, deadline_seconds)
    values = {
        **_row(name, owner_id=owner_id, priority=priority, max_attempts=max_attempts),
        "payload": payload,
        "key": key,
        **({} if delay_seconds > 0 else {"of_owner": owner_id or 0, "of_priority": priority}),
    }
    task_id: int | None = await session.scalar(statement, values)
    if task_id is not None:
        _leave(session, task_id)
    return task_id


async def enqueue_all(
    session: AsyncSession,
    name: str,
    payloads: Sequence[dict[str, Any]],  # JSON
    *,
    owner_id: int | None = None,
    priority: int = 0,
    max_attempts: int | None = None,
) -> list[int]:
    """As `enqueue` for each of the payloads, in a few statements; the ids of the tasks in that order."""
    line = {"of_owner": owner_id or 0, "of_priority": priority}
    first_turn = (await session.execute(_FIRST_TURN, line)).scalar_one()
    same = _row(name, owner_id=owner_id, priority=priority, max_attempts=max_attempts)
    rows = [{**same, "payload": payload, "turn": turn} for turn, payload in enumerate(payloads, first_turn)]
    # Asked for the order of the rows, SQLAlchemy would have SQLite insert them one by one.
    ids_by_turn = {row.turn: row.id for row in await session.execute(_INSERT_ALL, rows)}
    task_ids = [ids_by_turn[row["turn"]] for row in rows]
    for task_id in task_ids:
        _leave(session, task_id)
    return task_ids


def _row(name: str, *, owner_id: int | None, priority: int, max_attempts: int | None) -> dict[str, Any]:
    return {
        "name": name,
        "state": {},
        "owner_id": owner_id or 0,
        "key": None,
        "priority": priority,
        "woken": False,
        "attempts": 0,
        "max_attempts": max_attempts,
        "status": "queued",
    }


async def wake(session: AsyncSession, task_id: int) -> bool:
    """Have a waiting task run now; one that is running runs again when it next says "not yet".

    False when it has ended.
    """
    sooner = case((_t.c.run_at > now_plus(), now_plus()), else_=_t.c.run_at)
    turn = case((and_(_t.c.turn.is_(None), is_free()), _NEXT_TURN), else_=_t.c.turn)
    statement = update(_t).where(_t.c.id == task_id, _t.c.status == QUEUED)
    return await _change(session, statement.values(run_at=sooner, woken=True, turn=turn).returning(_t.c.id))


async def wake_all(session: AsyncSession, name: str, *, owner_id: int) -> int:
    """As `wake`, for all of an owner's tasks of this name; returns how many have not ended."""
    theirs = select(_t.c.id).where(_t.c.owner_id == owner_id, _t.c.name == name, _t.c.status == QUEUED)
    task_ids = list(await session.scalars(theirs.order_by(_t.c.id)))
    for task_id in task_ids:
        await wake(session, task_id)
    return len(task_ids)


async def cancel(session: AsyncSession, task_id: int) -> bool:
    """End a task that is not done. One that is running is stopped at its next renewal and cannot write its result.

    False when it has ended.
    """
    statement = update(_t).where(_t.c.id == task_id, _t.c.status == QUEUED)
    ended = statement.values(**RELEASED, status="cancelled", finished_at=now_plus())
    return await _change(session, ended.returning(_t.c.id))


async def retry_dead(session: AsyncSession, task_id: int) -> bool:
    """Queue a dead task again, from the state that it had reached, with all its attempts and no deadline.

    False when it is not dead.
    """
    statement = update(_t).where(_t.c.id == task_id, _t.c.status == "dead")
    return await _change(session, statement.values(**_ANEW, run_at=now_plus()).returning(_t.c.id))


async def retry_some_dead(session: AsyncSession) -> list[int]:
    """Queue dead tasks again as `retry_dead` does, as many as one transaction should take; returns their ids."""
    some = select(_t.c.id).where(_t.c.status == "dead").order_by(_t.c.id).limit(_MOST_AT_ONCE)
    # Which of an owner's comes first is for `line.admit` to say.
    anew = update(_t).where(_t.c.id.in_(some)).values(**_ANEW | {"turn": None}, run_at=now_plus())
    task_ids = list(await session.scalars(anew.returning(_t.c.id)))
    for task_id in task_ids:
        _leave(session, task_id)
    return sorted(task_ids)


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


async def _change(session: AsyncSession, statement: ReturningUpdate[int]) -> bool:
    found = await session.scalar(statement)
    if found is not None:
        _leave(session, found)
    return found is not None


def _leave(session: AsyncSession, task_id: int) -> None:
    session.info.setdefault(WORK_WAITS, []).append(task_id)


@lru_cache(maxsize=64)  # putting it together takes longer than running it
def _insert_statement(
    dialect_name: str, delay_seconds: float, deadline_seconds: float | None
) -> ReturningInsert[int]:
    """An INSERT that passes over a key that is taken."""
    statement = insert_on(dialect_name, Task).on_conflict_do_nothing(index_elements=[_t.c.key])
    return statement.values(
        run_at=now_plus(delay_seconds),
        turn=None if delay_seconds > 0 else _TURN_OF,
        deadline_at=None if deadline_seconds is None else now_plus(deadline_seconds),
        created_at=now_plus(),
    ).returning(_t.c.id)
