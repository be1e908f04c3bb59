"""Asking models under `/legacy`."""

import base64
import re

import pytest

from mediakeep.tasks.worker import drain
from tests.samples import pictures

PATH = "/legacy/api/v2/generate"
NOWHERE = "00000000-0000-4000-8000-000000000000"
NAIVE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
IMAGE = f"data:image/png;base64,{base64.b64encode(pictures.png(16, 16)).decode()}"


@pytest.fixture
def library_settings(library_settings):
    return library_settings.model_copy(update={"model_aliases": {"minimax/video-01": "local/ken-burns"}})


async def test_an_image_becomes_a_film_as_the_older_clients_ask_for_it(app, owner):
    uploaded = await owner.post(
        "/legacy/api/v2/upload-asset", files={"file": ("a.png", pictures.png(), "image/png")}
    )
    url = uploaded.json()["url"]
    tiny = {"duration": 1, "width": 64, "height": 64, "fps": 2}
    asked = await owner.post(
        PATH,
        json={
            "prompt": "Make the person in this image wave hello",
            "model_id": "minimax/video-01",
            "input": {"image": url, "prompt": "person waving hello", "first_frame_image": url, **tiny},
        },
    )
    assert asked.status_code == 202, asked.text
    job = asked.json()
    assert (job["status"], job["model_id"], job["video_url"]) == ("pending", "minimax/video-01", None)
    assert job["notes"] == [
        "local/ken-burns does not know the input 'prompt'; it was left out.",
        "local/ken-burns does not know the input 'first_frame_image'; it was left out.",
    ]
    await drain(app.state.library)
    done = (await owner.get(f"/legacy/api/v2/jobs/{job['job_id']}")).json()
    assert (done["status"], done["error_message"]) == ("completed", None)
    times = [done[name] for name in ("created_at", "updated_at", "completed_at")]
    assert all(NAIVE.fullmatch(time) for time in times)
    film = await owner.get(done["video_url"])
    assert (film.status_code, film.headers["content-type"]) == (200, "video/mp4")


async def test_the_same_key_and_request_give_the_same_answer(owner):
    body = {"model_id": "local/ken-burns", "input": {"image": IMAGE}}
    answers = [await owner.post(PATH, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    other = await owner.post("/api/v2/generate", json=body, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422  # its answer has another shape


async def test_refusals_are_those_of_the_newer_dialect(owner, stranger):
    body = {"model_id": "local/ken-burns", "input": {"image": IMAGE}}
    job = (await owner.post(PATH, json=body)).json()["job_id"]
    for client, number in ((stranger, job), (owner, NOWHERE)):
        answer = await client.get(f"/legacy/api/v2/jobs/{number}")
        assert (answer.status_code, answer.json()["detail"]) == (404, "Job not found")
    wrong = await owner.post(PATH, json={**body, "input": {}})
    assert (wrong.status_code, wrong.json()["detail"]) == (422, "input.image: it is required.")
    gone = await owner.post(PATH, json={**body, "clientId": NOWHERE})
    assert (gone.status_code, gone.json()["detail"]) == (404, "Client not found")
