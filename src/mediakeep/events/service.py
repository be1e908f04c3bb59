"""Recording what happened, and telling those who have to act upon it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Insert, delete, func, null, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import do_last, now_plus
from mediakeep.db.base import insert_on
from mediakeep.events.models import Event

#: Where a session keeps what was recorded in its transaction, and so where `Database.after_commit` sees it.
RECORDED: Final = "events.recorded"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An event of somebody's, as listeners see it."""

    owner_id: int
    kind: str
    subject: str
    data: dict[str, Any]  # JSON


Listener = Callable[[AsyncSession, Sequence[Recorded]], Awaitable[None]]

_listeners: list[Listener] = []


def listener(told: Listener) -> Listener:
    """Have the decorated function told, near the end of each transaction, of the events recorded in it.

    What it writes commits with them or not at all. For features above those that record: like tasks, they register
    when they are imported. Uploads wait for it, so it looks first whether there is anything to do.
    """
    _listeners.append(told)
    return told


async def record(
    session: AsyncSession,
    kind: str,
    *,
    owner_id: int | None,
    subject: str,
    data: dict[str, Any],  # JSON
) -> None:
    """Note that something happened, if this transaction commits.

    `kind` is like "asset.created", `subject` the public id of what it happened to. Kept for a week.
    """
    await record_all(session, kind, owner_id=owner_id, data={subject: data})


async def record_all(
    session: AsyncSession,
    kind: str,
    *,
    owner_id: int | None,
    data: Mapping[str, dict[str, Any]],  # JSON
) -> None:
    """As `record`, of several at once: `data` by subject."""
    rows = [
        {"owner_id": owner_id, "kind": kind, "subject": subject, "data": each}
        for subject, each in data.items()
    ]
    await session.execute(_insert(session.get_bind().dialect.name), rows)
    if owner_id is not None:
        happened = [
            Recorded(owner_id=owner_id, kind=kind, subject=subject, data=each)
            for subject, each in data.items()
        ]
        session.info.setdefault(RECORDED, []).extend(happened)
        do_last(session, _tell, order=-1)


async def _tell(session: AsyncSession) -> None:
    """Before anything is locked that other transactions wait for."""
    recorded: list[Recorded] = session.info[RECORDED]
    for told in _listeners:
        await told(session, recorded)


@lru_cache
def _insert(dialect_name: str) -> Insert:
    """Made once for each engine: building a statement costs more than running it."""
    transaction_id = null() if dialect_name == "sqlite" else func.txid_current()
    return insert_on(dialect_name, Event).values(created_at=now_plus(), transaction_id=transaction_id)


def document(kind: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    """What others are told of an event, the same by webhooks and in event streams; `data` with the subject as "id"."""
    happened_at = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": kind, "timestamp": happened_at, "data": data}


async def forget(session: AsyncSession, owner_id: int, *, limit: int) -> int:
    """Remove up to `limit` events of somebody who is gone; returns how many those were."""
    theirs = select(Event.id).where(Event.owner_id == owner_id).limit(limit)
    removed = delete(Event).where(Event.id.in_(theirs)).returning(Event.id)
    return len((await session.scalars(removed, execution_options={"synchronize_session": False})).all())
