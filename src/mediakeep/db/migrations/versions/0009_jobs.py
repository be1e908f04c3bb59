"""What users ask of models.

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

from mediakeep.db.base import BigInt, Json, UTCDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", BigInt, nullable=False),
        sa.Column("public_id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", BigInt, nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("model_id", sa.String(length=255), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=100), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("input", Json, nullable=False),
        sa.Column("sources", Json, nullable=False),
        sa.Column("notes", Json, nullable=False),
        sa.Column("placing", Json, nullable=False),
        sa.Column("target_asset_id", sa.String(length=36), nullable=True),
        sa.Column("generation_id", sa.String(length=36), nullable=True),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("callback_token", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("error_message", sa.String(length=1000), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("task_id", BigInt, nullable=True),
        sa.Column("submitted_at", UTCDateTime(), nullable=True),
        sa.Column("prepared_digest", sa.String(length=64), nullable=True),
        sa.Column("prepared_digests", Json, nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=True),
        sa.Column("outputs", Json, nullable=False),
        sa.Column("output_types", Json, nullable=False),
        sa.Column("metrics", Json, nullable=False),
        sa.Column("cost", sa.Float(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_jobs_status"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_jobs_owner_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("public_id", name=op.f("uq_jobs_public_id")),
        sa.UniqueConstraint("callback_token", name=op.f("uq_jobs_callback_token")),
        sa.UniqueConstraint("provider", "reference", name=op.f("uq_jobs_provider_reference")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_jobs_owner_id_created_at_id"), "jobs", ["owner_id", "created_at", "id"])
    op.create_index(op.f("ix_jobs_owner_id_status"), "jobs", ["owner_id", "status"])
    op.create_index(op.f("ix_jobs_status_created_at"), "jobs", ["status", "created_at"])
    op.create_index(op.f("ix_jobs_prepared_digest"), "jobs", ["prepared_digest"])


def downgrade() -> None:
    op.drop_table("jobs")
