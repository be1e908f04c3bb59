"""Times as the surfaces print them."""

from datetime import UTC, datetime


def zulu(time: datetime) -> str:
    """ISO 8601 in UTC, to the second, ending in Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
