"""Tasks as an admin sees them: a page at a time, and without secrets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Row, Select, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import now_plus
from mediakeep.db.base import table_of
from mediakeep.errors import NotFound
from mediakeep.logs import hide_secrets
from mediakeep.tasks.models import QUEUED, Task
from mediakeep.tasks.registry import registered_tasks

#: A task that is running is queued in the table, with a lease that lasts.
Status = Literal["queued", "running", "done", "dead", "cancelled"]

STATUSES: tuple[Status, ...] = get_args(Status)

_t = table_of(Task)

_STATUS = case((and_(_t.c.status == QUEUED, _t.c.leased_until > now_plus()), "running"), else_=_t.c.status)


@dataclass(frozen=True, kw_only=True)
class ShownTask:
    """A task without what its payload or its state hold that is a secret by its name or its look."""

    id: int
    name: str
    status: Status
    owner_id: int | None  # None: the program's own
    key: str | None
    priority: int
    payload: dict[str, Any]  # JSON, as is the state
    state: dict[str, Any]
    attempts: int
    max_attempts: int | None  # None: not known here
    run_at: datetime
    leased_until: datetime | None
    deadline_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    last_error: str | None


async def list_page(
    session: AsyncSession,
    *,
    statuses: Sequence[Status] = STATUSES,
    name: str | None = None,
    limit: int,
    offset: int = 0,
    oldest_first: bool = False,
) -> tuple[list[ShownTask], int]:
    """A page of tasks, newest first unless asked otherwise, and how many there are in all."""
    asked_for = _tasks().where(_STATUS.in_(statuses))
    if name is not None:
        asked_for = asked_for.where(_t.c.name == name)
    total = await session.scalar(asked_for.with_only_columns(func.count()))
    order = _t.c.id.asc() if oldest_first else _t.c.id.desc()
    rows = await session.execute(asked_for.order_by(order).limit(limit).offset(offset))
    return [_shown(row) for row in rows], total or 0


async def get_task(session: AsyncSession, task_id: int) -> ShownTask:
    """One task. Raises `NotFound`."""
    row = (await session.execute(_tasks().where(_t.c.id == task_id))).one_or_none()
    if row is None:
        raise NotFound("Task not found")
    return _shown(row)


def _tasks() -> Select[Any]:
    columns = [column for column in _t.c if column.name != "status"]
    return select(*columns, _STATUS.label("status"))


def _shown(row: Row[Any]) -> ShownTask:
    known = registered_tasks().get(row.name)
    return ShownTask(
        id=row.id,
        name=row.name,
        status=row.status,
        owner_id=row.owner_id or None,
        key=row.key,
        priority=row.priority,
        payload=_without_secrets(row.payload),
        state=_without_secrets(row.state),
        attempts=row.attempts,
        max_attempts=row.max_attempts or (known.max_attempts if known else None),
        run_at=row.run_at,
        leased_until=row.leased_until if row.status == "running" else None,
        deadline_at=row.deadline_at,
        created_at=row.created_at,
        finished_at=row.finished_at,
        last_error=row.last_error,
    )


def _without_secrets(value: Any) -> Any:  # JSON
    if isinstance(value, dict):
        return {name: _without_secrets(one) for name, one in hide_secrets(None, "", dict(value)).items()}
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    return hide_secrets(None, "", {"value": value})["value"]
