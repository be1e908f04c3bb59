"""Whose a task is, and its turn among those that can be run now.

What is queued without a turn waits for its time, or is being run; the workers give turns to what was queued before.

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

from mediakeep.db.base import BigInt

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_QUEUED = "status = 'queued'"
_IN_LINE = f"{_QUEUED} AND turn IS NOT NULL"
_NOT_IN_LINE = f"{_QUEUED} AND turn IS NULL"


def upgrade() -> None:
    op.drop_index("ix_tasks_queued", "tasks")
    op.add_column("tasks", sa.Column("owner_id", BigInt, nullable=False, server_default=sa.text("0")))
    op.add_column("tasks", sa.Column("turn", BigInt, nullable=True))
    _create_index("ix_tasks_line", ["priority", "turn", "run_at"], where=_IN_LINE)
    _create_index("ix_tasks_owner_line", ["owner_id", "priority", "turn"], where=_IN_LINE)
    _create_index("ix_tasks_waiting", ["run_at"], where=_NOT_IN_LINE)


def downgrade() -> None:
    for name in ("ix_tasks_waiting", "ix_tasks_owner_line", "ix_tasks_line"):
        op.drop_index(name, "tasks")
    op.drop_column("tasks", "turn")
    op.drop_column("tasks", "owner_id")
    _create_index("ix_tasks_queued", ["priority", "run_at"], where=_QUEUED)


def _create_index(name: str, columns: list[str], *, where: str) -> None:
    op.create_index(name, "tasks", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
