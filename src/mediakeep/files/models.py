"""Tables of stored content."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db.base import Base, BigInt, Json, PublicId
from mediakeep.db.functions import now_plus


class File(Base):
    """One stored content: its bytes never change, so neither does anything here."""

    __tablename__ = "files"

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    #: Names the folder of its renditions.
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    #: Where the bytes live; random, never used again.
    key: Mapped[str] = mapped_column(String(80), unique=True)
    format: Mapped[str] = mapped_column(String(8))
    media_type: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    duration_seconds: Mapped[float | None] = mapped_column(Float)
    page_count: Mapped[int | None] = mapped_column(Integer)
    #: Everything else that was read out of it; `location` in it is for the owner only.
    facts: Mapped[dict[str, Any]] = mapped_column(Json)
    #: 64 bits as a signed number.
    phash: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now_plus())


class Variant(Base):
    """A rendition that somebody asked for by size or format: what it takes up, and when it was last of use.

    The bytes may be missing, since rows go first and these are not looked at to serve anything.
    """

    __tablename__ = "variants"
    __table_args__ = (
        Index(None, "file_id", "used_at"),
        # Alone tells what all of them take up, and which go first.
        Index(None, "used_at", "size"),
    )

    key: Mapped[str] = mapped_column(String(160), primary_key=True)
    #: CASCADE: it keeps no file alive.
    file_id: Mapped[int] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"))
    size: Mapped[int] = mapped_column(BigInteger)
    is_preset: Mapped[bool]
    used_at: Mapped[datetime] = mapped_column(default=now_plus())


class Orphan(Base):
    """A key without a row, as a sweep found it; a later sweep looks again before it deletes the bytes."""

    __tablename__ = "orphans"

    key: Mapped[str] = mapped_column(String(160), primary_key=True)
    found_at: Mapped[datetime] = mapped_column(default=now_plus())


class LibraryIdentity(Base):
    """One row: which library this is. The store holds the same, so that the two cannot be mixed up."""

    __tablename__ = "library"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId)
