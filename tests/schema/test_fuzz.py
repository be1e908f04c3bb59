"""No request that schemathesis can think of gets a server error, or an answer that the OpenAPI document does not tell."""

from tests.schema.fuzz import LOGOUT, fuzz, sign_up


def test_no_request_gets_an_answer_that_is_not_documented(server_url, tmp_path):
    sign_up(server_url, "admin@example.com")  # who may see everybody's things
    users = {name: sign_up(server_url, f"{name}@example.com") for name in ("first", "second")}
    fuzz(server_url, tmp_path, users=users, max_examples=4, seed=1, arguments=[f"--exclude-path={LOGOUT}"])


def test_logging_out_gets_no_answer_that_is_not_documented(server_url, tmp_path):
    users = {"first": sign_up(server_url, "first@example.com")}
    fuzz(server_url, tmp_path, users=users, max_examples=4, seed=1, arguments=[f"--include-path={LOGOUT}"])
