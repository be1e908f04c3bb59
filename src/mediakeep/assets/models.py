"""Tables of named things, their tags and generations, and what there is of them in projects."""

from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
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
        Index(None, "project_id", "updated_at", "id"),
        Index(None, "project_id", "name", "id"),
        Index(None, "project_id", "generation_count", "id"),
        Index(None, "created_at", "id"),
        # What `/media` lists and counts, from the index alone: SQLite prefers it only where it covers the query.
        Index(
            "ix_assets_persona_media",
            *("owner_id", "created_at", "id", "type", "persona_id", "size"),
            *("client_id", "campaign_id", "project_id", "file_id"),
            sqlite_where=text("file_id IS NOT NULL AND persona_id IS NOT NULL"),
            postgresql_where=text("file_id IS NOT NULL AND persona_id IS NOT NULL"),
        ),
        CheckConstraint("(focal_x IS NULL) = (focal_y IS NULL)", name="focal_point"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    #: What lists and deliveries show: the favourite's image, else that of the generation completed first, else the own file.
    #: RESTRICT: a file row cannot go while an asset refers to it, whatever a task believes.
    file_id: Mapped[int | None] = mapped_column(ForeignKey("files.id", ondelete="RESTRICT"), index=True)
    #: What it was uploaded with.
    own_file_id: Mapped[int | None] = mapped_column(ForeignKey("files.id", ondelete="RESTRICT"), index=True)
    generation_count: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
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


#: What a generation can be; it ends in one of the last three.
Status = Literal["pending", "generating", "completed", "failed", "cancelled"]

STATUSES: Final[tuple[Status, ...]] = get_args(Status)


class Generation(Base):
    """One version of an image asset that a model made, or is making. Its asset's row is locked before it is changed."""

    __tablename__ = "generations"
    __table_args__ = (
        Index(None, "asset_id", "created_at", "id"),
        Index(None, "asset_id", "status", "created_at", "id"),
        Index(
            "uq_generations_is_favorite",
            "asset_id",
            unique=True,
            sqlite_where=text("is_favorite = 1"),  # as SQLAlchemy asks for it
            postgresql_where=text("is_favorite"),
        ),
        CheckConstraint(
            "status IN ('pending', 'generating', 'completed', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint("status <> 'completed' OR file_id IS NOT NULL", name="completed_has_file"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    asset_id: Mapped[int] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    file_id: Mapped[int | None] = mapped_column(ForeignKey("files.id", ondelete="RESTRICT"), index=True)
    status: Mapped[Status] = mapped_column(String(10))
    is_favorite: Mapped[bool] = mapped_column(default=False)
    parameters: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", Json, default=dict)
    #: What `parameters` name as their model, or "".
    model: Mapped[str] = mapped_column(String(255), default="")
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    updated_at: Mapped[datetime] = mapped_column(default=now_plus())


class ProjectCounter(Base):
    """How many there are of something in a project, and how large they are; see `counters`."""

    __tablename__ = "project_counters"
    __table_args__ = (
        # The tags used most, of however many.
        Index(
            "ix_project_counters_tags",
            "project_id",
            "n",
            sqlite_where=text("dim = 'tag'"),
            postgresql_where=text("dim = 'tag'"),
        ),
        {"sqlite_with_rowid": False},
    )

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    dim: Mapped[str] = mapped_column(String(16), primary_key=True)
    #: In the same order on both engines, whatever the database's language.
    val: Mapped[str] = mapped_column(
        String(255).with_variant(String(255, collation="C"), "postgresql"), primary_key=True
    )
    #: How a tag was last written.
    name: Mapped[str | None] = mapped_column(String(255))
    n: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)


class OwnerCounter(Base):
    """How many assets an owner has of something, and how large they are; see `counters`.

    What counts is the sum of a counter's slots: transactions that take different ones do not wait for each other.
    """

    __tablename__ = "owner_counters"
    __table_args__ = (
        # All that there is, whosever it is.
        Index(
            "ix_owner_counters_listed",
            *("dim", "owner_id", "val", "n"),
            sqlite_where=text("dim = 'listed'"),
            postgresql_where=text("dim = 'listed'"),
        ),
        {"sqlite_with_rowid": False},
    )

    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    dim: Mapped[str] = mapped_column(String(16), primary_key=True)
    val: Mapped[str] = mapped_column(
        String(255).with_variant(String(255, collation="C"), "postgresql"), primary_key=True
    )
    slot: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
