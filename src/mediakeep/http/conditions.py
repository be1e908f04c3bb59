"""Conditional requests and byte ranges (RFC 9110 §13 and §14)."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate, parsedate_to_datetime
from functools import lru_cache

#: More ranges in one request than any reader of media needs; a header of 64 KB could ask for 10,000.
MAX_RANGES = 64

_RANGES = re.compile(r"bytes\s*=\s*(.*)", re.IGNORECASE)
_ONE_RANGE = re.compile(r"([0-9]{0,19})\s*-\s*([0-9]{0,19})")
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


def current_date() -> bytes:
    """The value of a Date header. A clock that is read once a second would be behind what was stored just now."""
    return _date_of(int(time.time()))


@lru_cache(maxsize=2)
def _date_of(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


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


def requested_ranges(
    headers: Mapping[str, str], *, size: int, etag: str, modified_at: datetime
) -> list[ByteRange]:
    """The ranges that a GET asks for, clamped to `size`; those that overlap or touch are made one. RFC 9110 §14.2.

    Empty, for the whole content, where there is no range, where one of them is malformed or of another unit, where
    they are more than `MAX_RANGES` or would be more bytes than the whole, or where If-Range names another version.
    Raises `RangeNotSatisfiable` where none of them overlaps the content.
    """
    match = _RANGES.fullmatch(headers.get("range", "").strip())
    if not match or match[1].count(",") > 2 * MAX_RANGES:
        return []
    if not _is_same_version(headers.get("if-range"), etag, modified_at):
        return []
    given = [one.strip() for one in match[1].split(",")]
    asked = [_positions(one) for one in given if one]  # a list may have empty members (RFC 9110 §5.6.1.2)
    if not asked or None in asked or len(asked) > MAX_RANGES:
        return []
    found = [part for one in asked if one and (part := _clamped(one, size))]
    if not found:
        raise RangeNotSatisfiable
    if len(found) > 1 and sum(part.end - part.start for part in found) > size:
        return []
    return _coalesced(found)


def _positions(text: str) -> tuple[int | None, int | None] | None:
    """First and last position of one range, or the length of a suffix as the second; None for what is malformed."""
    match = _ONE_RANGE.fullmatch(text)
    if not match or not (match[1] or match[2]):
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    return None if first is not None and last is not None and last < first else (first, last)


def _clamped(positions: tuple[int | None, int | None], size: int) -> ByteRange | None:
    first, last = positions
    if first is None:
        start, end = max(0, size - (last or 0)), size
    else:
        start, end = first, size if last is None else min(last + 1, size)
    return ByteRange(start, end) if start < end else None


def _coalesced(parts: list[ByteRange]) -> list[ByteRange]:
    """The parts as they were asked for, or, where some overlap or touch, made one and in ascending order."""
    joined: list[ByteRange] = []
    for part in sorted(parts, key=lambda part: part.start):
        if joined and part.start <= joined[-1].end:
            joined[-1] = ByteRange(joined[-1].start, max(joined[-1].end, part.end))
        else:
            joined.append(part)
    return parts if len(joined) == len(parts) else joined


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
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
