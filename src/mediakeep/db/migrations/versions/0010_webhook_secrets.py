"""Secrets that can be exchanged, one of each user's own, deliveries to other addresses; the outbox in reading order.

Revision: 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

from mediakeep.db.base import BigInt, UTCDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_DELIVERIES = "webhook_deliveries"


def upgrade() -> None:
    op.create_table(
        "signing_secrets",
        sa.Column("user_id", BigInt, nullable=False),
        sa.Column("secret", sa.String(length=100), nullable=False),
        sa.Column("previous_secret", sa.String(length=100), nullable=True),
        sa.Column("previous_until", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_signing_secrets_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_signing_secrets")),
    )
    op.add_column("webhooks", sa.Column("previous_secret", sa.String(length=100), nullable=True))
    op.add_column("webhooks", sa.Column("previous_until", UTCDateTime(), nullable=True))
    with op.batch_alter_table(_DELIVERIES, table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("webhook_id", existing_type=BigInt, nullable=True)
        batch.add_column(sa.Column("owner_id", BigInt, nullable=True))
        batch.add_column(sa.Column("url", sa.String(length=2048), nullable=True))
    op.create_index(
        op.f("ix_webhook_deliveries_owner_id_created_at_id"), _DELIVERIES, ["owner_id", "created_at", "id"]
    )
    op.drop_index("ix_events_owner_id_id", "events")
    op.create_index(
        op.f("ix_events_owner_id_transaction_id_id"), "events", ["owner_id", "transaction_id", "id"]
    )
    op.create_index(
        "ix_events_transaction_id_id",
        "events",
        ["transaction_id", "id"],
        sqlite_where=sa.text("transaction_id IS NOT NULL"),
        postgresql_where=sa.text("transaction_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_events_transaction_id_id", "events")
    op.drop_index(op.f("ix_events_owner_id_transaction_id_id"), "events")
    op.create_index(op.f("ix_events_owner_id_id"), "events", ["owner_id", "id"])
    op.drop_index(op.f("ix_webhook_deliveries_owner_id_created_at_id"), _DELIVERIES)
    op.execute(sa.text("DELETE FROM webhook_deliveries WHERE webhook_id IS NULL"))
    with op.batch_alter_table(_DELIVERIES, table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.drop_column("url")
        batch.drop_column("owner_id")
        batch.alter_column("webhook_id", existing_type=BigInt, nullable=False)
    with op.batch_alter_table("webhooks", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.drop_column("previous_until")
        batch.drop_column("previous_secret")
    op.drop_table("signing_secrets")
