from datetime import UTC, datetime, timedelta, timezone

import pytest

from mediakeep.http.conditions import (
    ByteRange,
    RangeNotSatisfiable,
    http_date,
    precondition_status,
    requested_ranges,
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
def parts():
    def parts(asked, size=100, if_range=None):
        headers = {"range": asked} | ({"if-range": if_range} if if_range else {})
        return requested_ranges(headers, size=size, etag=ETAG, modified_at=MODIFIED)

    return parts


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
        ("bytes=--1", None),
        ("lines=0-1", None),
    ],
)
def test_a_range_is_clamped_or_ignored(parts, asked, expected):
    assert parts(asked) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-1,3-4", [(0, 2), (3, 5)]),
        ("bytes=3-4,0-1", [(3, 5), (0, 2)]),
        ("bytes=0-0,-1", [(0, 1), (99, 100)]),
        ("bytes= 0-0 , ,\t5-6", [(0, 1), (5, 7)]),
        ("bytes=0-4,3-9", [(0, 10)]),
        ("bytes=0-4,5-9", [(0, 10)]),
        ("bytes=9-12,0-4,3-9", [(0, 13)]),
        ("bytes=0-1,100-200", [(0, 2)]),
        ("bytes=0-0,-1,5-2", []),
        ("bytes=0-0,x", []),
        ("bytes=,", []),
        ("bytes=0-,1-", []),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 100, 3)), [(n, n + 1) for n in range(0, 100, 3)]),
        ("bytes=" + ",".join(["0-0"] * 65), []),
        ("bytes=" + ",".join(["0-0"] * 10_000), []),
    ],
)
def test_several_ranges_are_joined_where_they_overlap(parts, asked, expected):
    assert [(part.start, part.end) for part in parts(asked)] == expected


# The cases of Go's net/http/fs_test.go (ServeFileRangeTests), for a file of 11 bytes; None is a 416.
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", []),
        ("bytes=0-4", [(0, 5)]),
        ("bytes=2-", [(2, 11)]),
        ("bytes=-5", [(6, 11)]),
        ("bytes=3-7", [(3, 8)]),
        ("bytes=0-0,-2", [(0, 1), (9, 11)]),
        ("bytes=0-1,5-8", [(0, 2), (5, 9)]),
        ("bytes=0-1,5-", [(0, 2), (5, 11)]),
        ("bytes=5-1000", [(5, 11)]),
        ("bytes=0-,1-,2-,3-,4-", []),
        ("bytes=0-9", [(0, 10)]),
        ("bytes=0-10", [(0, 11)]),
        ("bytes=0-11", [(0, 11)]),
        ("bytes=10-11", [(10, 11)]),
        ("bytes=10-", [(10, 11)]),
        ("bytes=11-", None),
        ("bytes=11-12", None),
        ("bytes=12-12", None),
        ("bytes=11-100", None),
        ("bytes=12-100", None),
        ("bytes=100-", None),
        ("bytes=100-1000", None),
    ],
)
def test_ranges_are_those_of_go(parts, asked, expected):
    if expected is None:
        with pytest.raises(RangeNotSatisfiable):
            parts(asked, 11)
    else:
        assert [(part.start, part.end) for part in parts(asked, 11)] == expected


@pytest.mark.parametrize(
    ("asked", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_a_range_without_a_byte_cannot_be_had(parts, asked, size):
    with pytest.raises(RangeNotSatisfiable):
        parts(asked, size)


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
def test_if_range_needs_the_very_same_version(parts, version, is_kept):
    assert bool(parts("bytes=0-1", if_range=version)) is is_kept
