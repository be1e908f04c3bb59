"""Tables of named things and their tags."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db.base import Base, BigInt, Json, PublicId
from mediakeep.db.functions import now_plus


def _listed(*columns: str) -> Index:
    """An index for the lists of assets that have a file, which alone answers how many there are."""
    have_file = text("file_id IS NOT NULL")
    name = f"ix_assets_listed_{'_'.join(columns[1:-1])}"
    return Index(name, *columns, sqlite_where=have_file, postgresql_where=have_file)


class Asset(Base):
    """A named thing that a user owns. `tags` and `size` repeat what other tables say, for show and for sorting."""

    __tablename__ = "assets"
    __table_args__ = (
        _listed("owner_id", "created_at", "id"),
        _listed("owner_id", "updated_at", "id"),
        _listed("owner_id", "name", "id"),
        _listed("owner_id", "size", "id"),
        _listed("owner_id", "type", "created_at", "id"),
        Index(None, "client_id", "created_at", "id"),
        Index(None, "campaign_id", "created_at", "id"),
        Index(None, "persona_id", "created_at", "id"),
        Index(None, "project_id", "created_at", "id"),
        Index(None, "created_at", "id"),
        CheckConstraint("(focal_x IS NULL) = (focal_y IS NULL)", name="focal_point"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    #: RESTRICT: a file row cannot go while an asset refers to it, whatever a task believes.
    file_id: Mapped[int | None] = mapped_column(ForeignKey("files.id", ondelete="RESTRICT"), index=True)
    type: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(255))
    #: The name that the file came with; what a download is called.
    file_name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    #: Name and description without case, in which words are looked for.
    folded: Mapped[str] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(Json, default=list)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", Json, default=dict)
    visibility: Mapped[str] = mapped_column(String(7))
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    #: The point that a crop keeps in view, or neither.
    focal_x: Mapped[float | None] = mapped_column(Float)
    focal_y: Mapped[float | None] = mapped_column(Float)
    client_id: Mapped[int | None] = mapped_column(ForeignKey("clients.id", ondelete="RESTRICT"))
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id", ondelete="RESTRICT"))
    persona_id: Mapped[int | None] = mapped_column(ForeignKey("personas.id", ondelete="RESTRICT"))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="RESTRICT"))
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    updated_at: Mapped[datetime] = mapped_column(default=now_plus())


class Tag(Base):
    """A word that an owner uses; two that differ only in case are one."""

    __tablename__ = "tags"
    __table_args__ = (UniqueConstraint("owner_id", "folded"),)

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    folded: Mapped[str] = mapped_column(String(192))


class AssetTag(Base):
    __tablename__ = "asset_tags"

    tag_id: Mapped[int] = mapped_column(ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True)
    asset_id: Mapped[int] = mapped_column(
        ForeignKey("assets.id", ondelete="CASCADE"), primary_key=True, index=True
    )
