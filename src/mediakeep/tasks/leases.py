"""The statements on claimed tasks. Each that writes is fenced: it changes nothing once the lease is somebody else's."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from mediakeep.db import now_plus
from mediakeep.tasks.models import QUEUED, Task
from mediakeep.tasks.registry import LEASE_SECONDS, Claimed, Registered

_t = cast("Table", Task.__table__)  # without the ORM's bookkeeping these statements take half the time

_CLAIMED = _t.c[
    "id", "name", "payload", "state", "key", "attempts", "max_attempts", "deadline_at", "priority", "run_at"
]

_RELEASED = {"leased_until": None, "lease_token": None, "woken": False}


async def claim(session: AsyncSession, known: Mapping[str, Registered], *, limit: int) -> list[Claimed]:
    """Take the first tasks that are due and that this process knows, as many as there are up to `limit`."""
    token = secrets.token_hex(16)
    statement = _claim_statement(tuple((name, task.lease_seconds) for name, task in known.items()))
    values = {"token": token, "limit": limit}
    rows = (await session.execute(statement, values)).all()
    return [_claimed(row, known[row.name], token) for row in sorted(rows, key=_turn)]


def _turn(row: Row[Any]) -> tuple[int, datetime]:
    return row.priority, row.run_at


def _claimed(row: Row[Any], task: Registered, token: str) -> Claimed:
    return Claimed(
        id=row.id,
        name=row.name,
        payload=row.payload,
        state=row.state,
        key=row.key,
        attempt=row.attempts,
        max_attempts=task.max_attempts if row.max_attempts is None else row.max_attempts,
        deadline_at=row.deadline_at,
        seconds_left=None if row.deadline_at is None else (row.deadline_at - row.now).total_seconds(),
        lease_seconds=task.lease_seconds,
        lease_token=token,
    )


@lru_cache(maxsize=8)  # putting it together takes longer than running it
def _claim_statement(lease_seconds_of: tuple[tuple[str, float], ...]) -> Executable:
    # A CTE that locks is computed once; PostgreSQL might run a subquery several times, and so pass the limit.
    first = _first_due(name for name, _ in lease_seconds_of).cte("first_due")
    return (
        update(_t)
        .where(_t.c.id.in_(select(first.c.id)))
        .values(
            leased_until=_lease_end(lease_seconds_of),
            lease_token=bindparam("token"),
            attempts=_t.c.attempts + 1,
            woken=False,
        )
        .returning(
            *_CLAIMED,
            now_plus().label("now"),
        )
    )


def _first_due(known: Iterable[str]) -> Select[tuple[int]]:
    # In a subquery of its own, PostgreSQL reads its volatile clock once instead of for every row.
    now = select(now_plus()).scalar_subquery()
    return (
        select(_t.c.id)
        .where(
            _t.c.status == QUEUED,
            _t.c.name.in_(list(known)),
            _t.c.run_at <= now,
            or_(_t.c.leased_until.is_(None), _t.c.leased_until <= now),
        )
        .order_by(_t.c.priority, _t.c.run_at)
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True)
    )


def _lease_end(lease_seconds_of: Iterable[tuple[str, float]]) -> Any:  # an SQL expression
    names: dict[float, list[str]] = {}
    for name, seconds in lease_seconds_of:
        names.setdefault(seconds, []).append(name)
    names.pop(LEASE_SECONDS, None)
    ends = [(_t.c.name.in_(of), now_plus(seconds)) for seconds, of in names.items()]
    usual = now_plus(LEASE_SECONDS)
    return case(*ends, else_=usual) if ends else usual


async def due_in(session: AsyncSession, known: Iterable[str]) -> float | None:
    """Seconds until a task of these names can be claimed, below 0 when one can be now; None when there is none."""
    row = (await session.execute(_due_statement(tuple(known)))).one()
    return None if row.next is None else (row.next - row.now).total_seconds()


@lru_cache(maxsize=8)
def _due_statement(known: tuple[str, ...]) -> Executable:
    free_at = case((_t.c.leased_until > _t.c.run_at, _t.c.leased_until), else_=_t.c.run_at)
    statement = select(func.min(free_at).label("next"), now_plus().label("now"))
    return statement.where(_t.c.status == QUEUED, _t.c.name.in_(known))


async def unknown_names(session: AsyncSession, known: Iterable[str]) -> list[str]:
    """Names of due tasks that are not among those given."""
    due = and_(_t.c.status == QUEUED, _t.c.run_at <= now_plus())
    statement = select(_t.c.name).where(due, not_(_t.c.name.in_(known))).distinct().order_by(_t.c.name)
    return list(await session.scalars(statement))


async def renew(session: AsyncSession, claimed: Claimed) -> bool:
    """Whether the lease still stands; if so, it runs anew from now."""
    return await _write(session, _update(claimed, {"leased_until": now_plus(claimed.lease_seconds)}))


async def finish(session: AsyncSession, done: Sequence[Claimed]) -> set[int]:
    """The tasks are done; returns the ids of those whose leases still stood.

    Only tasks with a key are kept, so that the same occasion does not come twice.
    """
    finished: set[int] = set()
    if without_key := [claimed for claimed in done if claimed.key is None]:
        deletion = delete(_t).where(*_are(without_key)).returning(_t.c.id)
        finished.update(await session.scalars(deletion))
    if with_key := [claimed for claimed in done if claimed.key is not None]:
        ended = {**_RELEASED, "status": "done", "finished_at": now_plus()}
        finished.update(
            await session.scalars(update(_t).where(*_are(with_key)).values(ended).returning(_t.c.id))
        )
    return finished


async def postpone(
    session: AsyncSession, claimed: Claimed, *, seconds: float, state: dict[str, Any] | None
) -> bool:
    """The step said "not yet". A wake-up that came meanwhile makes it "now"."""
    new_state = {} if state is None else {"state": state}
    return await _write(session, _release(claimed, run_at=_later(seconds), attempts=0, **new_state))


async def put_off(session: AsyncSession, claimed: Claimed, *, seconds: float, error: str) -> bool:
    """The step failed, and is tried again."""
    return await _write(session, _release(claimed, run_at=_later(seconds), last_error=error))


async def bury(session: AsyncSession, claimed: Claimed, *, error: str) -> bool:
    """The task failed for good; it stays for an admin to see and retry."""
    return await _write(session, _release(claimed, status="dead", finished_at=now_plus(), last_error=error))


async def give_back(session: AsyncSession, claimed: Claimed) -> bool:
    """The step was interrupted by a shut-down, which does not count as an attempt."""
    return await _write(session, _release(claimed, attempts=_t.c.attempts - 1))


def _later(seconds: float) -> Any:  # an SQL expression
    return case((_t.c.woken, now_plus()), else_=now_plus(seconds))


def _release(claimed: Claimed, **values: Any) -> ReturningUpdate[Any]:
    return _update(claimed, {**_RELEASED, **values})


def _update(claimed: Claimed, values: Mapping[str, Any]) -> ReturningUpdate[Any]:
    return update(_t).where(*_are([claimed])).values(values).returning(_t.c.id)


def _are(claims: Sequence[Claimed]) -> tuple[ColumnElement[bool], ...]:
    """The fence. The first condition is for SQLite, which finds no rows by a pair."""
    pairs = [(claimed.id, claimed.lease_token) for claimed in claims]
    return _t.c.id.in_([id_ for id_, _ in pairs]), tuple_(_t.c.id, _t.c.lease_token).in_(pairs)


async def _write(session: AsyncSession, statement: ReturningUpdate[Any]) -> bool:
    return await session.scalar(statement) is not None
