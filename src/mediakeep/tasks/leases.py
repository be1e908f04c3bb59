"""The statements on claimed tasks. Each that writes is fenced: it changes nothing once the lease is somebody else's."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Dialect,
    Executable,
    Integer,
    Row,
    Select,
    String,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate, UpdateBase
from sqlalchemy.sql.type_api import TypeEngine

from mediakeep.db import as_time, now_plus
from mediakeep.db.base import table_of
from mediakeep.tasks.line import has_come, is_free, next_turn
from mediakeep.tasks.models import QUEUED, RELEASED, Task
from mediakeep.tasks.registry import LEASE_SECONDS, Claimed, Registered

_t = table_of(Task)

_CLAIMED = (
    *_t.c["id", "name", "key", "attempts", "max_attempts", "deadline_at", "priority", "run_at"],
    cast(_t.c.payload, Text).label("payload"),
    cast(_t.c.state, Text).label("state"),
)

#: What a statement can be sent through; a connection does it with less ado.
Executes = AsyncSession | AsyncConnection

#: Smaller than every priority.
BEFORE_ALL = -(1 << 15) - 1

_NEXT_TURN = next_turn(_t.c.owner_id, _t.c.priority)


async def claim(
    session: Executes, known: Mapping[str, Registered], *, limit: int, after: int = BEFORE_ALL
) -> list[Claimed]:
    """Take the first tasks in line that this process knows, as many as there are up to `limit`.

    `after` leaves out what has this priority or a smaller one.
    """
    token = secrets.token_hex(16)
    statement = _claim_statement(tuple((name, task.lease_seconds) for name, task in known.items()))
    rows = await _send(session, statement, {"token": token, "limit": limit, "after": after})
    return [_claimed(row, known[row.name], token) for row in sorted(rows, key=_rank)]


def _rank(row: Row[Any]) -> tuple[int, Any, int]:  # a time as its driver gives it
    return row.priority, row.run_at, row.id


def _claimed(row: Row[Any], task: Registered, token: str) -> Claimed:
    deadline_at = None if row.deadline_at is None else as_time(row.deadline_at)
    return Claimed(
        id=row.id,
        name=row.name,
        payload=json.loads(row.payload),
        state=json.loads(row.state),
        key=row.key,
        priority=row.priority,
        attempt=row.attempts,
        max_attempts=task.max_attempts if row.max_attempts is None else row.max_attempts,
        deadline_at=deadline_at,
        seconds_left=None if deadline_at is None else (deadline_at - as_time(row.now)).total_seconds(),
        lease_seconds=task.lease_seconds,
        lease_token=token,
    )


def _given(name: str, type_: type[TypeEngine[Any]]) -> BindParameter[Any]:
    """A parameter whose value comes with each call."""
    return bindparam(name, type_=type_, required=False)


async def _send(session: Executes, statement: UpdateBase, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Rows with the driver's own values: what SQLAlchemy adds to a statement takes twice as long as the statement."""
    connection = await session.connection() if isinstance(session, AsyncSession) else session
    sql, names, constants = _compiled(statement, connection.dialect)
    given = {**constants, **values}
    return (await connection.exec_driver_sql(sql, tuple(given[name] for name in names))).all()


@lru_cache(maxsize=128)
def _compiled(statement: UpdateBase, dialect: Dialect) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    """The text, the names of its parameters in their order, and the values of those that it brings along."""
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return str(compiled), tuple(compiled.positiontup or ()), dict(compiled.params)


@lru_cache(maxsize=8)  # putting it together takes longer than running it
def _claim_statement(lease_seconds_of: tuple[tuple[str, float], ...]) -> UpdateBase:
    # A CTE that locks is computed once; PostgreSQL might run a subquery several times, and so pass the limit.
    first = (
        _in_line(name for name, _ in lease_seconds_of)
        .where(_t.c.priority > _given("after", Integer))
        .limit(_given("limit", Integer))
        .with_for_update(skip_locked=True)
        .cte("first")
    )
    return (
        update(_t)
        .where(_t.c.id.in_(select(first.c.id)))
        .values(
            leased_until=_lease_end(lease_seconds_of),
            lease_token=_given("token", String),
            attempts=_t.c.attempts + 1,
            woken=False,
            turn=None,
        )
        .returning(
            *_CLAIMED,
            now_plus().label("now"),
        )
    )


def _in_line(known: Iterable[str]) -> Select[int]:
    return (
        select(_t.c.id)
        .where(_t.c.status == QUEUED, _t.c.turn.is_not(None), _t.c.name.in_(list(known)))
        .where(
            has_come(), is_free()
        )  # but for what another version of the program wrote, both go without saying
        .order_by(_t.c.priority, _t.c.turn, _t.c.run_at)
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
    """Seconds until a task of these names can be claimed, 0 or less when one can be now; None when there is none."""
    row = (await session.execute(_due_statement(tuple(known)))).one()
    if row.in_line:
        return 0.0
    times = [time for time in (row.free_at, row.run_at) if time]
    return (min(times) - row.now).total_seconds() if times else None


@lru_cache(maxsize=8)
def _due_statement(known: tuple[str, ...]) -> Executable:
    waits = and_(_t.c.status == QUEUED, _t.c.turn.is_(None), _t.c.name.in_(known))
    free_at = case((_t.c.leased_until > _t.c.run_at, _t.c.leased_until), else_=_t.c.run_at)
    # What runs, and what is due: few rows. Of what waits, however much that is, the first tells.
    past = select(func.min(free_at)).where(waits, has_come())
    future = select(func.min(_t.c.run_at)).where(waits, not_(has_come()))
    return select(
        _in_line(known).limit(1).scalar_subquery().label("in_line"),
        past.scalar_subquery().label("free_at"),
        future.scalar_subquery().label("run_at"),
        now_plus().label("now"),
    )


async def unknown_names(session: AsyncSession, known: Iterable[str]) -> list[str]:
    """Names of due tasks that are not among those given."""
    due = and_(_t.c.status == QUEUED, _t.c.run_at <= now_plus())
    statement = select(_t.c.name).where(due, not_(_t.c.name.in_(known))).distinct().order_by(_t.c.name)
    return list(await session.scalars(statement))


async def renew(session: AsyncSession, claimed: Claimed) -> bool:
    """Whether the lease still stands; if so, it runs anew from now."""
    return await _write(
        session, _update(claimed, {"leased_until": now_plus(claimed.lease_seconds), "turn": None})
    )


async def finish(session: Executes, done: Sequence[Claimed]) -> set[int]:
    """The tasks are done; returns the ids of those whose leases still stood.

    Only tasks with a key are kept, so that the same occasion does not come twice.
    """
    finished: set[int] = set()
    for has_key in (False, True):
        if claims := [claimed for claimed in done if (claimed.key is not None) is has_key]:
            statement = _finish_statement(len(claims), has_key=has_key)
            values = {
                f"{name}_{n}": value
                for n, claimed in enumerate(claims)
                for name, value in (("id", claimed.id), ("lease", claimed.lease_token))
            }
            finished.update(row.id for row in await _send(session, statement, values))
    return finished


@lru_cache(maxsize=128)
def _finish_statement(count: int, *, has_key: bool) -> UpdateBase:
    ids, leases = (
        [_given(f"{name}_{n}", type_) for n in range(count)]
        for name, type_ in (("id", BigInteger), ("lease", String))
    )
    fence = or_(
        *(and_(_t.c.id == id_, _t.c.lease_token == lease) for id_, lease in zip(ids, leases, strict=True))
    )
    if not has_key:
        return delete(_t).where(fence).returning(_t.c.id)
    ended = {**RELEASED, "status": "done", "finished_at": now_plus()}
    return update(_t).where(fence).values(ended).returning(_t.c.id)


async def postpone(
    session: AsyncSession, claimed: Claimed, *, seconds: float, state: dict[str, Any] | None
) -> bool:
    """The step said "not yet". A wake-up that came meanwhile makes it "now"."""
    new_state = {} if state is None else {"state": state}
    return await _write(session, _release(claimed, **_later(seconds), attempts=0, **new_state))


async def put_off(session: AsyncSession, claimed: Claimed, *, seconds: float, error: str) -> bool:
    """The step failed, and is tried again."""
    return await _write(session, _release(claimed, **_later(seconds), last_error=error))


async def bury(session: AsyncSession, claimed: Claimed, *, error: str) -> bool:
    """The task failed for good; it stays for an admin to see and retry."""
    return await _write(session, _release(claimed, status="dead", finished_at=now_plus(), last_error=error))


async def give_back(session: AsyncSession, claimed: Claimed) -> bool:
    """The step was interrupted by a shut-down, which does not count as an attempt."""
    return await _write(session, _release(claimed, attempts=_t.c.attempts - 1, turn=_NEXT_TURN))


def _later(seconds: float) -> dict[str, Any]:  # SQL expressions by column
    if seconds <= 0:
        return {"run_at": now_plus(), "turn": _NEXT_TURN}
    return {
        "run_at": case((_t.c.woken, now_plus()), else_=now_plus(seconds)),
        "turn": case((_t.c.woken, _NEXT_TURN), else_=None),
    }


def _release(claimed: Claimed, **values: Any) -> ReturningUpdate[Any]:
    return _update(claimed, RELEASED | values)


def _update(claimed: Claimed, values: Mapping[str, Any]) -> ReturningUpdate[Any]:
    fence = (_t.c.id == claimed.id, _t.c.lease_token == claimed.lease_token)
    return update(_t).where(*fence).values(values).returning(_t.c.id)


async def _write(session: AsyncSession, statement: ReturningUpdate[Any]) -> bool:
    return await session.scalar(statement) is not None
