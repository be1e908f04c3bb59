"""Times as the surfaces print them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator


def _not_a_number(value: object) -> object:
    """Pydantic takes a number for seconds since 1970."""
    if isinstance(value, str) and "-" not in value[1:]:
        raise ValueError("it must be a time in ISO 8601, such as 2025-11-15T12:34:56Z")
    return value


#: A time as callers write it, with or without a zone.
GivenTime = Annotated[datetime, BeforeValidator(_not_a_number)]


def zulu(time: datetime) -> str:
    """ISO 8601 in UTC, to the second, ending in Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
