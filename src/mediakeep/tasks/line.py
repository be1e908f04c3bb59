"""Who comes when: each owner's tasks take turns with those of the others, however many somebody has.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queuing", SIGCOMM 1996) with tasks of equal weight: a
task's turn is one after its owner's last one, but never before the turn that comes next, so that nobody makes up for
what they did not ask for. Each priority is a line of its own, and so is what belongs to nobody.

Only what can be claimed now stands in line. What waits for its time would otherwise be in the way of each claim; it
takes its turn when its time has come, as does what was being worked on by somebody whose lease ran out.
"""

from functools import cache
from typing import Any

from sqlalchemy import CTE, ColumnElement, Executable, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import larger, now_plus
from mediakeep.db.base import table_of
from mediakeep.tasks.models import QUEUED, Task

_t = table_of(Task)  # without the ORM's bookkeeping these statements take half the time

#: How many take their turns in one statement: some milliseconds of SQLite's one writer.
CHUNK = 500


def next_turn(owner_id: ColumnElement[int], priority: ColumnElement[int]) -> ColumnElement[int]:
    """The turn of one more task of this owner; two lookups in indexes."""
    line = _t.alias("line")
    in_line = and_(line.c.status == QUEUED, line.c.turn.is_not(None), line.c.priority == priority)
    after_own = select(func.max(line.c.turn) + 1).where(in_line, line.c.owner_id == owner_id)
    first_of_all = select(func.min(line.c.turn)).where(in_line)
    return larger(
        func.coalesce(after_own.scalar_subquery(), 0), func.coalesce(first_of_all.scalar_subquery(), 0)
    )


def is_free() -> ColumnElement[bool]:
    """Whether nobody works on a task."""
    return or_(_t.c.leased_until.is_(None), _t.c.leased_until <= _now())


def has_come() -> ColumnElement[bool]:
    """Whether it is time to run a task."""
    return _t.c.run_at <= _now()


def _now() -> ColumnElement[Any]:
    # In a subquery of its own, PostgreSQL reads its volatile clock once instead of for every row.
    return select(now_plus()).scalar_subquery()


async def admit(session: AsyncSession) -> int:
    """Give a turn to what waited for a time that has come; returns how many got one, at most `CHUNK`."""
    return len((await session.scalars(_admit_statement())).all())


@cache
def _admit_statement() -> Executable:
    waits = and_(_t.c.status == QUEUED, _t.c.turn.is_(None))
    due = (
        select(_t.c.id, _t.c.owner_id, _t.c.priority, _t.c.run_at)
        .where(waits, has_come(), is_free())
        .order_by(_t.c.run_at)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    placed = select(due.c.id, (next_turn(due.c.owner_id, due.c.priority) + _place(due)).label("turn")).cte(
        "placed"
    )
    return update(_t).where(_t.c.id == placed.c.id).values(turn=placed.c.turn).returning(_t.c.id)


def _place(due: CTE) -> ColumnElement[int]:
    """0 for the first of an owner, 1 for the second, and so on."""
    return (
        func.row_number().over(
            partition_by=(due.c.owner_id, due.c.priority), order_by=(due.c.run_at, due.c.id)
        )
        - 1
    )
