"""The tables of users, their sign-ins and API keys, of what the rate limits count, and of what happened to accounts."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, ForeignKey, Index, Select, String, Text, select, text
from sqlalchemy.orm import Mapped, mapped_column

from mediakeep.db import Base, now_plus
from mediakeep.db.base import BigInt, PublicId


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        # At most one row is the founder, whoever registers at the same time.
        Index(
            "uq_users_is_founder",
            "is_founder",
            unique=True,
            sqlite_where=text("is_founder"),
            postgresql_where=text("is_founder"),
        ),
        # The few that are being deleted, which every read of assets leaves out.
        Index(
            "ix_users_gone",
            "id",
            sqlite_where=text("gone_at IS NOT NULL"),
            postgresql_where=text("gone_at IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    #: As it was given; `email_folded` is what must be unique and what people are found by.
    email: Mapped[str] = mapped_column(String(320))
    email_folded: Mapped[str] = mapped_column(String(640), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_admin: Mapped[bool]
    #: The first account of the server.
    is_founder: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    disabled_at: Mapped[datetime | None]
    #: Set when it is deleted: gone for everybody at once, while a task removes what it owned.
    gone_at: Mapped[datetime | None]

    @classmethod
    def is_active(cls) -> ColumnElement[bool]:
        """May log in: neither disabled nor deleted."""
        return cls.disabled_at.is_(None) & cls.gone_at.is_(None)


def gone_users() -> Select[int]:
    """The ids of users who are being deleted."""
    return select(User.id).where(User.gone_at.is_not(None))


class SignIn(Base):
    """A family of refresh tokens: each use replaces the token, and only the newest is good."""

    __tablename__ = "sign_ins"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 SQLAlchemy's

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True, default=lambda: str(uuid4()))
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    #: SHA-256 of what all tokens of the family begin with: tells an old token of ours from an invented one.
    family_hash: Mapped[str] = mapped_column(String(64), unique=True)
    #: SHA-256 of the one token that is good now.
    refresh_hash: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    last_used_at: Mapped[datetime] = mapped_column(default=now_plus())
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]


class ApiKey(Base):
    __tablename__ = "api_keys"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 SQLAlchemy's

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    public_id: Mapped[str] = mapped_column(PublicId, unique=True, default=lambda: str(uuid4()))
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    #: The first characters of the key, by which people recognise it.
    prefix: Mapped[str] = mapped_column(String(16))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    #: The key's own limit instead of the setting's; 0 is no limit.
    uploads_per_minute: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class RateHit(Base):
    """One counted attempt of a moving window."""

    __tablename__ = "rate_hits"
    __table_args__ = (Index(None, "bucket", "at"), Index(None, "at"))

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    bucket: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime]


class IdempotencyKey(Base):
    """A request that was carried out, and its answer, for whoever sends it again because the answer was lost."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    #: SHA-256 of what was asked: address, content and fields.
    fingerprint: Mapped[str] = mapped_column(String(64))
    #: JSON as it was sent.
    answer: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now_plus(), index=True)


class AuditEntry(Base):
    """An act that matters to the security of accounts. Whom it names may be gone by now: nothing is a foreign key."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index(None, "created_at"),
        Index(None, "action", "id"),
        Index(None, "actor_id", "id"),
        Index(None, "user_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now_plus())
    #: Such as "user.disabled".
    action: Mapped[str] = mapped_column(String(64))
    #: Who did it, and the public id of the API key or the sign-in they did it with; none: nobody known, or the shell.
    actor_id: Mapped[int | None] = mapped_column(BigInt)
    api_key_id: Mapped[str | None] = mapped_column(PublicId)
    sign_in_id: Mapped[str | None] = mapped_column(PublicId)
    #: Where the request came from; "shell" for the command line.
    address: Mapped[str] = mapped_column(String(64))
    #: Whose account or thing it was done to.
    user_id: Mapped[int | None] = mapped_column(BigInt)
    #: The public id of what it was done to, where that is not the account itself.
    subject: Mapped[str | None] = mapped_column(String(64))
    details: Mapped[dict[str, Any]]
