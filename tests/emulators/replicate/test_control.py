"""Turning switches while it runs, and looking at what happened."""

import asyncio

import httpx
import pytest

from mediakeep.emulators.replicate import Options, create_app


def put_next(anybody, **switches):
    anybody.post("/emulator/next", json=switches).raise_for_status()


def test_options_are_told_and_those_not_named_are_as_at_the_start(api, anybody, replicate):
    start = replicate.options.model_dump(mode="json")
    assert anybody.get("/emulator/options").json() == start
    changed = anybody.put("/emulator/options", json={"outcome": "failed", "webhooks": ["late"]}).json()
    assert changed == {**start, "outcome": "failed", "webhooks": ["late"]}
    assert anybody.put("/emulator/options", json={"error": "x"}).json() == {**start, "error": "x"}


@pytest.mark.parametrize(
    ("switches", "named"),
    [
        ({"outcome": "exploded"}, "outcome"),
        ({"latency_seconds": -1}, "latency_seconds"),
        ({"webhooks": ["never"]}, "webhooks.0"),
        ({"webhook_secret": "secret"}, "webhook_secret"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_switch_that_is_none_is_named(api, anybody, replicate, switches, named):
    for method, path in (("PUT", "/emulator/options"), ("POST", "/emulator/next")):
        answer = anybody.request(method, path, json=switches)
        assert answer.status_code == 422
        if path == "/emulator/options":
            assert answer.json()["detail"].startswith(f"{named}: ")
    assert anybody.get("/emulator/options").json() == replicate.options.model_dump(mode="json")


def test_body_must_be_an_object(api, anybody):
    assert anybody.put("/emulator/options", json=[]).status_code == 422
    assert anybody.put("/emulator/options", content=b"{").status_code == 400


def test_next_submissions_do_what_they_were_told_in_turn(submit, finish, anybody):
    put_next(anybody, outcome="failed", error="first")
    put_next(anybody, answer="error", answer_status=502)
    put_next(anybody, outcome="aborted")
    assert finish(submit())["error"] == "first"
    assert submit().status_code == 502
    assert finish(submit())["status"] == "aborted"
    assert finish(submit())["status"] == "succeeded"


def test_what_the_next_one_does_goes_beyond_what_all_do(submit, finish, anybody, turn):
    turn(outcome="failed", answer="error", answer_times=1)
    put_next(anybody, answer="normal")
    assert finish(submit())["status"] == "failed"
    assert submit().status_code == 500


def test_other_requests_leave_the_next_submission_alone(submit, api, anybody):
    put_next(anybody, answer="error")
    assert api.get("/predictions").status_code == 200
    assert submit().status_code == 500


def test_switches_of_the_server_are_none_of_a_submission(api, anybody):
    answer = anybody.post("/emulator/next", json={"token": "x"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "token: this is no switch of a single submission."


def test_prediction_keeps_the_switches_of_its_submission(submit, finish, turn):
    turn(latency_seconds=0.2, outcome="failed")
    submitted = submit()
    turn()
    assert finish(submitted)["status"] == "failed"


def test_submissions_can_be_counted(submit, api, anybody, log):
    first = submit()
    submit(input={})
    api.get("/predictions")
    second, third = log("submit")
    assert (second["prediction"], second["model"]) == (first.json()["id"], "minimax/video-01")
    assert (second["status"], second["input"]) == (201, {"prompt": "a boat"})
    assert (third["status"], "prediction" in third) == (422, False)
    assert [entry["kind"] for entry in anybody.get("/emulator/log").json()][-1] == "list"


def test_cancels_are_logged_with_their_prediction(submit, api, log):
    prediction = submit().json()
    api.post(prediction["urls"]["cancel"])
    assert [entry["prediction"] for entry in log("cancel")] == [prediction["id"]]


def test_reset_forgets_everything_and_ends_what_is_under_way(submit, api, anybody, turn, receiver, log):
    turn(latency_seconds=60)
    url = submit(webhook=receiver.url).json()["urls"]["get"]
    api.post("/files", files={"content": ("a", b"a")})
    put_next(anybody, answer="error")
    assert anybody.post("/emulator/reset").status_code == 204
    assert api.get(url).status_code == 404
    assert api.get("/predictions").json()["results"] == []
    assert api.get("/files").json()["results"] == []
    assert log("submit") == []
    submit(webhook=receiver.url, webhook_events_filter=["completed"])
    receiver.wait(1)
    assert len(log("webhook")) == 1


async def test_application_works_without_a_socket():
    app = create_app(Options(startup_seconds=0, latency_seconds=0))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport,
            base_url="http://replicate.test",
            headers={"Authorization": "Bearer r8_of_the_emulator"},
            verify=False,
        ) as client,
    ):
        body = {"version": "black-forest-labs/flux-schnell", "input": {"prompt": "a boat"}}
        answer = await client.post("/v1/predictions", json=body, headers={"Prefer": "wait"})
        (url,) = answer.json()["output"]
        assert url.startswith("http://replicate.test/outputs/")
        assert (await client.get(url)).headers["content-type"] == "image/webp"
        await client.put("/emulator/options", json={"answer": "lost"})
        with pytest.raises(ConnectionAbortedError):
            await client.post("/v1/predictions", json=body)
    assert len(asyncio.all_tasks()) == 1
