"""Generations of image assets, the asset's own file beside the one that is shown, and counters of projects.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

from mediakeep.db.base import BigInt, Json, UTCDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: The same order on both engines, whatever the database's language.
_VALUE = sa.String(length=255).with_variant(sa.String(length=255, collation="C"), "postgresql")


def upgrade() -> None:
    _create_generations()
    _change_assets()
    _create_counters()


def _create_generations() -> None:
    op.create_table(
        "generations",
        sa.Column("id", BigInt, nullable=False),
        sa.Column("public_id", sa.String(length=36), nullable=False),
        sa.Column("asset_id", BigInt, nullable=False),
        sa.Column("file_id", BigInt, nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("is_favorite", sa.Boolean(), nullable=False),
        sa.Column("parameters", Json, nullable=False),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'generating', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_generations_status"),
        ),
        sa.CheckConstraint(
            "status <> 'completed' OR file_id IS NOT NULL", name=op.f("ck_generations_completed_has_file")
        ),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_generations_asset_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["file_id"], ["files.id"], name=op.f("fk_generations_file_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
        sa.UniqueConstraint("public_id", name=op.f("uq_generations_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_generations_asset_id_created_at_id"), "generations", ["asset_id", "created_at", "id"]
    )
    op.create_index(
        op.f("ix_generations_asset_id_status_created_at_id"),
        "generations",
        ["asset_id", "status", "created_at", "id"],
    )
    op.create_index(op.f("ix_generations_file_id"), "generations", ["file_id"])
    op.create_index(
        "uq_generations_is_favorite",
        "generations",
        ["asset_id"],
        unique=True,
        sqlite_where=sa.text("is_favorite = 1"),
        postgresql_where=sa.text("is_favorite"),
    )


def _change_assets() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # It can add a constraint along with a column only; Alembic would write the whole table anew.
        op.execute(
            "ALTER TABLE assets ADD COLUMN own_file_id INTEGER "
            "CONSTRAINT fk_assets_own_file_id REFERENCES files (id) ON DELETE RESTRICT"
        )
    else:
        op.add_column("assets", sa.Column("own_file_id", BigInt, nullable=True))
        op.create_foreign_key(
            op.f("fk_assets_own_file_id"), "assets", "files", ["own_file_id"], ["id"], ondelete="RESTRICT"
        )
    # The default is for servers of the version before, which may still run.
    op.add_column(
        "assets", sa.Column("generation_count", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.execute("UPDATE assets SET own_file_id = file_id WHERE file_id IS NOT NULL")
    op.create_index(op.f("ix_assets_own_file_id"), "assets", ["own_file_id"])
    for column in ("updated_at", "name", "generation_count"):
        op.create_index(op.f(f"ix_assets_project_id_{column}_id"), "assets", ["project_id", column, "id"])


def _create_counters() -> None:
    op.create_table(
        "project_counters",
        sa.Column("project_id", BigInt, nullable=False),
        sa.Column("dim", sa.String(length=16), nullable=False),
        sa.Column("val", _VALUE, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_counters_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "dim", "val", name=op.f("pk_project_counters")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_project_counters_tags",
        "project_counters",
        ["project_id", "n"],
        sqlite_where=sa.text("dim = 'tag'"),
        postgresql_where=sa.text("dim = 'tag'"),
    )
    for counted in _COUNTED:
        op.execute(f"INSERT INTO project_counters (project_id, dim, val, name, n, bytes) {counted}")


#: What there can be in projects before there are generations.
_COUNTED = (
    "SELECT project_id, 'assets', '', NULL, count(*), 0 FROM assets WHERE project_id IS NOT NULL GROUP BY project_id",
    """
    SELECT a.project_id, 'tag', t.folded, max(t.name), count(*), 0
    FROM assets a JOIN asset_tags link ON link.asset_id = a.id JOIN tags t ON t.id = link.tag_id
    WHERE a.project_id IS NOT NULL GROUP BY a.project_id, t.folded
    """,
    """
    SELECT a.project_id, 'files', '', NULL, count(*), sum(f.size)
    FROM assets a JOIN files f ON f.id = a.file_id WHERE a.project_id IS NOT NULL GROUP BY a.project_id
    """,
)


def downgrade() -> None:
    op.drop_table("project_counters")
    for column in ("generation_count", "name", "updated_at"):
        op.drop_index(op.f(f"ix_assets_project_id_{column}_id"), "assets")
    op.drop_index(op.f("ix_assets_own_file_id"), "assets")
    op.execute("ALTER TABLE assets DROP COLUMN generation_count")
    op.execute("ALTER TABLE assets DROP COLUMN own_file_id")
    op.drop_table("generations")
