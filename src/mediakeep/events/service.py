"""Recording what happened."""

from typing import Any

from sqlalchemy import func, insert, null
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import now_plus
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
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    await session.execute(
        insert(Event).values(
            created_at=now_plus(),
            owner_id=owner_id,
            kind=kind,
            subject=subject,
            data=data,
            transaction_id=null() if on_sqlite else func.txid_current(),
        )
    )
