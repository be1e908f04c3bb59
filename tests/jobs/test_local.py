"""The models that need no network, from end to end."""

import io

import av
import pytest

from mediakeep.db import now_plus
from mediakeep.jobs import tasks
from mediakeep.jobs.providers.base import Look
from mediakeep.jobs.providers.local import Local
from mediakeep.tasks.worker import Worker
from tests.jobs.conftest import KEN_BURNS, SLIDESHOW, TINY, data_url, is_problem
from tests.samples import films as sample_films

SMALL = {"width": 64, "height": 64, "fps": 2}


@pytest.fixture(autouse=True)
def warm(films):
    """Every film needs a process."""


def look_into(content):
    with av.open(io.BytesIO(content)) as film:
        stream = film.streams.video[0]
        return stream.codec_context.name, stream.width, stream.height, sum(1 for _ in film.decode(stream))


async def test_ken_burns_makes_a_film_of_an_asset_or_a_data_url(owner, ask, finish, asset):
    private = await asset(visibility="private")
    for image in (private["url"], data_url()):
        job = await ask(KEN_BURNS, prompt="slowly", input={"image": image, **TINY})
        done = await finish(job)
        assert (done["status"], done["error_message"], done["cost"]) == ("completed", None, 0.0)
        film = await owner.get(done["video_url"])
        assert film.headers["content-type"] == "video/mp4"
        assert look_into(film.content) == ("h264", 64, 64, 2)


async def test_a_slideshow_makes_a_film_of_several_images(owner, ask, finish, asset):
    images = [(await asset())["url"], data_url(), (await asset())["url"]]
    done = await finish(await ask(SLIDESHOW, input={"images": images, "seconds_per_image": 1, **SMALL}))
    assert done["status"] == "completed"
    info = (await owner.get(f"/api/v2/assets/{done['asset_id']}/info")).json()
    assert (info["name"], len(info["metadata"]["generation"]["source_assets"])) == ("a boat in the fog", 2)
    assert look_into((await owner.get(done["video_url"])).content) == ("h264", 64, 64, 6)


async def test_an_alias_of_another_providers_model_is_made_here(ask, finish):
    done = await finish(await ask("house/film", input={"image": data_url(), **TINY}))
    assert (done["status"], done["model_id"], done["model"]) == ("completed", "house/film", KEN_BURNS)


async def test_an_image_from_elsewhere_is_refused_at_once(owner):
    body = {"model_id": KEN_BURNS, "input": {"image": "https://example.com/a.png"}}
    answer = await owner.post("/api/v2/generate", json=body)
    reason = "A local model takes images of this library, or data URLs."
    assert is_problem(answer, 422, f"input.image: {reason}")
    assert answer.json()["errors"] == [{"field": "input.image", "reason": reason}]


@pytest.mark.parametrize("image", ["data:nonsense", "data:image/png;base64,iVBORw0KGgo=", "data:,text"])
async def test_an_image_that_is_none_fails_the_job(ask, finish, keys, image):
    done = await finish(await ask(KEN_BURNS, input={"image": image, **TINY}))
    assert done["status"] == "failed"
    assert done["error_message"]
    assert await keys() == []


async def test_a_film_is_no_image(owner, ask, finish):
    files = {"file": ("a.mp4", sample_films.video(seconds=0.5), "video/mp4")}
    film = (await owner.post("/api/v2/upload-asset", files=files)).json()
    done = await finish(await ask(KEN_BURNS, input={"image": film["url"], **TINY}))
    assert done["status"] == "failed"


async def test_an_asset_that_has_gone_or_become_private_fails_the_job(owner, ask, finish, asset, stranger):
    gone = await asset()
    job = await ask(KEN_BURNS, input={"image": gone["url"], **TINY})
    await owner.delete(f"/api/v2/assets/{gone['id']}")
    assert (await finish(job))["error_message"] == "An asset that is an input is not there any more."
    theirs = await asset(client=stranger)
    job = await ask(KEN_BURNS, input={"image": theirs["url"], **TINY})
    await stranger.patch(f"/api/v2/assets/{theirs['id']}", json={"visibility": "private"})
    assert (await finish(job))["error_message"] == "An asset that is an input is not there any more."


async def test_films_wait_for_one_another_and_are_told_when_it_is_their_turn(
    app, ask, stranger, until, monkeypatch
):
    """Nobody has to look again and again: the end of a film wakes the next."""
    monkeypatch.setattr("mediakeep.jobs.providers.local._AGAIN_SECONDS", 600.0)
    given = {"image": data_url(), **TINY}
    jobs = [await ask(KEN_BURNS, input=given) for _ in range(3)]
    theirs = await ask(KEN_BURNS, input=given, client=stranger)
    async with Worker(app.state.library):
        for job in jobs:
            await until(job, "completed")
        await until(theirs, "completed", stranger)


async def test_a_crash_between_intent_and_answer_is_no_matter_here(ask, finish, change, rows):
    """Nothing was begun that could be begun twice; not even for twins."""
    given = {"image": data_url(), **TINY}
    jobs = [await ask(KEN_BURNS, input=given) for _ in range(2)]
    for job in jobs:
        await change(job, submitted_at=now_plus(-1), prepared_digest="0" * 64)
    await change(jobs[1], prepared_digest="1" * 64)
    assert [(await finish(job))["status"] for job in jobs] == ["completed"] * 2


async def test_twins_whose_answers_were_lost_are_told_apart(app, ask, work, rows, monkeypatch):
    note = tasks._note_reference

    async def waiting(*_, **__):
        return Look(status="waiting", again_seconds=600)

    async def lose_the_answer(step, reference, known_by, session):
        if known_by != "answer":
            await note(step, reference, known_by, session)

    monkeypatch.setattr(Local, "look", waiting)
    monkeypatch.setattr(tasks, "_note_reference", lose_the_answer)
    for _ in range(2):
        await ask(KEN_BURNS, input={"image": data_url(), **TINY})
    await work()
    first, second = await rows()
    assert first.prepared_digest == second.prepared_digest
    assert (first.reference, second.reference) == (first.public_id, second.public_id)
