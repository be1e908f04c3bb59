"""S3 in full: many more requests, from several seeds, on each engine."""

import pytest

from tests.proof.report import write_row
from tests.schema.fuzz import ENDING, fuzz, sign_up
from tests.schema.server import serving


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_request_gets_an_answer_that_is_not_documented(
    library_settings, warm_decoders, tmp_path, seed, request
):
    others = [f"--exclude-path={path}" for path in ENDING]
    with serving(library_settings) as url:
        admin = {"admin": sign_up(url, "admin@example.com")}
        users = {name: sign_up(url, f"{name}@example.com") for name in ("first", "second")}
        requests = fuzz(url, tmp_path, users=users, max_examples=200, seed=seed, arguments=others)
        requests += fuzz(url, tmp_path, users=admin, max_examples=100, seed=seed, arguments=[])
    library = request.node.callspec.params["library_settings"]
    done = f"{requests:,} requests by schemathesis over the whole OpenAPI document"
    write_row(f"S3 answers, {library}, seed {seed}", done, "0 server errors, 0 undocumented answers")
