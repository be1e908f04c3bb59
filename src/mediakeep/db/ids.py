"""Any number of row ids as one parameter of a query that is compiled once."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


def is_among(column: Any, name: str) -> ColumnElement[bool]:
    """Whether the column is one of the numbers of the parameter `name`, whose value `among` makes."""
    condition: ColumnElement[bool] = column.bool_op("IN")(_Numbers(bindparam(name, type_=Text())))
    return condition


def among(numbers: Iterable[int]) -> str:
    return json.dumps(list(numbers))


class _Numbers(FunctionElement[int]):
    type = BigInteger()
    inherit_cache = True
    name = "numbers"


@compiles(_Numbers, "postgresql")
def _postgresql(element: _Numbers, compiler: SQLCompiler, **options: Any) -> str:
    given = compiler.process(element.clauses, **options)
    return f"(SELECT CAST(json_array_elements_text(CAST({given} AS json)) AS bigint))"


@compiles(_Numbers, "sqlite")
def _sqlite(element: _Numbers, compiler: SQLCompiler, **options: Any) -> str:
    given = compiler.process(element.clauses, **options)
    return f"(SELECT CAST(value AS INTEGER) FROM json_each({given}))"  # noqa: S608 a parameter
