"""The declarative base and the column types that both engines share."""

import re
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

#: Integer keys: 64 bits on PostgreSQL; on SQLite the rowid, which only a column of type INTEGER can be.
BigInt = BigInteger().with_variant(Integer, "sqlite")

#: JSON documents that the program itself wrote or checked.
Json = JSON().with_variant(postgresql.JSONB, "postgresql")

#: Random ids in URLs: a version 4 UUID in its canonical lower-case form.
PublicId = String(36)

_PUBLIC_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def as_public_id(given: str) -> str:
    """An id from a URL as its column has it; "" for what cannot be one, which nothing has."""
    return given.lower() if _PUBLIC_ID.fullmatch(given) else ""


class UTCDateTime(TypeDecorator[datetime]):
    """Aware UTC times; SQLite, which knows no zones, keeps them naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table; constraints have names so that migrations can change them on both engines."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UTCDateTime(), dict[str, Any]: Json, list[str]: Json}  # noqa: RUF012 SQLAlchemy's


def insert_into(session: AsyncSession, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say `on_conflict_do_…`, in the dialect of the session's database."""
    return insert_on(session.get_bind().dialect.name, table)


def insert_on(dialect_name: str, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """As `insert_into`, for statements that are made once and kept."""
    if dialect_name == "sqlite":
        return sqlite.insert(table_of(table))
    return postgresql.insert(table_of(table))


def table_of(model: type[Base]) -> Table:
    """The table of a model, for statements that need nothing of the ORM."""
    return cast("Table", model.__table__)
