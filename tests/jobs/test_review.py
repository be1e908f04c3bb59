"""What is hostile without looking so: redirects that no library can join, choices that take for ever to compare."""

import pytest

from mediakeep.errors import InvalidInput
from mediakeep.jobs import schemas
from tests.jobs.conftest import KEN_BURNS, data_url, is_problem


@pytest.mark.parametrize("location", ["http:////]", "data:////x]"])
async def test_a_redirect_to_what_cannot_be_joined_is_refused(ask, finish, replicate, location):
    replicate.turn(output="redirect", output_redirect=location)
    done = await finish(await ask())
    assert (done["status"], done["error_message"], done["notes"]) == (
        "failed",
        "An output cannot be fetched: It leads to what is no address.",
        [],
    )


async def test_an_empty_target_is_one_that_is_not_there(owner):
    body = {"model_id": KEN_BURNS, "input": {"image": data_url()}, "assetId": ""}
    assert is_problem(await owner.post("/api/v2/generate", json=body), 404, "Asset not found")
    assert (await owner.get("/api/v2/jobs")).json() == []


def test_choices_are_compared_as_json_means_it():
    schema = schemas.bounded({"properties": {"a": {"enum": [1, "b", None, False]}}})
    for value in (1, 1.0, "b", None, False):
        schemas.check(schema, {"a": value})
    for value in (True, 0, 0.0, "c", [], {}, "1"):
        with pytest.raises(InvalidInput, match=r"input\.a: .* is not one of \[1, 'b', None, False\]\."):
            schemas.check(schema, {"a": value})


def test_many_choices_for_many_values_are_not_compared_one_by_one(monkeypatch):
    def compare_slowly(*_):
        raise AssertionError

    monkeypatch.setattr("jsonschema._keywords.equal", compare_slowly)
    schema = schemas.bounded({"properties": {"a": {"items": {"enum": list(range(500))}}}})
    schemas.check(schema, {"a": [499] * 1000})
