"""The table of background work: what waits, who works on it, and how it ended."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, SmallInteger, String, literal
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db.base import Base, BigInt

#: Written into the statement, not bound: a plan made without the values must also see that the partial index applies.
QUEUED = literal("queued", literal_execute=True)


class Task(Base):
    """A unit of background work. `leased_until` in the future means that somebody works on it now."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    payload: Mapped[dict[str, Any]]  # JSON, as is the state
    state: Mapped[dict[str, Any]]
    key: Mapped[str | None] = mapped_column(String(200), unique=True)
    priority: Mapped[int] = mapped_column(SmallInteger)
    run_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    lease_token: Mapped[str | None] = mapped_column(String(32))
    woken: Mapped[bool]
    attempts: Mapped[int]
    max_attempts: Mapped[int | None]  # None: as many as the task's own registration says
    deadline_at: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(String(16))
    last_error: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("status IN ('queued', 'done', 'dead', 'cancelled')", name="status"),
        Index(
            "ix_tasks_queued",
            "priority",
            "run_at",
            sqlite_where=status == QUEUED,
            postgresql_where=status == QUEUED,
        ),
        {"sqlite_autoincrement": True},
    )
