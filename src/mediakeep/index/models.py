"""Tables of the full-text index. They hold words (`words.words`), not texts.

On SQLite, triggers keep an FTS5 table beside it, `search_fts`; on PostgreSQL, `vector` has a GIN index. Migration 0004
makes both.
"""

from sqlalchemy import BigInteger, ForeignKey, Integer, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db.base import Base, BigInt


class SearchDocument(Base):
    """What an asset is found by, each field as its words with spaces between."""

    __tablename__ = "search_documents"

    asset_id: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    tags: Mapped[str] = mapped_column(Text)
    prompts: Mapped[str] = mapped_column(Text)
    #: Whose it is and which project's, as words that no text holds: a search within them looks at nothing else.
    scope: Mapped[str] = mapped_column(Text)
    #: All of that as PostgreSQL looks for it; nothing on SQLite.
    vector: Mapped[str | None] = mapped_column(Text().with_variant(TSVECTOR(), "postgresql"))


class Term(Base):
    """A word that some text holds or held, in which misspelt ones are looked for."""

    __tablename__ = "terms"
    __table_args__ = (UniqueConstraint("word"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    #: In the order of code points, so that both engines cut a list of candidates at the same place.
    word: Mapped[str] = mapped_column(Text().with_variant(Text(collation="C"), "postgresql"))
    gram_count: Mapped[int] = mapped_column(Integer)


class TermGram(Base):
    """Three letters in a row of a word, by which words that are nearly the same are found."""

    __tablename__ = "term_grams"
    __table_args__ = ({"sqlite_with_rowid": False},)

    gram: Mapped[str] = mapped_column(Text, primary_key=True)
    term_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("terms.id", ondelete="CASCADE"), primary_key=True, index=True
    )
