"""Creating predictions, and how they end."""

from datetime import datetime, timedelta

import pytest

from mediakeep.emulators.replicate.catalogue import MODELS
from tests.emulators.replicate.conftest import wait_for

SVD = MODELS["stability-ai/stable-video-diffusion"]


def test_submission_is_answered_at_once_without_what_there_is_not_yet(submit, api, turn):
    turn(latency_seconds=60)
    answer = submit()
    assert answer.status_code == 201
    prediction = answer.json()
    assert prediction == {
        "id": prediction["id"],
        "model": "minimax/video-01",
        "version": "hidden",
        "input": {"prompt": "a boat"},
        "logs": "",
        "data_removed": False,
        "error": None,
        "status": "starting",
        "created_at": prediction["created_at"],
        "urls": {
            "get": f"{api.base_url}predictions/{prediction['id']}",
            "cancel": f"{api.base_url}predictions/{prediction['id']}/cancel",
            "web": prediction["urls"]["web"],
        },
    }
    assert len(prediction["id"]) == 26


def test_prediction_succeeds_with_output_times_metrics_and_progress(submit, finish):
    prediction = finish(submit())
    assert prediction["status"] == "succeeded"
    assert prediction["output"].endswith(".mp4")
    assert prediction["created_at"] <= prediction["started_at"] <= prediction["completed_at"]
    assert prediction["metrics"].keys() == {"predict_time", "total_time"}
    assert "\n 40%|████      | 4/10 [" in prediction["logs"]
    assert "\n100%|██████████| 10/10 [" in prediction["logs"]
    assert prediction["error"] is None


def test_progress_advances_while_it_is_processing(submit, api, turn):
    turn(latency_seconds=30)
    url = submit().json()["urls"]["get"]
    looked = wait_for(lambda: one if "0/10" in (one := api.get(url).json())["logs"] else None)
    assert looked["status"] == "processing"
    assert "100%" not in looked["logs"]
    assert looked.keys().isdisjoint({"output", "completed_at", "metrics"})


@pytest.mark.parametrize(
    "version",
    ["minimax/video-01", SVD.version_id, f"{SVD.full_name}:{SVD.version_id}"],
    ids=["official", "id", "community"],
)
def test_version_may_be_given_in_three_forms(api, finish, picture, receiver, version):
    receiver.page = picture
    body = {"version": version, "input": {"prompt": "a boat", "input_image": receiver.url}}
    prediction = finish(api.post("/predictions", json=body))
    assert prediction["status"] == "succeeded"
    assert prediction["version"] == ("hidden" if version == "minimax/video-01" else SVD.version_id)


@pytest.mark.parametrize(
    "version",
    [
        "nobody/nothing",
        "0" * 64,
        SVD.full_name,
        f"{SVD.full_name}:{'0' * 64}",
        f"minimax/video-01:{SVD.version_id}",
        "minimax/video-01:latest",
    ],
    ids=["model", "id", "community without version", "other id", "of another model", "latest"],
)
def test_unknown_version_is_refused(api, version):
    answer = api.post("/predictions", json={"version": version, "input": {"prompt": "a boat"}})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "title": "Invalid version or not permitted",
        "detail": "The specified version does not exist (or perhaps you don't have permission to use it?)",
        "status": 422,
    }


def test_deployment_is_named_on_its_predictions(api, finish):
    body = {"input": {"prompt": "a boat"}}
    prediction = finish(api.post("/deployments/emulated/images/predictions", json=body))
    assert prediction["deployment"] == "emulated/images"
    assert prediction["model"] == "black-forest-labs/flux-schnell"


@pytest.mark.parametrize(
    "path",
    [
        "/models/nobody/nothing/predictions",
        f"/models/{SVD.full_name}/predictions",
        "/deployments/a/b/predictions",
    ],
)
def test_what_cannot_be_run_without_a_version_is_not_found(api, path):
    answer = api.post(path, json={"input": {"prompt": "a boat"}})
    assert answer.status_code == 404
    assert answer.json() == {"detail": "The requested resource could not be found.", "status": 404}


def test_missing_input_is_named(submit):
    answer = submit(input={})
    assert answer.status_code == 422
    assert answer.json() == {
        "title": "Input validation failed",
        "detail": "- input: prompt is required\n",
        "status": 422,
        "invalid_fields": [{"type": "required", "field": "input", "description": "prompt is required"}],
    }


@pytest.mark.parametrize(
    ("given", "rule", "description"),
    [
        ({"prompt": 7}, "invalid_type", "Invalid type. Expected: string, given: integer"),
        ({"prompt": None}, "invalid_type", "Invalid type. Expected: string, given: null"),
        ({"num_outputs": True}, "invalid_type", "Invalid type. Expected: integer, given: boolean"),
        ({"num_outputs": 1.5}, "invalid_type", "Invalid type. Expected: integer, given: number"),
        ({"num_outputs": 0}, "number_gte", "Must be greater than or equal to 1"),
        ({"num_outputs": 5}, "number_lte", "Must be less than or equal to 4"),
        ({"go_fast": []}, "invalid_type", "Invalid type. Expected: boolean, given: array"),
        (
            {"output_format": "gif"},
            "enum",
            'output_format must be one of the following: "webp", "jpg", "png"',
        ),
    ],
)
def test_input_that_does_not_fit_is_named(submit, given, rule, description):
    answer = submit(model="black-forest-labs/flux-schnell", input={"prompt": "a boat", **given})
    assert answer.status_code == 422
    field = f"input.{next(iter(given))}"
    assert answer.json()["invalid_fields"] == [{"type": rule, "field": field, "description": description}]
    assert answer.json()["detail"] == f"- {field}: {description}\n"


@pytest.mark.parametrize(
    "given", ["", "picture.png", "/etc/passwd", "ftp://host/a.png", "http://", "http://[x"]
)
def test_file_input_must_be_an_address(submit, given):
    answer = submit(input={"prompt": "a boat", "first_frame_image": given})
    assert answer.json()["detail"] == "- input.first_frame_image: Does not match format 'uri'\n"


def test_number_may_be_whole_and_seed_may_be_null(api, picture, receiver, finish):
    receiver.page = picture
    given = {"input_image": receiver.url, "cond_aug": 1, "frames_per_second": 6.0, "seed": None}
    assert finish(api.post("/predictions", json={"version": SVD.version_id, "input": given}))["error"] is None


def test_as_many_outputs_are_made_as_were_asked_for(submit, finish):
    for given in (3, 2.0):
        prediction = finish(
            submit(
                model="black-forest-labs/flux-schnell",
                input={"prompt": "a boat", "num_outputs": given, "seed": 0},
            )
        )
        assert len(prediction["output"]) == given
        assert prediction["logs"].startswith("Using seed: 0\n")


def test_input_that_the_schema_does_not_know_is_let_through(submit, finish):
    assert finish(submit(input={"prompt": "a boat", "image": 7}))["status"] == "succeeded"


@pytest.mark.parametrize(
    ("body", "descriptions"),
    [
        ([], ["Invalid type. Expected: object, given: array"]),
        ({}, ["version is required", "input is required"]),
        ({"version": 1, "input": []}, ["Invalid type. Expected: string, given: integer", "Invalid type. Expected: object, given: array"]),
        ({"version": "a/b", "input": {}, "model": "a/b"}, ["Additional property model is not allowed"]),
        ({"version": "a/b", "input": {}, "webhook": "nowhere"}, ["Does not match format 'uri'"]),
        ({"version": "a/b", "input": {}, "webhook_events_filter": ["end"]}, ['0 must be one of the following: "start", "output", "logs", "completed"']),
    ],
)  # fmt: skip
def test_body_that_does_not_fit_is_refused(api, body, descriptions):
    answer = api.post("/predictions", json=body)
    assert answer.status_code == 422
    assert [one["description"] for one in answer.json()["invalid_fields"]] == descriptions


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"input": NaN}', b'{"input": "\\ud800"}', b"\xff", b"[" * 9999]
)
def test_body_that_is_no_json_is_refused(api, body):
    answer = api.post("/predictions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_blocking_submission_answers_when_it_is_done(submit):
    answer = submit(headers={"Prefer": "wait"})
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "wait"
    assert answer.json()["status"] == "succeeded"
    assert answer.json()["output"].startswith("http://")


def test_blocking_submission_answers_as_it_began_when_the_time_is_over(submit, turn):
    turn(latency_seconds=60)
    answer = submit(headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.json()["status"] == "starting"
    assert answer.json()["logs"] == ""


@pytest.mark.parametrize(
    ("model", "find"),
    [
        ("minimax/video-01", lambda output: output),
        ("black-forest-labs/flux-schnell", lambda output: output[0]),
    ],
)
def test_sync_quirk_answers_processing_with_data_urls(submit, turn, api, model, find):
    turn(sync_quirk=True)
    prediction = submit(model=model, headers={"Prefer": "wait=20"}).json()
    assert prediction["status"] == "processing"
    assert find(prediction["output"]).startswith(("data:video/mp4;base64,", "data:image/webp;base64,"))
    assert prediction.keys().isdisjoint({"completed_at", "metrics"})
    afterwards = api.get(prediction["urls"]["get"]).json()
    assert afterwards["status"] == "succeeded"
    assert find(afterwards["output"]).startswith("http://")


@pytest.mark.parametrize("wish", ["wait=0", "wait=061", "wait=n", "respond-async"])
def test_wish_that_does_not_exist_is_refused(submit, wish):
    assert submit(headers={"Prefer": wish}).json()["invalid_fields"][0]["field"] == "Prefer"


def test_deadline_ends_what_has_begun_as_canceled(submit, finish, turn):
    turn(latency_seconds=60, speed=50)
    prediction = finish(submit(headers={"Cancel-After": "5s"}))
    assert prediction["status"] == "canceled"
    assert prediction["started_at"]


def test_deadline_ends_what_has_not_begun_as_aborted(submit, finish, turn):
    turn(startup_seconds=60)
    prediction = finish(submit(headers={"Cancel-After": "5"}))
    assert prediction["status"] == "aborted"
    assert "started_at" not in prediction
    assert prediction["metrics"].keys() == {"total_time"}


@pytest.mark.parametrize(
    ("given", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("2h30m", 9000), ("1h30m45s", 5445)]
)
def test_deadline_is_so_long_after_the_creation(submit, finish, turn, given, seconds):
    turn(speed=1)
    prediction = finish(submit(headers={"Cancel-After": given}))
    assert prediction["status"] == "succeeded"
    created_at, deadline = (datetime.fromisoformat(prediction[name]) for name in ("created_at", "deadline"))
    assert deadline - created_at == timedelta(seconds=seconds)


@pytest.mark.parametrize("given", ["", "4s", "soon", "1d", "5m1h"])
def test_deadline_that_cannot_be_is_refused(submit, given):
    assert submit(headers={"Cancel-After": given}).json()["invalid_fields"][0]["field"] == "Cancel-After"


@pytest.mark.parametrize("outcome", ["failed", "canceled", "aborted"])
def test_outcome_is_what_it_is_told_to_be(submit, finish, turn, outcome):
    turn(outcome=outcome, error="CUDA out of memory")
    prediction = finish(submit())
    assert prediction["status"] == outcome
    assert prediction["output"] is None
    assert prediction["error"] == ("CUDA out of memory" if outcome == "failed" else None)
    assert ("started_at" in prediction) == (outcome != "aborted")


def test_data_are_removed_when_their_time_is_over(submit, api, turn, anybody, finish):
    turn(output_lifetime_seconds=0)
    output = submit(headers={"Prefer": "wait"}).json()["output"]
    url = api.get("/predictions").json()["results"][0]["urls"]["get"]
    gone = wait_for(lambda: one if (one := api.get(url).json())["data_removed"] else None)
    assert gone["status"] == "succeeded"
    assert (gone["output"], gone["input"], gone["logs"]) == (None, {}, "")
    assert anybody.get(output).status_code == 404
