"""Reading and cancelling predictions; models, the account, the secret."""

import json

import pytest
from jsonschema import Draft202012Validator

from mediakeep.emulators.replicate.catalogue import MODELS


def test_unknown_prediction_is_not_found(api):
    for answer in (api.get("/predictions/nothing"), api.post("/predictions/nothing/cancel")):
        assert answer.status_code == 404


def test_cancel_ends_it_at_once(submit, api, turn):
    turn(latency_seconds=60)
    submitted = submit().json()
    answer = api.post(submitted["urls"]["cancel"])
    assert answer.status_code == 200
    assert answer.json()["status"] == "canceled"
    assert answer.json()["completed_at"]
    assert api.get(submitted["urls"]["get"]).json() == answer.json()


def test_what_was_cancelled_goes_no_further(submit, finish, api, turn):
    turn(latency_seconds=0.1)
    submitted = submit()
    canceled = api.post(submitted.json()["urls"]["cancel"]).json()
    finish(submit())  # as long again
    assert finish(submitted) == canceled


def test_cancel_of_what_has_ended_changes_nothing(submit, api, finish):
    ended = finish(submit())
    assert api.post(ended["urls"]["cancel"]).json() == ended


def test_cancel_may_come_too_late(submit, api, finish, turn):
    turn(latency_seconds=0.2, cancel_race=True)
    submitted = submit()
    assert api.post(submitted.json()["urls"]["cancel"]).status_code == 200
    assert finish(submitted)["status"] == "succeeded"


def test_list_has_the_newest_first_and_says_where_they_came_from(submit, api, finish):
    predictions = [finish(submit(input={"prompt": str(number)})) for number in range(3)]
    listed = api.get("/predictions").json()
    assert (listed["next"], listed["previous"]) == (None, None)
    for entry, prediction in zip(listed["results"], reversed(predictions), strict=True):
        expected = {name: value for name, value in prediction.items() if name != "logs"}
        assert entry == {**expected, "source": "api"}


def test_list_has_pages_of_a_hundred(submit, api, turn):
    turn(startup_seconds=60)
    ids = [submit().json()["id"] for _ in range(201)][::-1]
    first = api.get("/predictions", params={"created_after": "2020-01-01T00:00:00Z"}).json()
    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()
    assert [[one["id"] for one in page["results"]] for page in (first, second, third)] == [
        ids[:100],
        ids[100:200],
        ids[200:],
    ]
    assert (first["previous"], third["next"]) == (None, None)
    assert api.get(third["previous"]).json() == second
    assert "created_after=2020" in first["next"]


def test_list_can_be_narrowed_to_a_time(submit, api):
    first, second, third = (submit().json() for _ in range(3))
    narrow = {"created_after": second["created_at"], "created_before": third["created_at"]}
    assert [one["id"] for one in api.get("/predictions", params=narrow).json()["results"]] == [second["id"]]
    later = {"created_after": first["created_at"]}
    assert len(api.get("/predictions", params=later).json()["results"]) == 3


def test_list_refuses_what_is_no_time_and_no_cursor(api):
    assert api.get("/predictions", params={"created_after": "yesterday"}).status_code == 422
    for cursor in ("nothing", "bm90aGluZw==", "ÿ"):
        assert api.get("/predictions", params={"cursor": cursor}).status_code == 404


@pytest.mark.parametrize("name", MODELS)
def test_model_shows_its_schema_in_each_place(api, name):
    model = api.get(f"/models/{name}").json()
    version = model["latest_version"]
    assert f"{model['owner']}/{model['name']}" == name
    assert len(version["id"]) == 64
    assert api.get(f"/models/{name}/versions").json()["results"] == [version]
    assert api.get(f"/models/{name}/versions/{version['id']}").json() == version


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("minimax/video-01", {"prompt": "a boat"}, {"prompt": 7}),
        ("black-forest-labs/flux-schnell", {"prompt": "a", "aspect_ratio": "9:16"}, {"prompt": "a", "num_outputs": 5}),
        ("black-forest-labs/flux-schnell", {"prompt": "a", "output_format": "png"}, {"prompt": "a", "output_format": "gif"}),
        ("stability-ai/stable-video-diffusion", {"input_image": "data:,"}, {}),
    ],
)  # fmt: skip
def test_schema_says_what_a_submission_is_checked_for(api, name, good, bad):
    version = api.get(f"/models/{name}").json()["latest_version"]
    # What its references mean is the document that it is part of.
    schema = version["openapi_schema"] | {"$ref": "#/components/schemas/Input"}
    validator = Draft202012Validator(json.loads(json.dumps(schema)))
    assert validator.is_valid(good)
    assert not validator.is_valid(bad)
    for given, status in ((good, 201), (bad, 422)):
        answer = api.post("/predictions", json={"version": f"{name}:{version['id']}", "input": given})
        assert answer.status_code == status


def test_output_schema_tells_one_address_from_several(api):
    schemas = {
        name: api.get(f"/models/{name}").json()["latest_version"]["openapi_schema"]["components"]["schemas"]
        for name in MODELS
    }
    assert schemas["minimax/video-01"]["Output"]["format"] == "uri"
    assert schemas["black-forest-labs/flux-schnell"]["Output"]["items"]["format"] == "uri"


@pytest.mark.parametrize(
    "path",
    [
        "/models/nobody/nothing",
        "/models/nobody/nothing/versions",
        "/models/minimax/video-01/versions/0",
        "/nothing",
    ],
)
def test_what_is_not_there_is_not_found(api, path):
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"detail": "The requested resource could not be found.", "status": 404}


def test_other_methods_are_refused_as_problems(api):
    answer = api.delete("/predictions")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"


def test_account_and_secret_are_told(api, replicate):
    assert api.get("/account").json()["username"] == "emulated"
    assert api.get("/webhooks/default/secret").json() == {"key": replicate.options.webhook_secret}
