"""A job is submitted at most once: whatever becomes of the answer, and whoever is killed in between."""

import asyncio

import pytest
from sqlalchemy import select, update

from mediakeep.db import database as db
from mediakeep.db import now_plus
from mediakeep.files.models import File
from mediakeep.files.sweep import sweep
from mediakeep.jobs import outputs, service, tasks
from mediakeep.jobs.models import Job
from mediakeep.jobs.providers import replicate as provider
from mediakeep.jobs.service import note_callback
from mediakeep.tasks.models import Task
from tests.jobs.conftest import FLUX, MINIMAX

NOT_CONFIRMED = "submission could not be confirmed"


@pytest.fixture
def call_back(app):
    """As a webhook does whose signature is right."""

    async def call_back(job: Job, reference):
        async with app.state.library.database.write() as session:
            await note_callback(session, provider="replicate", token=job.callback_token, reference=reference)

    return call_back


@pytest.fixture
def wait_long(change):
    """As if a submission had been some time ago."""

    async def wait(job, seconds=61):
        await change(job, submitted_at=now_plus(-seconds))

    return wait


@pytest.fixture(autouse=True)
def short_silence(monkeypatch):
    monkeypatch.setattr(provider, "_SILENCE_SECONDS", 0.3)


async def test_an_answer_that_was_lost_is_found_in_the_list(ask, finish, keys, replicate):
    for number, answer in enumerate(("lost", "silent_after", "error_after", "broken_json"), 1):
        replicate.once(answer=answer)
        done = await finish(await ask(input={"seed": number}))
        assert (done["status"], len(replicate.submissions())) == ("completed", number)
    assert len(await keys()) == 4


@pytest.mark.parametrize("answer", ["closed", "silent", "error", "html"])
async def test_what_never_arrived_is_not_sent_again(ask, read, work, wait_long, finish, replicate, answer):
    replicate.once(answer=answer)
    job = await ask()
    await work()
    await work()
    assert (await read(job))["status"] == "pending"
    await wait_long(job)
    done = await finish(job)
    assert (done["status"], done["error_message"]) == ("failed", NOT_CONFIRMED)
    assert (replicate.submissions(), len(replicate.log("submit"))) == ([], 1)


async def test_a_webhook_settles_what_the_list_cannot(ask, read, work, finish, rows, call_back, replicate):
    replicate.turn(answer="error", answer_to="list")
    replicate.once(answer="lost")
    job = await ask()
    await work()
    await work()
    assert (await read(job))["notes"] == ["Tried again: Replicate answered 500."]
    [reference] = replicate.submissions()
    await call_back((await rows())[0], reference)
    assert (await finish(job))["status"] == "completed"
    assert len(replicate.log("submit")) == 1


async def test_a_list_that_is_never_answered_leaves_it_unconfirmed(ask, work, read, replicate):
    replicate.turn(answer="error", answer_to="list")
    replicate.once(answer="lost")
    job = await ask()
    for _ in range(11):
        await work()
    assert (await read(job))["error_message"] == NOT_CONFIRMED
    assert len(replicate.log("submit")) == 1


@pytest.mark.parametrize("answer", ["lost", "closed"])
async def test_twins_whose_answers_were_both_lost_are_not_mixed_up(
    ask, read, work, rows, call_back, wait_long, finish, keys, replicate, answer
):
    """Two predictions, or one (`closed`), of which nobody can tell whose they are."""
    replicate.once(answer="lost")
    replicate.once(answer=answer)
    first, second = await ask(), await ask()
    for _ in range(3):
        await work()
    assert [row.reference for row in await rows()] == [None, None]
    await wait_long(first)
    await wait_long(second)
    await work()
    assert [row.status for row in await rows()] == ["pending", "pending"]
    known = {row.callback_token: row for row in await rows()}
    assert len(known) == 2
    references = replicate.submissions()
    for row, reference in zip(await rows(), references, strict=False):
        await call_back(row, reference)
    done = [await finish(first)] + ([await finish(second)] if answer == "lost" else [])
    assert {one["status"] for one in done} == {"completed"}
    assert len({one["asset_id"] for one in done}) == len(done) == len(await keys())
    if answer == "closed":  # what is left is now somebody else's
        assert (await finish(second))["error_message"] == NOT_CONFIRMED
    assert len(replicate.log("submit")) == 2


async def test_twins_that_nobody_settles_fail_when_their_time_is_over(ask, work, change, rows, replicate):
    replicate.once(answer="lost")
    replicate.once(answer="lost")
    jobs = [await ask(), await ask()]
    await work()
    for job in jobs:
        await change(job, submitted_at=now_plus(-3601))
    await work()
    assert {(row.status, row.error_message) for row in await rows()} == {("failed", NOT_CONFIRMED)}
    assert len(replicate.submissions()) == 2


async def test_a_twin_that_is_known_does_not_stand_in_the_way(ask, work, finish, replicate):
    replicate.turn(latency_seconds=0.1)
    first = await ask()
    await work()
    replicate.once(answer="lost")
    second = await ask()
    done = [await finish(first), await finish(second)]
    assert {one["status"] for one in done} == {"completed"}
    assert len(replicate.submissions()) == 2


async def test_one_that_was_refused_does_not_stand_in_the_way(ask, finish, replicate):
    replicate.once(answer="error", answer_status=402)
    assert (await finish(await ask()))["status"] == "failed"
    replicate.once(answer="lost")
    assert (await finish(await ask()))["status"] == "completed"


async def test_others_in_the_list_are_not_taken_for_it(ask, work, finish, wait_long, replicate):
    """Of other inputs, another model, or before its time."""
    other = await ask(input={"seed": 1})
    await finish(other)
    await finish(await ask(MINIMAX))
    same = await ask()
    await finish(same)
    replicate.once(answer="closed")
    job = await ask()
    await work()
    await wait_long(job)
    assert (await finish(job))["error_message"] == NOT_CONFIRMED


class Killed(BaseException):
    """What a process that is killed leaves undone."""


@pytest.fixture
def kill(monkeypatch, work):
    """Has the worker die when it comes to a place; what it had committed by then stays."""

    async def kill(target, name):
        deaths = []

        def die(*_, **__):
            deaths.append(1)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(target, name, die)
            patch.setattr("mediakeep.tasks.worker._failed", lambda *_: None)
            while not deaths:
                await work()
                await asyncio.sleep(0.01)

    return kill


@pytest.fixture
def take_over(app):
    """Lets the leases of the dead run out."""

    async def take_over():
        async with app.state.library.database.write() as session:
            await session.execute(update(Task).values(leased_until=now_plus(-1), run_at=now_plus(-1)))

    return take_over


@pytest.mark.parametrize(
    ("place", "submissions", "status"),
    [
        ((provider.Replicate, "prepare"), 1, "completed"),
        ((tasks, "_store_intent"), 1, "completed"),
        ((provider.Replicate, "submit"), 0, "failed"),  # nobody knows that it was not sent
        ((tasks, "_note_reference"), 1, "completed"),
        ((tasks, "_look"), 1, "completed"),
        ((tasks, "_complete"), 1, "completed"),
        ((outputs, "keep"), 1, "completed"),
    ],
)
async def test_a_crash_at_any_point_costs_nothing(
    app, ask, read, kill, take_over, wait_long, finish, keys, rows, replicate, place, submissions, status
):
    job = await ask()
    await kill(*place)
    assert (await read(job))["status"] in {"pending", "processing"}
    await take_over()
    if not submissions:
        await wait_long(job)
    done = await finish(job)
    assert (done["status"], len(replicate.submissions())) == (status, submissions)
    assert len(done["asset_ids"]) == submissions
    async with app.state.library.database.read() as session:
        wanted = sorted(await session.scalars(select(File.key)))
    assert len(wanted) == submissions
    assert await keys() == wanted


async def _nothing(*_):
    pass


async def test_a_crash_after_the_bytes_leaves_them_to_the_sweep(
    app, ask, finish, kill, take_over, change_settings, keys, replicate, monkeypatch
):
    job = await ask()
    with monkeypatch.context() as patch:
        patch.setattr("mediakeep.files.ingest._drop", _nothing)
        await kill(outputs, "keep")
    assert len(await keys()) == 1
    await take_over()
    assert (await finish(job))["status"] == "completed"
    assert len(await keys()) == 2
    change_settings(sweep_grace=0)
    for _ in range(2):  # noted first, and removed when that is old
        await sweep(app.state.library)
    assert len(await keys()) == 1


class Collision(db.OperationalError):
    def __init__(self):
        super().__init__("", {}, Exception())


async def test_a_collision_on_the_way_keeps_each_output_once(app, ask, finish, keys, replicate, monkeypatch):
    """PostgreSQL may end the transaction that keeps the outputs, which is then carried out once more."""
    tried = []
    keep = outputs.keep

    async def collide(*given):
        await keep(*given)
        tried.append(1)
        if len(tried) == 1:
            raise Collision

    monkeypatch.setattr(db, "is_collision", lambda error: isinstance(error, Collision))
    monkeypatch.setattr(outputs, "keep", collide)
    gone = "00000000-0000-4000-8000-000000000001"
    job = await ask(input={"num_outputs": 3})
    async with app.state.library.database.write() as session:
        row = await session.scalar(select(Job))
        row.placing = {**row.placing, "client_id": gone}
    done = await finish(job)
    assert (done["status"], len(tried)) == ("completed", 2)
    assert done["notes"] == ["Client was deleted meanwhile."]
    assert len(await keys()) == len(done["asset_ids"]) == 3


async def test_a_job_that_ended_while_its_output_was_fetched_leaves_nothing(
    ask, finish, change, keys, replicate, monkeypatch
):
    job = await ask()
    keep = tasks.outputs.fetched

    def fetched(*given):
        return EndingMeanwhile(keep(*given), change, job)

    monkeypatch.setattr(tasks.outputs, "fetched", fetched)
    done = await finish(job)
    assert (done["status"], done["asset_ids"], await keys()) == ("cancelled", [], [])


class EndingMeanwhile:
    def __init__(self, context, change, job):
        self._context, self._change, self._job = context, change, job

    async def __aenter__(self):
        contents = await self._context.__aenter__()
        await self._change(self._job, status="cancelled")
        return contents

    async def __aexit__(self, *error):
        return await self._context.__aexit__(*error)


async def test_limits_are_waited_for_and_no_failure(ask, read, work, finish, replicate):
    replicate.turn(answer="throttled", answer_times=12, throttle_seconds=2)
    job = await ask()
    for _ in range(12):
        await work()
    now = await read(job)
    assert (now["status"], replicate.submissions()) == ("pending", [])
    assert now["notes"] == ["The provider had too many requests; it is asked again a little later."]
    assert (await finish(job))["status"] == "completed"
    assert len(replicate.submissions()) == 1


async def test_limits_of_other_requests_are_no_failure_either(ask, read, work, finish, replicate):
    job = await ask()
    replicate.turn(answer="throttled", answer_to="look", answer_times=12)
    for _ in range(12):
        await work()
    assert (await finish(job))["status"] == "completed"


async def test_a_provider_that_is_down_is_tried_again_and_then_given_up(
    ask, read, work, change_settings, replicate, app
):
    job = await ask()
    good = app.state.library.settings.replicate_api_url
    change_settings(replicate_api_url="http://127.0.0.1:1/v1")
    await work()
    now = await read(job)
    assert (now["status"], now["notes"]) == (
        "pending",
        ["Tried again: Replicate does not answer: ConnectError."],
    )
    for _ in range(9):
        await work()
    failed = await read(job)
    assert (failed["status"], failed["error_message"]) == (
        "failed",
        "Replicate does not answer: ConnectError.",
    )
    change_settings(replicate_api_url=good)
    assert replicate.log("submit") == []


async def test_a_submission_that_reached_nobody_is_sent_again(ask, work, finish, app, replicate, monkeypatch):
    """The connection was refused: that is certain."""
    job = await ask()
    url = app.state.library.settings.replicate_api_url
    with monkeypatch.context() as patch:
        patch.setattr(provider.Replicate, "_door", _door_to_nowhere)
        patch.setattr(provider.Replicate, "_api", "http://127.0.0.1:1/v1")
        patch.setattr(provider.Replicate, "describe", _describe)
        await work()
    assert url == app.state.library.settings.replicate_api_url
    assert (await finish(job))["status"] == "completed"
    assert len(replicate.log("submit")) == 1


async def _door_to_nowhere(_self, _model_id):
    return "/predictions", {}


async def _describe(_self, model_id):
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}}}
    return provider.Model(
        model_id=model_id, provider="replicate", title="", description="", input_schema=schema
    )


async def test_what_the_provider_refuses_fails_at_once(ask, finish, replicate):
    for status, sentence in (
        (401, "Replicate does not accept this server's API token."),
        (402, "Replicate refuses it: "),
        (422, "Replicate refuses it: "),
    ):
        replicate.once(answer="error", answer_status=status)
        done = await finish(await ask())
        assert done["status"] == "failed"
        assert done["error_message"].startswith(sentence)
    assert len(replicate.log("submit")) == 3


async def test_a_token_that_is_not_accepted_just_now_costs_no_job(ask, read, work, replicate):
    replicate.turn(latency_seconds=600)
    job = await ask()
    await work()
    replicate.turn(token="another")
    await work()
    shown = await read(job)
    assert shown["status"] == "processing"
    assert shown["notes"] == ["Tried again: Replicate does not accept this server's API token."]


async def test_a_look_that_fails_is_repeated(ask, finish, replicate):
    for number, answer in enumerate(("closed", "silent", "error", "html", "broken_json"), 1):
        replicate.turn(answer=answer, answer_to="look", answer_times=2)
        done = await finish(await ask())
        assert (done["status"], len(replicate.submissions())) == ("completed", number)


async def test_a_prediction_that_is_gone_fails_the_job(ask, work, read, change, rows, replicate):
    job = await ask()
    await change(job, submitted_at=now_plus(-1), reference="../../account")
    await work()
    assert (await read(job))["error_message"] == "Replicate no longer knows it."
    assert replicate.log("account") == []


async def test_jobs_of_many_are_each_submitted_once(ask, work, read, keys, replicate):
    replicate.turn(latency_seconds=0.01)
    jobs = [await ask(FLUX, input={"seed": 7}) for _ in range(8)]
    async with asyncio.timeout(30):
        while {(await read(job))["status"] for job in jobs} != {"completed"}:
            await work()
            await asyncio.sleep(0.02)
    assert len(replicate.submissions()) == len(await keys()) == 8


async def test_what_goes_wrong_before_anything_is_sent_is_no_submission(
    ask, work, rows, finish, replicate, monkeypatch
):
    """The model is looked up once more, and that fails: so it may be tried again."""
    job = await ask()
    prepare = provider.Replicate.prepare

    async def prepare_long(self, order):
        provider._kept.clear()
        return await prepare(self, order)

    monkeypatch.setattr(provider.Replicate, "prepare", prepare_long)
    replicate.turn(answer="error", answer_to="model")
    provider._kept.clear()
    with monkeypatch.context() as patch:
        patch.setattr(provider.Replicate, "describe", _describe)
        await work()
    assert ((await rows())[0].submitted_at, replicate.log("submit")) == (None, [])
    replicate.turn()
    assert (await finish(job))["status"] == "completed"


async def test_a_provider_that_says_nothing_holds_nobody_up(ask, owner, finish, replicate, monkeypatch):
    monkeypatch.setattr(service, "_DESCRIBE_SECONDS", 0.1)
    replicate.turn(answer="silent", answer_to="model")
    model = await owner.get(f"/api/v2/models/{FLUX}")
    assert (model.status_code, model.json()["detail"]) == (503, "The provider does not answer just now.")
    job = await ask()
    replicate.turn()
    assert (await finish(job))["status"] == "completed"
