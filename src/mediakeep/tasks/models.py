"""The table of background work: what waits, who works on it, and how it ended."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ColumnElement, Index, SmallInteger, String, and_, literal, text
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db.base import Base, BigInt

#: Written into the statement, not bound: a plan made without the values must also see that the partial index applies.
QUEUED = literal("queued", literal_execute=True)

#: The columns of a task on which nobody works, and that does not stand in line either.
RELEASED = {"leased_until": None, "lease_token": None, "woken": False, "turn": None}


def _index(name: str, *columns: str, where: ColumnElement[bool]) -> Index:
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


class Task(Base):
    """A unit of background work. `leased_until` in the future means that somebody works on it now.

    What can be claimed now stands in line: it has a `turn`. What is queued without one is being worked on, or waits
    for its time.
    """

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    owner_id: Mapped[int] = mapped_column(BigInt, server_default=text("0"))  # 0: the program's own
    name: Mapped[str] = mapped_column(String(100))
    payload: Mapped[dict[str, Any]]  # JSON, as is the state
    state: Mapped[dict[str, Any]]
    key: Mapped[str | None] = mapped_column(String(200), unique=True)
    priority: Mapped[int] = mapped_column(SmallInteger)
    turn: Mapped[int | None] = mapped_column(BigInt)  # within its priority, the smallest first
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
        _index(
            "ix_tasks_line", "priority", "turn", "run_at", where=and_(status == QUEUED, turn.is_not(None))
        ),
        _index(
            "ix_tasks_owner_line",
            "owner_id",
            "priority",
            "turn",
            where=and_(status == QUEUED, turn.is_not(None)),
        ),
        _index("ix_tasks_waiting", "run_at", where=and_(status == QUEUED, turn.is_(None))),
        {"sqlite_autoincrement": True},
    )
