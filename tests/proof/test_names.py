"""S6 in full: every hostile name on each engine."""

import pytest

from tests.http.test_names import (  # noqa: F401 the same tests, here with all names
    asset,
    in_headers,
    sendable,
    test_every_e_mail_address_registers_or_is_refused,
    test_every_file_name_is_cleaned_stored_and_told_to_browsers_exactly,
    test_every_filter_finds_what_is_called_so_and_nothing_breaks,
    test_every_idempotency_key_counts_or_is_refused,
    test_every_member_of_an_asset_is_given_back_exactly_or_refused,
    test_every_name_of_a_collection_and_a_key_is_given_back_exactly_or_refused,
    test_no_address_breaks_anything,
    test_no_header_breaks_anything,
    test_no_member_s_name_breaks_anything,
    test_no_password_breaks_anything,
)
from tests.proof.report import write_row
from tests.samples.names import NAMES, some_names

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def names():
    return some_names(0, step=1)


@pytest.fixture(scope="module", autouse=True)
def row(request):
    """The line in docs/proof.md, once all of them have run."""
    before = request.session.testsfailed
    yield
    failed = request.session.testsfailed - before
    done = f"{len(NAMES)} hostile strings as names, tags, texts, filters, headers, addresses, on both engines"
    write_row("S6 names", done, f"{failed} of the tests failed")
