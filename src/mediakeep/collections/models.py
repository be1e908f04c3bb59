"""Tables of what assets belong to."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db.base import Base, BigInt, PublicId
from mediakeep.db.functions import now_plus


def _gone_index(table: str) -> Index:
    """The few rows that are being deleted, which every read of assets leaves out."""
    are_gone = text("gone_at IS NOT NULL")
    return Index(f"ix_{table}_gone", "id", sqlite_where=are_gone, postgresql_where=are_gone)


class Client(Base):
    __tablename__ = "clients"
    __table_args__ = (
        Index(None, "owner_id", "created_at", "id"),
        _gone_index("clients"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    updated_at: Mapped[datetime] = mapped_column(default=now_plus())
    #: Set when it is deleted: gone for readers at once, while a task removes what belongs to it.
    gone_at: Mapped[datetime | None]


class Campaign(Base):
    __tablename__ = "campaigns"
    __table_args__ = (
        Index(None, "owner_id", "created_at", "id"),
        Index(None, "client_id"),
        _gone_index("campaigns"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    client_id: Mapped[int | None] = mapped_column(ForeignKey("clients.id"))
    name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    updated_at: Mapped[datetime] = mapped_column(default=now_plus())
    gone_at: Mapped[datetime | None]


class Persona(Base):
    """Its integer `id` is the one that clients see, so it is never used again."""

    __tablename__ = "personas"
    __table_args__ = (
        Index(None, "owner_id", "created_at", "id"),
        _gone_index("personas"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    updated_at: Mapped[datetime] = mapped_column(default=now_plus())
    gone_at: Mapped[datetime | None]


class Project(Base):
    __tablename__ = "projects"
    __table_args__ = (
        Index(None, "owner_id", "created_at", "id"),
        _gone_index("projects"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    updated_at: Mapped[datetime] = mapped_column(default=now_plus())
    gone_at: Mapped[datetime | None]
