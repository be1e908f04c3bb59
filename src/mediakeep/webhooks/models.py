"""The tables of subscriptions and of what was sent to them."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db import Base, now_plus
from mediakeep.db.base import BigInt, PublicId

URL_CHARACTERS = 2048
SECRET_CHARACTERS = 100


class Webhook(Base):
    """A subscription: where which of its owner's events are told."""

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "owner_id", "created_at", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True, default=lambda: str(uuid4()))
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(String(URL_CHARACTERS))
    #: Types such as "asset.created", families such as "asset.*", or "*".
    events: Mapped[list[str]]
    description: Mapped[str] = mapped_column(Text)
    #: What deliveries are signed with, as its owner sees it: "whsec_…".
    secret: Mapped[str] = mapped_column(String(SECRET_CHARACTERS))
    #: What they are also signed with until then: the secret before this one.
    previous_secret: Mapped[str | None] = mapped_column(String(SECRET_CHARACTERS))
    previous_until: Mapped[datetime | None]
    enabled: Mapped[bool]
    #: Why the server has switched it off.
    note: Mapped[str | None] = mapped_column(String(500))
    #: Attempts that failed since the last that did not, when the first of them was, and until when nothing is tried.
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    updated_at: Mapped[datetime] = mapped_column(default=now_plus())


class SigningSecret(Base):
    """A user's own secret: what is sent to an address that is no webhook, such as a job's, is signed with it."""

    __tablename__ = "signing_secrets"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    secret: Mapped[str] = mapped_column(String(SECRET_CHARACTERS))
    previous_secret: Mapped[str | None] = mapped_column(String(SECRET_CHARACTERS))
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now_plus())


class Delivery(Base):
    """An event on its way to a webhook or to an address of its own, or arrived, or given up.

    `webhook_id` and `owner_id` are no foreign keys: whoever records an event need not wait for somebody who deletes the
    webhook, and a task clears away what is left of one.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
        Index(None, "webhook_id", "created_at", "id"),
        Index(None, "owner_id", "created_at", "id"),
        Index(None, "created_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    #: Also the `webhook-id` by which receivers know that they have had it before.
    public_id: Mapped[str] = mapped_column(PublicId, unique=True)
    #: The webhook that it is for; where there is none, whose it is and where it goes.
    webhook_id: Mapped[int | None] = mapped_column(BigInt)
    owner_id: Mapped[int | None] = mapped_column(BigInt)
    url: Mapped[str | None] = mapped_column(String(URL_CHARACTERS))
    type: Mapped[str] = mapped_column(String(64))
    data: Mapped[dict[str, Any]]  # JSON
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    status: Mapped[str] = mapped_column(String(16), default="pending")
    #: The task that sends it; one that an earlier demand left behind sends nothing.
    task_id: Mapped[int | None] = mapped_column(BigInt)
    attempts: Mapped[int] = mapped_column(default=0)
    attempted_at: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration_seconds: Mapped[float | None]
    response_status: Mapped[int | None]
    response_body: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(String(500))
