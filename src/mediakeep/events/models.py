"""The outbox: one row for each thing that happened."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db.base import Base, BigInt


class Event(Base):
    """Something that happened, such as "asset.created". Its owner may be gone by now, so it is no foreign key.

    PostgreSQL commits transactions in another order than it gives out ids. `transaction_id` tells readers which rows
    can still be preceded by one they have not seen: those not below `pg_snapshot_xmin(pg_current_snapshot())`. SQLite has
    one writer, and leaves it null. `reading.py` reads them.
    """

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(index=True)
    owner_id: Mapped[int | None] = mapped_column(BigInt)
    kind: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(64))
    data: Mapped[dict[str, Any]]  # JSON
    transaction_id: Mapped[int | None] = mapped_column(BigInt)

    __table_args__ = (
        Index(None, "owner_id", "transaction_id", "id"),
        # What was settled lately; on SQLite, where ids tell, it is empty.
        Index(
            "ix_events_transaction_id_id",
            "transaction_id",
            "id",
            sqlite_where=text("transaction_id IS NOT NULL"),
            postgresql_where=text("transaction_id IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )
