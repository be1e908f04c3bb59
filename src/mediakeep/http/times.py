"""Times as the surfaces print them."""

from datetime import UTC, datetime


def zulu(time: datetime) -> str:
    """ISO 8601 in UTC, to the second, ending in Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def naive(time: datetime) -> str:
    """ISO 8601 in UTC, to the second, without zone: what older clients compare with naive times of their own."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
