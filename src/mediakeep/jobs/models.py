"""The table of what users ask of models."""

from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db.base import Base, BigInt, Json, PublicId
from mediakeep.db.functions import now_plus

#: What a job can be; it ends in one of the last three.
Status = Literal["pending", "processing", "completed", "failed", "cancelled"]

STATUSES: Final[tuple[Status, ...]] = get_args(Status)

ACTIVE: Final[tuple[Status, ...]] = ("pending", "processing")


class Job(Base):
    """What somebody asked of a model, how it stands, and what came out.

    `submitted_at` is written before its provider is called: with it, and without a `reference`, it is not known whether
    the provider has begun, and nobody may ask again.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "owner_id", "created_at", "id"),
        Index(None, "owner_id", "status"),
        Index(None, "status", "created_at"),
        Index(None, "prepared_digest"),
        UniqueConstraint("provider", "reference"),
        CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')", name="status"
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    provider: Mapped[str] = mapped_column(String(32))
    #: As it was asked for, and what that stands for where it is an alias.
    model_id: Mapped[str] = mapped_column(String(255))
    model: Mapped[str] = mapped_column(String(255))
    version: Mapped[str | None] = mapped_column(String(100))
    prompt: Mapped[str] = mapped_column(Text)
    input: Mapped[dict[str, Any]]  # JSON, what the model's schema knows of it
    #: Addresses in `input` that are this library's own, and whose asset or generation each is: "asset:<id>".
    sources: Mapped[dict[str, Any]]
    #: What was left out or changed, in sentences.
    notes: Mapped[list[str]] = mapped_column(Json, default=list)
    #: Where the outputs go: collections by the ids that clients know, visibility.
    placing: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    #: The image asset that gets a generation, and that generation.
    target_asset_id: Mapped[str | None] = mapped_column(PublicId)
    generation_id: Mapped[str | None] = mapped_column(PublicId)
    webhook_url: Mapped[str | None] = mapped_column(Text)
    #: In the address that the provider calls back: says which job it is about, whatever else is lost.
    callback_token: Mapped[str] = mapped_column(String(64), unique=True)

    status: Mapped[Status] = mapped_column(String(10), default="pending")
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    error_message: Mapped[str | None] = mapped_column(String(1000))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    task_id: Mapped[int | None] = mapped_column(BigInt)

    submitted_at: Mapped[datetime | None]
    #: SHA-256 of the input as it was submitted, and of each of its members: by these a lost submission is found again.
    prepared_digest: Mapped[str | None] = mapped_column(String(64))
    prepared_digests: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    reference: Mapped[str | None] = mapped_column(String(200))

    #: The public ids of what came out, in the order of the outputs: assets, or generations where there is a target
    #: asset. And what each is: "video", "image" …
    outputs: Mapped[list[str]] = mapped_column(Json, default=list)
    output_types: Mapped[list[str]] = mapped_column(Json, default=list)
    metrics: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    cost: Mapped[float | None] = mapped_column(Float)

    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    updated_at: Mapped[datetime] = mapped_column(default=now_plus())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
