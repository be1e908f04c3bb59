"""Webhooks of the provider: only what it signed counts, and even that only says that something has happened."""

import asyncio
import json
import socket
import time
from datetime import UTC, datetime

import pytest
import uvicorn
from standardwebhooks import Webhook as Signer

from mediakeep.db import now_plus
from mediakeep.jobs.providers import replicate as provider
from mediakeep.tasks.worker import Worker, drain
from tests.jobs.conftest import is_problem

OLD_SECONDS = 3600


@pytest.fixture(scope="session")
def listener():
    """An address that stays the same, so that one application serves all tests."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def library_settings(library_settings, listener):
    return library_settings.model_copy(update={"base_url": f"http://127.0.0.1:{listener.getsockname()[1]}"})


@pytest.fixture
async def served(app, listener):
    """The application at its address, where webhooks reach it."""
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    serving = asyncio.create_task(server.serve(sockets=[listener.dup()]))
    yield
    server.should_exit = True
    await serving


@pytest.fixture
def call(api, session_replicate):
    """Calls back about a job's row, signed well unless something else is said."""

    async def call(row, document, *, at=None, secret=None, signature=None, token=None, body=None, **headers):
        body = json.dumps(document) if body is None else body
        at = datetime.now(UTC) if at is None else at
        signer = Signer(secret or session_replicate.options.webhook_secret)
        sent = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signer.sign("msg_1", at, body) if signature is None else signature,
        }
        path = f"/api/v2/providers/replicate/callbacks/{token or row.callback_token}"
        return await api.post(path, content=body, headers={**sent, **headers})

    return call


async def test_a_webhook_has_the_job_looked_at_and_is_not_believed(
    app, ask, work, read, rows, call, finish, replicate
):
    replicate.turn(latency_seconds=600, webhooks=["none"])
    job = await ask()
    await work()
    [reference] = replicate.submissions()
    looks = len(replicate.log("look"))
    [row] = await rows()
    document = {"id": reference, "status": "succeeded", "output": "http://169.254.169.254/"}
    for number in (1, 2):  # twice is as good as once
        assert (await call(row, document)).status_code == 204
        await drain(app.state.library)  # nothing else makes it due
        assert len(replicate.log("look")) == looks + number
    assert (await read(job))["status"] == "processing"


BAD = "The signature of the webhook is missing, wrong or too old."


async def test_what_the_provider_has_not_signed_does_nothing(
    ask, rows, call, change, replicate, session_replicate
):
    replicate.turn(latency_seconds=600, webhooks=["none"])
    job = await ask()
    await change(job, submitted_at=now_plus(-1))
    [row] = await rows()
    said = {"id": "mine"}
    old = datetime.fromtimestamp(time.time() - OLD_SECONDS, UTC)
    early = datetime.fromtimestamp(time.time() + OLD_SECONDS, UTC)
    signer = Signer(session_replicate.options.webhook_secret)
    good = signer.sign("msg_1", datetime.now(UTC), json.dumps(said))
    refused = [
        await call(row, said, secret="whsec_c29tZWJvZHkgZWxzZQ=="),
        await call(row, said, at=old),
        await call(row, said, at=early),
        await call(row, said, signature=""),
        await call(row, said, signature="v1,nonsense"),
        await call(row, said, signature="v1"),
        await call(row, said, signature="v2,AAAA v1,A"),
        await call(row, {"id": "another"}, signature=good),
        await call(row, said, **{"webhook-timestamp": "inf"}),
        await call(row, said, **{"webhook-timestamp": "9" * 400}),
        await call(row, said, **{"webhook-id": "msg_2"}),
        await call(row, None, body=""),
        await call(row, None, body="[" * 100),
    ]
    assert [(one.status_code, one.json()["detail"]) for one in refused] == [(400, BAD)] * len(refused)
    nameless = [
        await call(row, one) for one in ({}, [], None, {"id": 5}, {"id": ""}, {"id": "a\0b"}, {"id": ".."})
    ]
    said = {(one.status_code, one.json()["detail"]) for one in nameless}
    assert said == {(400, "The webhook does not say which prediction it is about.")}
    assert (await rows())[0].reference is None


async def test_a_webhook_for_an_unknown_job_or_of_a_provider_that_never_calls(
    api, ask, rows, call, change_settings, replicate
):
    """Nobody has this server ask Replicate for anything by that."""
    change_settings(replicate_webhook_secret=provider.Settings().replicate_webhook_secret)
    await ask()
    [row] = await rows()
    assert is_problem(await call(row, {"id": "x"}, token="unknown"), 404, "Job not found")
    for name in ("local", "nobody"):
        answer = await api.post(f"/api/v2/providers/{name}/callbacks/{row.callback_token}")
        assert is_problem(answer, 404, "Job not found")
    assert replicate.log("secret") == []


async def test_a_webhook_about_another_prediction_or_a_job_that_has_ended_changes_nothing(
    ask, finish, work, rows, call, owner, replicate
):
    replicate.turn(webhooks=["none"])
    done = await finish(await ask())
    [row] = await rows()
    assert (await call(row, {"id": row.reference})).status_code == 204
    assert (await call(row, {"id": "another"})).status_code == 204
    never = await ask()
    await owner.post(f"/api/v2/jobs/{never['job_id']}/cancel")
    assert (await call((await rows())[1], {"id": "late"})).status_code == 204
    # One that is another job's already.
    third = await ask()
    replicate.once(answer="closed")
    await work()
    assert (await call((await rows())[2], {"id": row.reference})).status_code == 204
    assert [one.reference for one in await rows()][1:] == [None, None]
    assert done["status"] == "completed"
    assert third["status"] == "pending"


async def test_the_secret_is_asked_for_where_the_settings_lack_it(
    ask, rows, call, change, change_settings, replicate
):
    change_settings(replicate_webhook_secret=provider.Settings().replicate_webhook_secret)
    job = await ask()
    await change(job, submitted_at=now_plus(-1))
    [row] = await rows()
    replicate.turn(answer="error", answer_to="secret", answer_times=1)
    assert (await call(row, {"id": "x1"})).status_code == 503
    assert (await call(row, {"id": "x1"})).status_code == 204
    assert (await call(row, {"id": "x1"}, signature="v1,AAAA")).status_code == 400
    assert len(replicate.log("secret")) == 2
    assert (await rows())[0].reference == "x1"


@pytest.mark.parametrize(
    "faults", [[], ["duplicate", "out_of_order"], ["tampered"], ["unsigned"], ["old_timestamp"], ["late"]]
)
async def test_whatever_becomes_of_webhooks_the_job_completes_once(
    app, served, ask, until, keys, replicate, monkeypatch, faults
):
    """Where they can be believed nobody has to look; where they cannot, looking is what there is."""
    is_good = not {"tampered", "unsigned", "old_timestamp"} & set(faults)
    monkeypatch.setattr("mediakeep.jobs.tasks._LONGEST_PAUSE_WITH_WEBHOOK", 600.0 if is_good else 0.1)
    replicate.turn(latency_seconds=0.3, webhooks=faults, late_seconds=0.5)
    async with Worker(app.state.library):
        job = await ask()
        await until(job, "completed")
    assert len(await keys()) == len(replicate.submissions()) == 1
    statuses = {one.get("status") for one in replicate.log("webhook")} - {None}
    assert statuses <= ({204} if is_good else {400})


async def test_a_webhook_settles_a_submission_whose_answer_was_lost(
    app, served, ask, until, keys, replicate, monkeypatch
):
    replicate.turn(answer="error", answer_to="list")
    replicate.once(answer="lost", latency_seconds=0.3)
    async with Worker(app.state.library):
        job = await ask()
        await until(job, "completed")
    assert len(await keys()) == len(replicate.submissions()) == 1
