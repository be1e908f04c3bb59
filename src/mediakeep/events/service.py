"""Recording what happened."""

from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, delete, func, null, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import now_plus
from mediakeep.db.base import insert_on
from mediakeep.events.models import Event


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
    values = {"owner_id": owner_id, "kind": kind, "subject": subject, "data": data}
    await session.execute(_insert(session.get_bind().dialect.name), values)


@lru_cache
def _insert(dialect_name: str) -> Insert:
    """Made once for each engine: building a statement costs more than running it."""
    transaction_id = null() if dialect_name == "sqlite" else func.txid_current()
    return insert_on(dialect_name, Event).values(created_at=now_plus(), transaction_id=transaction_id)


async def forget(session: AsyncSession, owner_id: int, *, limit: int) -> int:
    """Remove up to `limit` events of somebody who is gone; returns how many those were."""
    theirs = select(Event.id).where(Event.owner_id == owner_id).limit(limit)
    removed = delete(Event).where(Event.id.in_(theirs)).returning(Event.id)
    return len((await session.scalars(removed, execution_options={"synchronize_session": False})).all())
