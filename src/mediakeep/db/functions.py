"""SQL functions that the two engines spell differently."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Text, literal, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from mediakeep.db.base import UTCDateTime


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


class larger(FunctionElement[int]):  # noqa: N801 an SQL function
    """The larger of two numbers, neither of which is NULL."""

    type = BigInteger()
    inherit_cache = True
    name = "larger"


@compiles(larger, "postgresql")
def _larger_postgresql(element: larger, compiler: SQLCompiler, **options: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **options)})"


@compiles(larger, "sqlite")
def _larger_sqlite(element: larger, compiler: SQLCompiler, **options: Any) -> str:
    return f"max({compiler.process(element.clauses, **options)})"


class json_object(FunctionElement[str]):  # noqa: N801 an SQL function
    """A JSON object as text, from names and values; what is JSON already goes through `as_json` first."""

    type = Text()
    inherit_cache = True
    name = "json_object"

    def __init__(self, members: Mapping[str, Any]) -> None:  # SQL expressions or plain values
        clauses: list[Any] = []
        for name, value in members.items():
            clauses += [literal_column(f"'{name}'"), value]
        super().__init__(*clauses)


class as_json(FunctionElement[str]):  # noqa: N801 an SQL function
    """A JSON column as a member of a `json_object`, instead of as a string."""

    inherit_cache = True
    name = "as_json"


class zulu(FunctionElement[str]):  # noqa: N801 an SQL function
    """A time column as ISO 8601 in UTC, to the second, ending in Z."""

    type = Text()
    inherit_cache = True
    name = "zulu"


@compiles(json_object, "postgresql")
def _json_object_postgresql(element: json_object, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_build_object({compiler.process(element.clauses, **options)})::text"


@compiles(json_object, "sqlite")
def _json_object_sqlite(element: json_object, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_object({compiler.process(element.clauses, **options)})"


@compiles(as_json, "postgresql")
def _as_json_postgresql(element: as_json, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})::json"


@compiles(as_json, "sqlite")
def _as_json_sqlite(element: as_json, compiler: SQLCompiler, **options: Any) -> str:
    return f"json({compiler.process(element.clauses, **options)})"


@compiles(zulu, "postgresql")
def _zulu_postgresql(element: zulu, compiler: SQLCompiler, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)
    return f"to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"


@compiles(zulu, "sqlite")
def _zulu_sqlite(element: zulu, compiler: SQLCompiler, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {time})"


class naive(FunctionElement[str]):  # noqa: N801 an SQL function
    """A time column as `zulu`, but without zone."""

    type = Text()
    inherit_cache = True
    name = "naive"


@compiles(naive, "postgresql")
def _naive_postgresql(element: naive, compiler: SQLCompiler, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)
    return f"to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS')"


@compiles(naive, "sqlite")
def _naive_sqlite(element: naive, compiler: SQLCompiler, **options: Any) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%S', {compiler.process(element.clauses, **options)})"
