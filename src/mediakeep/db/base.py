"""The declarative base and the column types that both engines share."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, MetaData, String, TypeDecorator, literal
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

#: Integer keys: 64 bits on PostgreSQL; on SQLite the rowid, which only a column of type INTEGER can be.
BigInt = BigInteger().with_variant(Integer, "sqlite")

#: JSON documents that the program itself wrote or checked.
Json = JSON().with_variant(postgresql.JSONB, "postgresql")

#: The same, where None is the column's NULL and not JSON's null.
JsonOrNull = JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

#: Random ids in URLs: a version 4 UUID in its canonical lower-case form.
PublicId = String(36)


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
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


class now_plus(FunctionElement[datetime]):  # noqa: N801 an SQL function
    """The database's clock plus some seconds: one clock for all processes, whatever their machines say."""

    type = UTCDateTime()
    inherit_cache = True
    name = "now_plus"

    def __init__(self, seconds: float = 0) -> None:
        super().__init__(literal(float(seconds)))


@compiles(now_plus, "postgresql")
def _now_plus_postgresql(
    element: now_plus, compiler: SQLCompiler, **options: Any
) -> str:  # SQLAlchemy's signature
    return f"clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)})"


@compiles(now_plus, "sqlite")
def _now_plus_sqlite(
    element: now_plus, compiler: SQLCompiler, **options: Any
) -> str:  # SQLAlchemy's signature
    # The text form in which SQLAlchemy keeps a DateTime: microseconds, of which SQLite's clock has three digits.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {compiler.process(element.clauses, **options)} || ' seconds')"
