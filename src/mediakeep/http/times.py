"""Times as the surfaces print them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator


def _not_a_number(value: object) -> object:
    """Pydantic takes a number for seconds since 1970."""
    if isinstance(value, str) and "-" not in value[1:]:
        raise ValueError("it must be a time in ISO 8601, such as 2025-11-15T12:34:56Z")
    return value


def _in_utc(time: datetime) -> datetime:
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("it must be a time between the years 1 and 9999") from error


#: A time as callers write it, in UTC where no zone is given; arrives in UTC.
GivenTime = Annotated[datetime, BeforeValidator(_not_a_number), AfterValidator(_in_utc)]


def zulu(time: datetime) -> str:
    """ISO 8601 in UTC, to the second, ending in Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def naive(time: datetime) -> str:
    """As `zulu`, but without zone."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
