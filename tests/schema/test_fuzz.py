"""No request that schemathesis can think of gets a server error, or an answer that the OpenAPI document does not tell."""

import pytest

from tests.schema.fuzz import ENDING, fuzz, sign_up

# Thousands of requests, which some machines do not make in two minutes.
pytestmark = pytest.mark.timeout(600)


def test_no_request_gets_an_answer_that_is_not_documented(server_url, tmp_path):
    sign_up(server_url, "admin@example.com")  # who may see everybody's things
    users = {name: sign_up(server_url, f"{name}@example.com") for name in ("first", "second")}
    others = [f"--exclude-path={path}" for path in ENDING]
    assert fuzz(server_url, tmp_path, users=users, max_examples=3, seed=1, arguments=others) > 500


def test_no_request_of_an_admin_gets_an_answer_that_is_not_documented(server_url, tmp_path):
    users = {"admin": sign_up(server_url, "admin@example.com")}
    sign_up(server_url, "user@example.com")
    chosen = ["--include-tag=users", *(f"--include-path={path}" for path in ENDING)]
    assert fuzz(server_url, tmp_path, users=users, max_examples=4, seed=1, arguments=chosen) > 50
