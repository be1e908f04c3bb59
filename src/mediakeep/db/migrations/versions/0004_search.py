"""The full-text index and its vocabulary. Assets that are there already are indexed by a task.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from mediakeep.db.base import BigInt

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The words come told apart, with spaces between: `ascii` folds nothing beyond A to Z and splits at nothing beyond
# ASCII. The texts stay in `search_documents`.
_FTS5 = """\
CREATE VIRTUAL TABLE search_fts USING fts5(
  name, description, tags, prompts, scope,
  content = 'search_documents', content_rowid = 'asset_id', tokenize = 'ascii', prefix = '2 3'
)"""

_ADD = """\
INSERT INTO search_fts (rowid, name, description, tags, prompts, scope)
VALUES (new.asset_id, new.name, new.description, new.tags, new.prompts, new.scope);"""

_REMOVE = """\
INSERT INTO search_fts (search_fts, rowid, name, description, tags, prompts, scope)
VALUES ('delete', old.asset_id, old.name, old.description, old.tags, old.prompts, old.scope);"""

_TRIGGERS = {"insert": _ADD, "delete": _REMOVE, "update": f"{_REMOVE} {_ADD}"}

_BUILD = """\
INSERT INTO tasks (name, payload, state, key, priority, run_at, woken, attempts, status, created_at)
SELECT 'search.build', '{}', '{}', 'search.build:0004', 0, created_at, false, 0, 'queued', created_at
FROM assets ORDER BY id DESC LIMIT 1"""


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "search_documents",
        sa.Column("asset_id", BigInt, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("prompts", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("vector", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=True),
        sa.PrimaryKeyConstraint("asset_id", name=op.f("pk_search_documents")),
    )
    op.create_table(
        "terms",
        sa.Column("id", BigInt, nullable=False),
        sa.Column("word", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("gram_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terms")),
        sa.UniqueConstraint("word", name=op.f("uq_terms_word")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "term_grams",
        sa.Column("gram", sa.Text(), nullable=False),
        sa.Column("term_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["term_id"], ["terms.id"], name=op.f("fk_term_grams_term_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("gram", "term_id", name=op.f("pk_term_grams")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_term_grams_term_id"), "term_grams", ["term_id"])
    if is_sqlite:
        op.execute(_FTS5)
        for event, body in _TRIGGERS.items():
            op.execute(
                f"CREATE TRIGGER search_fts_{event} AFTER {event} ON search_documents BEGIN {body} END"
            )
    else:
        op.create_index("search_documents_fts", "search_documents", ["vector"], postgresql_using="gin")
    op.execute(_BUILD)


def downgrade() -> None:
    op.execute("DELETE FROM tasks WHERE name = 'search.build'")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE search_fts")
    op.drop_table("term_grams")
    op.drop_table("terms")
    op.drop_table("search_documents")
