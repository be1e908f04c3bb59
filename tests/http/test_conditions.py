from datetime import UTC, datetime, timedelta, timezone

import pytest

from mediakeep.http.conditions import (
    ByteRange,
    RangeNotSatisfiable,
    http_date,
    precondition_status,
    requested_range,
)

ETAG = '"abc"'
MODIFIED = datetime(2024, 5, 1, 12, 0, 0, 999_999, tzinfo=UTC)
DATE = "Wed, 01 May 2024 12:00:00 GMT"


@pytest.fixture
def status():
    def status(**headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return precondition_status(named, etag=ETAG, modified_at=MODIFIED)

    return status


@pytest.fixture
def part():
    def part(asked, size=100, if_range=None):
        headers = {"range": asked} | ({"if-range": if_range} if if_range else {})
        return requested_range(headers, size=size, etag=ETAG, modified_at=MODIFIED)

    return part


def test_a_date_is_sent_in_the_one_form_of_http():
    assert http_date(MODIFIED) == DATE
    assert http_date(MODIFIED.astimezone(timezone(timedelta(hours=5)))) == DATE


def test_without_conditions_there_is_nothing_to_keep(status):
    assert status() is None


@pytest.mark.parametrize("given", ['"abc"', 'W/"abc"', '"x", "abc"', '"x","abc"', "*", ' "abc" '])
def test_if_none_match_compares_weakly(status, given):
    assert status(if_none_match=given) == 304


@pytest.mark.parametrize(
    ("given", "expected"), [('"abc"', None), ("*", None), ('W/"abc"', 412), ('"x"', 412), ("abc", 412)]
)
def test_if_match_compares_strongly(status, given, expected):
    assert status(if_match=given) == expected


def test_a_date_of_the_same_second_is_not_modified(status):
    assert status(if_modified_since=DATE) == 304
    assert status(if_unmodified_since=DATE) is None


@pytest.mark.parametrize("given", ["", "nonsense", "2024", "Wed, 99 May 2024 12:00:00 GMT"])
def test_a_date_that_is_none_is_ignored(status, given):
    assert status(if_modified_since=given) is None
    assert status(if_unmodified_since=given) is None


def test_a_tag_counts_before_a_date(status):
    assert status(if_none_match='"x"', if_modified_since=DATE) is None
    assert status(if_match='"abc"', if_unmodified_since="Sat, 01 Jan 2000 00:00:00 GMT") is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=99-99", ByteRange(99, 100)),
        ("bytes=50-", ByteRange(50, 100)),
        ("bytes=-1", ByteRange(99, 100)),
        ("bytes=-1000", ByteRange(0, 100)),
        ("bytes=0-1000", ByteRange(0, 100)),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("bytes=--1", None),
        ("lines=0-1", None),
    ],
)
def test_a_range_is_clamped_or_ignored(part, asked, expected):
    assert part(asked) == expected


@pytest.mark.parametrize(
    ("asked", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_a_range_without_a_byte_cannot_be_had(part, asked, size):
    with pytest.raises(RangeNotSatisfiable):
        part(asked, size)


@pytest.mark.parametrize(
    ("version", "is_kept"),
    [
        (ETAG, True),
        (DATE, True),
        ('W/"abc"', False),
        ('"x"', False),
        ("Wed, 01 May 2024 12:00:01 GMT", False),
        ("x", False),
    ],
)
def test_if_range_needs_the_very_same_version(part, version, is_kept):
    assert (part("bytes=0-1", if_range=version) is not None) is is_kept
