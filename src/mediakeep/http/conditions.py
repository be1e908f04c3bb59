"""Conditional requests and byte ranges (RFC 9110 §13 and §14)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)
_ETAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class RangeNotSatisfiable(Exception):
    """The range lies past the end of the content."""


@dataclass(frozen=True)
class ByteRange:
    """Part of a content: from `start` up to, not including, `end`."""

    start: int
    end: int


def http_date(time: datetime) -> str:
    """The one date form that is sent, to the second (RFC 9110 §5.6.7)."""
    return format_datetime(time.astimezone(UTC).replace(microsecond=0), usegmt=True)


def precondition_status(headers: Mapping[str, str], *, etag: str, modified_at: datetime) -> int | None:
    """304 or 412 where a GET's or HEAD's preconditions say so, else None. In the order of RFC 9110 §13.2.2."""
    modified_at = modified_at.replace(microsecond=0)
    if "if-match" in headers:
        if not _matches(headers["if-match"], etag, weakly=False):
            return 412
    elif (unmodified := _find_date(headers.get("if-unmodified-since"))) and modified_at > unmodified:
        return 412
    if "if-none-match" in headers:
        return 304 if _matches(headers["if-none-match"], etag, weakly=True) else None
    since = _find_date(headers.get("if-modified-since"))
    return 304 if since and modified_at <= since else None


def requested_range(
    headers: Mapping[str, str], *, size: int, etag: str, modified_at: datetime
) -> ByteRange | None:
    """The one range that a GET asks for, clamped to `size`. RFC 9110 §14.2.

    None, for the whole content, where there is none, where it is malformed, of another unit or one of several, or
    where If-Range names another version. Raises `RangeNotSatisfiable`.
    """
    match = _RANGE.fullmatch(headers.get("range", "").strip())
    if not match or not _is_same_version(headers.get("if-range"), etag, modified_at):
        return None
    first, last = match.groups()
    if len(first) > 19 or len(last) > 19 or not (first or last):
        return None
    if not first:
        return _suffix(int(last), size)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise RangeNotSatisfiable
    return ByteRange(int(first), min(int(last) + 1, size) if last else size)


def _suffix(length: int, size: int) -> ByteRange:
    if length == 0 or size == 0:
        raise RangeNotSatisfiable
    return ByteRange(max(0, size - length), size)


def _is_same_version(if_range: str | None, etag: str, modified_at: datetime) -> bool:
    """If-Range needs a strong validator, and a date only counts when it is exactly ours (RFC 9110 §13.1.5)."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == etag
    return _find_date(if_range) == modified_at.replace(microsecond=0)


def _matches(header: str, etag: str, *, weakly: bool) -> bool:
    if header.strip() == "*":
        return True
    return any(opaque == etag and (weakly or not weak) for weak, opaque in _ETAG.findall(header))


def _find_date(value: str | None) -> datetime | None:
    """None for a date that is not one, which is then ignored as the RFC asks."""
    if not value:
        return None
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
