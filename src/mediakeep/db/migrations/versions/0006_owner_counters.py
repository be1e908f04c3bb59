"""What each owner has is counted, so that long lists need not be; videos are not among a project's image assets.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

from mediakeep.db.base import BigInt

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_IS_LISTED = sa.text("dim = 'listed'")

_COUNT = """\
INSERT INTO owner_counters (owner_id, dim, val, slot, n, bytes)
SELECT assets.owner_id, '{dim}', {val}, 0, count(*), {bytes} FROM assets {join} WHERE {condition} GROUP BY 1, 3"""

_COLLECTIONS = ("client_id", "campaign_id", "persona_id", "project_id")

_GENERATED = """\
INSERT INTO project_counters (project_id, dim, val, n, bytes)
SELECT project_id, 'generated', '', count(*), 0 FROM assets
WHERE project_id IS NOT NULL AND generation_count > 0 GROUP BY 1"""

_TAGS_OF_OTHERS = """\
UPDATE project_counters SET n = project_counters.n - others.n
FROM (
  SELECT assets.project_id AS project_id, tags.folded AS val, count(*) AS n
  FROM assets JOIN asset_tags ON asset_tags.asset_id = assets.id JOIN tags ON tags.id = asset_tags.tag_id
  WHERE assets.project_id IS NOT NULL AND assets.type <> 'image' GROUP BY 1, 2
) AS others
WHERE dim = 'tag' AND project_counters.project_id = others.project_id AND project_counters.val = others.val"""

_OTHERS = """\
UPDATE project_counters SET n = project_counters.n - others.n
FROM (
  SELECT project_id, count(*) AS n FROM assets WHERE project_id IS NOT NULL AND type <> 'image' GROUP BY 1
) AS others
WHERE dim = 'assets' AND project_counters.project_id = others.project_id"""

# A project's mark is on its image assets alone.
_INDEX_ANEW = """\
INSERT INTO tasks (name, payload, state, key, priority, run_at, woken, attempts, status, created_at)
SELECT 'search.build', '{}', '{}', 'search.build:0006', 0, created_at, false, 0, 'queued', created_at
FROM assets WHERE project_id IS NOT NULL AND type <> 'image' ORDER BY id DESC LIMIT 1"""


def _count(
    dim: str, val: str, *, condition: str = "file_id IS NOT NULL", size: bool = False, join: str = ""
) -> str:
    total = "sum(size)" if size else "0"
    return _COUNT.format(dim=dim, val=val, bytes=total, join=join, condition=condition)


def upgrade() -> None:
    op.create_table(
        "owner_counters",
        sa.Column("owner_id", BigInt, nullable=False),
        sa.Column("dim", sa.String(length=16), nullable=False),
        sa.Column(
            "val",
            sa.String(length=255).with_variant(sa.String(255, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_owner_counters_owner_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner_id", "dim", "val", "slot", name=op.f("pk_owner_counters")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_owner_counters_listed",
        "owner_counters",
        ["dim", "owner_id", "val", "n"],
        sqlite_where=_IS_LISTED,
        postgresql_where=_IS_LISTED,
    )
    tagged = "JOIN asset_tags ON asset_tags.asset_id = assets.id JOIN tags ON tags.id = asset_tags.tag_id"
    is_media = "file_id IS NOT NULL AND persona_id IS NOT NULL AND type IN ('image', 'video')"
    statements = [
        _count("listed", "type", size=True),
        _count("tag", "tags.folded", join=tagged),
        _count("media", "persona_id || ':' || type", condition=is_media, size=True),
        _count(
            "pair",
            "client_id || ':' || campaign_id",
            condition="client_id IS NOT NULL AND campaign_id IS NOT NULL",
        ),
    ]
    for kind in _COLLECTIONS:
        statements.append(
            _count(kind, f"CAST({kind} AS VARCHAR)", condition=f"file_id IS NOT NULL AND {kind} IS NOT NULL")
        )
        without = f"file_id IS NULL AND {kind} IS NOT NULL"
        statements.append(_count("fileless", f"'{kind}:' || {kind}", condition=without))
    for statement in [*statements, _TAGS_OF_OTHERS, _OTHERS, _GENERATED, _INDEX_ANEW]:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("owner_counters")
    op.execute("DELETE FROM project_counters WHERE dim = 'generated'")
