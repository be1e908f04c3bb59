import time
from urllib.parse import parse_qsl

import pytest

from mediakeep.http.signing import is_signed, sign_query

SECRET = b"for tests only, at least 32 bytes"
PATH = "/api/v2/assets/1"


@pytest.fixture
def query():
    """A good signature, as the server reads it."""
    return parse_qsl(sign_query(SECRET, PATH, expires_at=int(time.time()) + 60))


def test_a_signature_is_good_for_its_path(query):
    assert is_signed([SECRET], PATH, query)
    assert not is_signed([SECRET], f"{PATH}/thumbnail", query)


def test_a_signature_is_good_for_its_secret(query):
    assert not is_signed([b"another secret of 32 bytes and more"], PATH, query)


def test_a_signature_ends_with_its_time():
    assert not is_signed([SECRET], PATH, parse_qsl(sign_query(SECRET, PATH, expires_at=int(time.time()) - 1)))


def test_nothing_can_be_added_to_what_is_signed(query):
    assert not is_signed([SECRET], PATH, [*query, ("download", "1")])
    assert not is_signed([SECRET], PATH, [*query, query[0]])
    assert not is_signed([SECRET], PATH, [*query, query[1]])


@pytest.mark.parametrize("expires", ["", "x", "-1", "٣", "9" * 400])
def test_a_time_that_is_none_is_not_signed(query, expires):
    assert not is_signed([SECRET], PATH, [("expires", expires), query[1]])


def test_what_lacks_a_part_is_not_signed(query):
    assert not is_signed([SECRET], PATH, query[:1])
    assert not is_signed([SECRET], PATH, query[1:])
    assert not is_signed([SECRET], PATH, [])
