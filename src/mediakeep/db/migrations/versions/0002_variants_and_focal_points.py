"""Renditions that were asked for are accounted for; assets have a focal point.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

from mediakeep.db.base import BigInt, UTCDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FOCAL_POINT = "(focal_x IS NULL) = (focal_y IS NULL)"


def upgrade() -> None:
    op.create_table(
        "variants",
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("file_id", BigInt, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("is_preset", sa.Boolean(), nullable=False),
        sa.Column("used_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["files.id"], name=op.f("fk_variants_file_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_variants")),
    )
    op.create_index(op.f("ix_variants_file_id_used_at"), "variants", ["file_id", "used_at"])
    op.create_index(op.f("ix_variants_used_at_size"), "variants", ["used_at", "size"])

    op.add_column("assets", sa.Column("focal_x", sa.Float(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        # It can add a constraint along with a column only; Alembic would write the whole table anew.
        op.execute(
            f"ALTER TABLE assets ADD COLUMN focal_y FLOAT CONSTRAINT ck_assets_focal_point CHECK ({_FOCAL_POINT})"
        )
    else:
        op.add_column("assets", sa.Column("focal_y", sa.Float(), nullable=True))
        op.create_check_constraint(op.f("ck_assets_focal_point"), "assets", _FOCAL_POINT)


def downgrade() -> None:
    # With its column goes the constraint, on both engines.
    op.execute("ALTER TABLE assets DROP COLUMN focal_y")
    op.execute("ALTER TABLE assets DROP COLUMN focal_x")
    op.drop_index(op.f("ix_variants_used_at_size"), "variants")
    op.drop_index(op.f("ix_variants_file_id_used_at"), "variants")
    op.drop_table("variants")
