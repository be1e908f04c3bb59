"""Cancelling, at whatever point a job is."""

import asyncio

import pytest
from sqlalchemy import select

from mediakeep.accounts.models import AuditEntry
from mediakeep.db import now_plus
from mediakeep.jobs import tasks
from mediakeep.jobs.providers import replicate as provider
from mediakeep.jobs.providers.base import Look
from mediakeep.jobs.providers.local import Local
from mediakeep.tasks.models import Task
from mediakeep.tasks.worker import Worker
from tests.jobs.conftest import KEN_BURNS, PATIENCE_SECONDS, TINY, data_url, is_problem

#: More than any test waits for.
LONG = {"image": data_url(), "duration": 60, "width": 320, "height": 180, "fps": 60}


@pytest.fixture
def cancel(owner):
    async def cancel(job, client=None):
        return await (client or owner).post(f"/api/v2/jobs/{job['job_id']}/cancel")

    return cancel


async def test_a_job_that_nobody_works_on_yet_ends_at_once(app, ask, cancel, work, read, replicate):
    job = await ask()
    answer = await cancel(job)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert answer.json()["completed_at"] is not None
    assert (await cancel(job)).json() == answer.json()
    await work()
    assert replicate.log("submit") == []
    async with app.state.library.database.read() as session:
        assert await session.scalar(select(Task.status).where(Task.name == "jobs.run")) == "cancelled"


async def test_one_that_is_just_being_prepared_is_not_submitted(
    ask, cancel, work, read, replicate, monkeypatch
):
    job = await ask()
    prepare = provider.Replicate.prepare

    async def prepare_slowly(self, order):
        assert (await cancel(job)).json()["status"] == "cancelled"
        return await prepare(self, order)

    monkeypatch.setattr(provider.Replicate, "prepare", prepare_slowly)
    await work()
    assert ((await read(job))["status"], replicate.log("submit")) == ("cancelled", [])


async def test_one_that_is_just_being_submitted_is_cancelled_there(
    ask, cancel, work, finish, replicate, monkeypatch
):
    replicate.turn(latency_seconds=600)
    job = await ask()
    submit = provider.Replicate.submit

    async def submit_slowly(self, order, prepared):
        assert (await cancel(job)).json()["status"] == "pending"
        return await submit(self, order, prepared)

    monkeypatch.setattr(provider.Replicate, "submit", submit_slowly)
    assert (await finish(job))["status"] == "cancelled"
    assert [one["prediction"] for one in replicate.log("cancel")] == replicate.submissions()


async def test_one_that_turns_out_not_to_be_submitted_just_ends(
    ask, cancel, work, read, replicate, monkeypatch
):
    replicate.once(answer="throttled")
    job = await ask()
    submit = provider.Replicate.submit

    async def submit_slowly(self, order, prepared):
        await cancel(job)
        return await submit(self, order, prepared)

    monkeypatch.setattr(provider.Replicate, "submit", submit_slowly)
    await work()
    assert ((await read(job))["status"], replicate.submissions()) == ("cancelled", [])


async def test_one_that_is_at_its_provider_ends_when_that_says_so(
    owner, ask, cancel, work, finish, replicate
):
    replicate.turn(latency_seconds=600)
    job = await ask()
    await work()
    assert (await cancel(job)).json()["status"] in {"pending", "processing"}
    done = await finish(job)
    assert (done["status"], done["error_message"]) == ("cancelled", None)
    assert [one["prediction"] for one in replicate.log("cancel")] == replicate.submissions()


async def test_one_that_is_too_late_completes(ask, cancel, work, finish, replicate):
    replicate.turn(latency_seconds=0.2, cancel_race=True)
    job = await ask()
    await work()
    await cancel(job)
    assert (await finish(job))["status"] == "completed"
    refused = await cancel(job)
    assert is_problem(refused, 409, "A job that is completed cannot be cancelled.")


async def test_one_whose_submission_was_lost_is_cancelled_once_it_is_found(
    ask, cancel, work, finish, replicate
):
    replicate.turn(latency_seconds=600)
    replicate.once(answer="lost", latency_seconds=600)
    job = await ask()
    await work()
    assert (await cancel(job)).json()["status"] == "pending"
    assert (await finish(job))["status"] == "cancelled"
    assert len(replicate.log("submit")) == 1


async def test_one_that_its_provider_has_forgotten_fails(ask, cancel, work, finish, change, replicate):
    job = await ask()
    await change(job, submitted_at=now_plus(-1), reference="gone", cancel_requested=True)
    assert (await finish(job))["error_message"] == "Replicate no longer knows it."


async def test_a_failed_job_cannot_be_cancelled(ask, cancel, finish, replicate):
    replicate.once(outcome="failed")
    job = await ask()
    await finish(job)
    assert is_problem(await cancel(job), 409, "A job that is failed cannot be cancelled.")


async def test_only_its_owner_and_an_admin_may_and_that_is_audited(
    app, admin, owner, stranger, ask, cancel, replicate
):
    job = await ask()
    assert is_problem(await cancel(job, stranger), 404, "Job not found")
    assert (await cancel(job, admin)).json()["status"] == "cancelled"
    async with app.state.library.database.read() as session:
        entries = list(await session.scalars(select(AuditEntry).where(AuditEntry.action.startswith("job."))))
    assert [(one.action, one.subject) for one in entries] == [("job.cancelled_by_admin", job["job_id"])]
    own = await ask()
    await cancel(own)
    async with app.state.library.database.read() as session:
        assert (
            len(list(await session.scalars(select(AuditEntry).where(AuditEntry.subject == own["job_id"]))))
            == 0
        )


async def test_a_film_is_stopped_while_it_is_made(app, ask, cancel, read, until, films):
    job = await ask(KEN_BURNS, input=LONG)
    async with Worker(app.state.library):
        await until(job, "processing")
        assert 0 < (await read(job))["progress"] < 1
        assert (await cancel(job)).json()["status"] == "processing"
        await until(job, "cancelled")
    assert not app.state.library.films.is_busy
    assert list(app.state.library.store.scratch.glob("film-*")) == []


async def test_a_film_that_is_done_when_the_cancel_is_seen_is_kept(
    ask, cancel, work, read, monkeypatch, films, app
):
    """What has been made is not thrown away, and no file is left behind."""
    job = await ask(KEN_BURNS, input={"image": data_url(), **TINY})
    look, noticed = Local.look, tasks._note_progress
    done = asyncio.Event()

    async def look_and_tell(*given, **named):
        try:
            return await look(*given, **named)
        finally:
            done.set()

    async def notice_late(step, progress):
        await cancel(job)
        await done.wait()
        await asyncio.sleep(0)
        return await noticed(step, progress)

    monkeypatch.setattr(Local, "look", look_and_tell)
    monkeypatch.setattr(tasks, "_note_progress", notice_late)
    monkeypatch.setattr(tasks, "_WATCH_SECONDS", 0)
    await work()
    assert (await read(job))["status"] == "completed"
    assert list(app.state.library.store.scratch.glob("film-*")) == []


async def test_a_worker_that_stops_ends_the_look_of_a_job_too(app, ask, monkeypatch, replicate):
    began, ended = asyncio.Event(), asyncio.Event()

    async def look_for_ever(*_, **__):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Look(status="running")

    monkeypatch.setattr(provider.Replicate, "look", look_for_ever)
    await ask()
    async with Worker(app.state.library, grace_seconds=0), asyncio.timeout(PATIENCE_SECONDS):
        await began.wait()
    assert ended.is_set()
