"""Jobs from asking to what came out of them."""

import asyncio
import hashlib

import pytest
from sqlalchemy import update

from mediakeep.accounts.models import User
from mediakeep.db import now_plus
from mediakeep.jobs import service, tasks
from mediakeep.jobs.providers import replicate as provider
from mediakeep.tasks.models import Task
from tests.conftest import PASSWORD
from tests.jobs.conftest import (
    FLUX,
    MINIMAX,
    SVD,
    SVD_VERSION,
    data_url,
    detailed_png,
    is_problem,
)


async def test_an_official_model_is_run_by_its_name_and_makes_an_asset(owner, ask, finish, replicate):
    job = await ask(MINIMAX, prompt="a boat", input={"prompt_optimizer": False})
    assert (job["status"], job["progress"], job["output_urls"]) == ("pending", 0, [])
    done = await finish(job)
    assert (done["status"], done["progress"], done["error_message"]) == ("completed", 1.0, None)
    [submitted] = replicate.log("submit")
    assert submitted["path"] == "/v1/models/minimax/video-01/predictions"
    assert submitted["input"] == {"prompt_optimizer": False, "prompt": "a boat"}
    info = (await owner.get(f"/api/v2/assets/{done['asset_id']}/info")).json()
    assert (info["type"], info["name"], info["description"]) == ("video", "a boat", "a boat")
    film = await owner.get(done["video_url"])
    assert film.headers["content-type"] == "video/mp4"
    assert [one["authorized"] for one in replicate.log("output")] == [False]
    assert done["metrics"]["predict_time"] >= 0


async def test_a_community_model_is_run_in_its_latest_version_or_the_one_named(ask, finish, replicate, rows):
    latest = await ask(SVD, input={"input_image": data_url()})
    named = await ask(f"{SVD}:{SVD_VERSION}", input={"input_image": data_url()})
    assert (await finish(latest))["status"] == (await finish(named))["status"] == "completed"
    assert {one["path"] for one in replicate.log("submit")} == {"/v1/predictions"}
    assert [row.version for row in await rows()] == [SVD_VERSION] * 2


async def test_each_output_becomes_an_asset_with_its_lineage(owner, ask, finish, asset, replicate):
    source = await asset()
    job = await ask(prompt="two boats", input={"num_outputs": 2, "seed": 7, "output_format": "png"})
    done = await finish(job)
    assert len(done["asset_ids"]) == len(set(done["asset_ids"])) == len(done["output_urls"]) == 2
    assert (done["asset_id"], done["video_url"]) == (done["asset_ids"][0], done["output_urls"][0])
    infos = [(await owner.get(f"/api/v2/assets/{one}/info")).json() for one in done["asset_ids"]]
    assert [info["name"] for info in infos] == ["two boats 1", "two boats 2"]
    told = infos[1]["metadata"]["generation"]
    assert told == {
        "job_id": job["job_id"],
        "output": 2,
        "provider": "replicate",
        "model_id": FLUX,
        "model": FLUX,
        "version": told["version"],
        "parameters": {
            "model": FLUX,
            "prompt": "two boats",
            "num_outputs": 2,
            "seed": 7,
            "output_format": "png",
        },
        "seed": 7,
        "source_assets": [],
        "cost": None,
        "metrics": done["metrics"],
        "created_at": job["created_at"],
        "submitted_at": told["submitted_at"],
    }
    of_picture = await finish(await ask(MINIMAX, input={"first_frame_image": source["url"]}))
    info = (await owner.get(f"/api/v2/assets/{of_picture['asset_id']}/info")).json()
    assert info["metadata"]["generation"]["source_assets"] == [source["id"]]


@pytest.mark.parametrize("side", [32, 700])  # within a request's data URL, and beyond
async def test_an_asset_of_ours_reaches_the_model_whole(owner, ask, finish, asset, replicate, side):
    content = detailed_png(side)
    private = await asset(content=content, visibility="private")
    done = await finish(await ask(MINIMAX, input={"first_frame_image": private["url"]}))
    assert done["status"] == "completed"
    [seen] = replicate.log("input")
    assert (seen["source"], seen["size"], seen["sha256"]) == (
        "data" if side == 32 else "file",
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
    assert done["input"]["first_frame_image"] == private["url"]


async def test_own_addresses_of_every_kind_are_handed_over(owner, ask, finish, asset, image_asset, replicate):
    one = await asset()
    target = await image_asset()
    made = await finish(await ask(assetId=target, input={"output_format": "png"}))
    persona = (await owner.post("/personas", json={"name": "Ada"})).json()["id"]
    media = await owner.post(
        f"/media/upload/{persona}", files={"file": ("a.png", detailed_png(8), "image/png")}
    )
    addresses = [
        one["url"].replace("localhost", "127.0.0.1"),
        one["url"].replace("http://localhost", "HTTPS://LocalHost"),
        f"{one['url']}?download=1#there",
        one["url"].replace("/api/", "/legacy/api/"),
        f"{one['url'].replace(one['id'], target)}",
        made["output_urls"][0],
        f"{made['output_urls'][0]}.png",
        f"http://localhost:8000/media/download/{media.json()['id']}",
    ]
    jobs = [await ask(MINIMAX, input={"first_frame_image": address}) for address in addresses]
    assert [(await finish(job))["status"] for job in jobs] == ["completed"] * len(addresses)
    assert [one["source"] for one in replicate.log("input")] == ["data"] * len(addresses)


async def test_an_image_asset_gets_a_generation_for_each_output(owner, ask, finish, image_asset, replicate):
    target = await image_asset()
    job = await ask(assetId=target, input={"num_outputs": 2, "output_format": "webp"}, prompt="a face")
    begun = (await owner.get(f"/api/v1/generations/{job['generation_id']}")).json()
    assert (begun["status"], begun["parameters"]["model"]) == ("pending", FLUX)
    done = await finish(job)
    assert (done["status"], done["asset_ids"], done["asset_id"]) == ("completed", [target], target)
    listed = (await owner.get(f"/api/v1/assets/{target}/generations")).json()
    assert {one["status"] for one in listed["generations"]} == {"completed"}
    shown = {one["image_url"].removesuffix(".webp") for one in listed["generations"]}
    assert shown == set(done["output_urls"])
    assert listed["generations"][-1]["id"] == job["generation_id"]
    assert {one["metadata"]["generation"]["output"] for one in listed["generations"]} == {1, 2}
    picture = await owner.get(done["video_url"])
    assert picture.headers["content-type"] == "image/webp"


async def test_a_generation_ends_as_its_job_does(owner, ask, finish, image_asset, replicate):
    replicate.turn(outcome="failed", error="No faces, please.")
    target = await image_asset()
    job = await ask(assetId=target)
    done = await finish(job)
    assert (done["status"], done["error_message"]) == ("failed", "No faces, please.")
    failed = (await owner.get(f"/api/v1/generations/{job['generation_id']}")).json()
    assert failed["status"] == "failed"
    cancelled = await ask(assetId=target)
    await owner.post(f"/api/v2/jobs/{cancelled['job_id']}/cancel")
    shown = (await owner.get(f"/api/v1/generations/{cancelled['generation_id']}")).json()
    assert shown["status"] == "cancelled"


async def test_a_job_whose_target_has_gone_fails_and_leaves_nothing(
    owner, ask, finish, image_asset, keys, replicate
):
    for gone in ("asset", "generation"):
        target = await image_asset()
        job = await ask(assetId=target)
        if gone == "asset":
            assert (await owner.delete(f"/api/v1/assets/{target}?force=true")).status_code == 204
        else:
            assert (await owner.delete(f"/api/v1/generations/{job['generation_id']}")).status_code == 204
        done = await finish(job)
        assert (done["status"], done["error_message"]) == ("failed", "Generation not found")
    assert await keys() == []


async def test_a_film_is_no_generation(ask, finish, image_asset, keys, replicate):
    done = await finish(await ask(MINIMAX, assetId=await image_asset()))
    assert (done["status"], done["error_message"]) == (
        "failed",
        "The model made video/mp4, but an image asset takes PNG, JPEG or WebP.",
    )
    assert await keys() == []


async def test_outputs_go_where_the_job_says(owner, ask, finish, replicate):
    client = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    campaign = (await owner.post("/api/v2/campaigns", json={"name": "Spring"})).json()["id"]
    persona = (await owner.post("/personas", json={"name": "Ada"})).json()["id"]
    project = (await owner.post("/api/v1/projects", json={"name": "Forge"})).json()["id"]
    where = {"clientId": client, "campaignId": campaign, "personaId": persona, "projectId": project}
    done = await finish(await ask(**where, visibility="private"))
    info = (await owner.get(f"/api/v2/assets/{done['asset_id']}/info")).json()
    assert {name: info[name] for name in where} == where
    assert (info["visibility"], done["notes"]) == ("private", [])
    job = await ask(**where)
    assert (await owner.delete(f"/api/v2/clients/{client}")).status_code == 204
    done = await finish(job)
    assert (done["status"], done["notes"]) == ("completed", ["Client was deleted meanwhile."])
    info = (await owner.get(f"/api/v2/assets/{done['asset_id']}/info")).json()
    assert {name: info[name] for name in where} == {**where, "clientId": None}


async def test_an_alias_stands_for_its_model(ask, finish, replicate):
    done = await finish(await ask("house/image"))
    assert (done["model_id"], done["model"], done["status"]) == ("house/image", FLUX, "completed")
    assert replicate.log("submit")[0]["model"] == FLUX


async def test_inputs_that_the_model_does_not_know_are_left_out_and_noted(ask, finish, asset, replicate):
    many = {f"x{number}": number for number in range(30)}
    own = (await asset())["url"]
    job = await ask(prompt="mine", input={"prompt": "theirs", "image": own, **many})
    assert job["input"] == {"prompt": "theirs"}
    assert job["notes"][0] == f"{FLUX} does not know the input 'image'; it was left out."
    assert job["notes"][20:] == ["11 more inputs were left out as well."]
    await finish(job)
    assert replicate.log("submit")[0]["input"] == {"prompt": "theirs"}


async def test_a_model_whose_schema_cannot_be_read_gets_all_inputs(ask, finish, replicate, monkeypatch):
    monkeypatch.setattr(provider, "bounded", lambda *_: {"type": "object"})
    done = await finish(await ask(prompt="", input={"prompt": "a boat", "num_outputs": 1}))
    assert (done["status"], done["notes"]) == ("completed", [])
    assert replicate.log("submit")[0]["input"] == {"prompt": "a boat", "num_outputs": 1}


async def test_a_provider_that_does_not_answer_does_not_hold_the_request_up(ask, finish, replicate):
    replicate.turn(answer="error", answer_to="model", answer_times=1)
    waiting = await ask(input={"whatever": 1})
    assert (waiting["input"], waiting["notes"]) == ({"whatever": 1}, [])
    done = await finish(waiting)
    assert (done["status"], done["input"]) == ("completed", {"prompt": "a boat in the fog"})
    assert done["notes"] == [f"{FLUX} does not know the input 'whatever'; it was left out."]


async def test_what_turns_out_to_be_wrong_later_fails_the_job(ask, finish, replicate):
    replicate.turn(answer="error", answer_to="model", answer_times=2)
    wrong = await ask(input={"num_outputs": 9})
    unknown = await ask("nobody/knows")
    done = [await finish(wrong), await finish(unknown)]
    assert [one["error_message"] for one in done] == [
        "input.num_outputs: 9 is greater than the maximum of 4.",
        "Replicate knows no model nobody/knows.",
    ]
    assert replicate.log("submit") == []


async def test_parameters_of_any_length_do_not_keep_an_output_out(owner, ask, finish, image_asset, replicate):
    prompt = "é" * 20_000
    plain = await finish(await ask(prompt=prompt, input={"prompt": "a boat"}))
    info = (await owner.get(f"/api/v2/assets/{plain['asset_id']}/info")).json()
    assert info["metadata"]["generation"]["parameters"]["model"] == FLUX
    target = await image_asset()
    done = await finish(await ask(prompt=prompt, assetId=target, input={"num_outputs": 2}))
    assert (done["status"], done["prompt"]) == ("completed", prompt)
    shown = (await owner.get(f"/api/v1/generations/{done['generation_id']}")).json()
    assert shown["parameters"] == {"model": FLUX, "prompt": "é" * 1000, "omitted": "for their size"}


async def test_data_urls_are_not_kept_once_a_job_has_ended(ask, finish, rows, replicate):
    picture = data_url(detailed_png(120))
    job = await ask(SVD, input={"input_image": picture})
    assert (await rows())[0].input == {"input_image": picture}
    assert len(job["input"]["input_image"]) < 100
    done = await finish(job)
    assert (done["status"], done["input"]) == ("completed", job["input"])
    assert (await rows())[0].input == job["input"]


async def test_progress_is_told_and_a_generation_is_generating_meanwhile(
    owner, ask, read, work, image_asset, replicate, monkeypatch
):
    given = {"status": "processing", "logs": " 40%|####      | 4/10\r 50%|#####     | 5/10"}

    async def prediction(_self, _path, **_):
        return given

    job = await ask(assetId=await image_asset())
    monkeypatch.setattr(provider.Replicate, "_get", prediction)
    await work()
    now = await read(job)
    assert (now["status"], now["progress"], now["completed_at"]) == ("processing", 0.5, None)
    assert now["started_at"] is not None
    shown = (await owner.get(f"/api/v1/generations/{job['generation_id']}")).json()
    assert shown["status"] == "generating"
    told = [0.5]
    for logs in (" 10%|", "no bar", None, "100%|", "999%|"):
        given["logs"] = logs
        await work()
        told.append((await read(job))["progress"])
    assert told == [0.5, 0.5, 0.5, 0.5, 0.99, 0.99]


async def test_as_many_jobs_as_the_setting_says_may_wait(
    owner, stranger, ask, finish, replicate, change_settings
):
    change_settings(max_active_jobs=2)
    first = await ask()
    await ask()
    refused = await owner.post("/api/v2/generate", json={"model_id": FLUX, "prompt": "a boat"})
    assert is_problem(refused, 429, "At most 2 jobs may wait and run.")
    assert refused.headers["retry-after"] == "10"
    await ask(client=stranger)
    await finish(first)
    await ask()


async def test_a_job_that_takes_too_long_is_given_up_and_cancelled_there(
    ask, read, work, finish, change, replicate
):
    replicate.turn(latency_seconds=600)
    job, never = await ask(), await ask()
    await change(never, created_at=now_plus(-3601 - service.WAITING_SECONDS))
    await change(job, created_at=now_plus(-3601))  # waiting is not what it may not take long for
    await work()
    assert (await read(never))["error_message"] == "It was not done within 3600 s."
    assert (await read(job))["status"] == "processing"
    await change(job, submitted_at=now_plus(-3601))
    assert (await finish(job))["error_message"] == "It was not done within 3600 s."
    assert [one["prediction"] for one in replicate.log("cancel")] == replicate.submissions()


async def test_what_ended_while_the_server_was_off_is_fetched_all_the_same(
    ask, finish, work, change, replicate, monkeypatch
):
    job = await ask()
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "_look", _stop)
        await work()
    await change(job, submitted_at=now_plus(-3601))
    assert (await finish(job))["status"] == "completed"


async def _stop(_step):
    return tasks.Again(600)


async def test_nothing_is_done_for_somebody_who_is_being_deleted(app, ask, work, rows, keys, replicate):
    replicate.turn(latency_seconds=0.3)
    await ask()
    await work()
    async with app.state.library.database.write() as session:
        await session.execute(
            update(User).where(User.email == "owner@example.com").values(gone_at=now_plus())
        )
    await work()
    [job] = await rows()
    assert (job.status, await keys()) == ("failed", [])
    assert len(replicate.log("cancel")) == 1


async def test_jobs_go_with_their_owner(app, owner, ask, work, rows, replicate):
    replicate.turn(latency_seconds=600)
    await ask()
    await work()
    await ask()
    answer = await owner.request("DELETE", "/api/v2/auth/me", json={"password": PASSWORD})
    assert answer.status_code == 204, answer.text
    await work()
    assert len(replicate.log("cancel")) == 1  # it would go on, and want to be paid
    await work()
    assert await rows() == []


async def test_a_fault_of_ours_ends_the_job_without_telling_what_it_was(
    ask, read, work, library, monkeypatch, replicate
):
    job = await ask()

    async def fault(*_):
        raise KeyError("/secret/path")

    monkeypatch.setattr(tasks, "_step", fault)
    for _ in range(10):
        await work()
    assert (await read(job))["status"] == "pending"
    await tasks.end_abandoned(library, None)
    done = await read(job)
    assert done["status"] == "failed"
    assert done["error_message"] == "It was given up after a fault of this server, whose log tells more."


async def test_a_job_of_a_provider_that_is_no_more_ends(ask, read, work, library, change, replicate):
    job = await ask()
    await change(job, provider="gone")
    for _ in range(10):
        await work()
    await tasks.end_abandoned(library, None)
    assert (await read(job))["status"] == "failed"


async def test_jobs_that_somebody_works_on_are_not_abandoned(
    ask, read, work, library, rows, change, replicate
):
    waiting, lost, cancelled = await ask(), await ask(), await ask()
    await change(lost, submitted_at=now_plus(-5))
    async with library.database.write() as session:
        for row, status in zip((await rows())[1:], ("dead", "cancelled"), strict=True):
            await session.execute(update(Task).where(Task.id == row.task_id).values(status=status))
    await tasks.end_abandoned(library, None)
    shown = [await read(one) for one in (waiting, lost, cancelled)]
    assert [one["status"] for one in shown] == ["pending", "failed", "cancelled"]
    assert shown[1]["error_message"] == "submission could not be confirmed"
    assert shown[2]["error_message"] == "An admin cancelled the task that ran it."


async def test_a_job_whose_task_is_cancelled_is_cancelled_at_its_provider(
    ask, read, work, library, rows, replicate
):
    replicate.turn(latency_seconds=600)
    job = await ask()
    await work()
    async with library.database.write() as session:
        await session.execute(
            update(Task).where(Task.id == (await rows())[0].task_id).values(status="cancelled")
        )
    await tasks.end_abandoned(library, None)
    assert (await read(job))["status"] == "cancelled"
    assert [one["prediction"] for one in replicate.log("cancel")] == replicate.submissions()


async def test_jobs_end_whatever_is_deleted_and_cancelled_meanwhile(
    owner, ask, read, work, finish, image_asset, replicate
):
    """Nobody waits for somebody who waits for them: a job's row comes first, then its asset's, then files'."""
    replicate.turn(latency_seconds=0.02)
    targets = [await image_asset() for _ in range(2)]
    jobs = [await ask(assetId=target, input={"num_outputs": 2}) for target in targets * 2]
    plain = [await ask() for _ in range(2)]
    await work()
    answers = await asyncio.gather(
        work(),
        owner.delete(f"/api/v1/assets/{targets[0]}?force=true"),
        *(owner.post(f"/api/v2/jobs/{job['job_id']}/cancel") for job in (*jobs, plain[0])),
        owner.delete(f"/api/v1/generations/{jobs[1]['generation_id']}"),
        work(),
    )
    assert {one.status_code for one in answers[1:-1]} <= {200, 204, 404, 409}
    ended = [(await finish(job))["status"] for job in (*jobs, *plain)]
    assert set(ended) <= {"completed", "failed", "cancelled"}
    assert ended[-1] == "completed"


async def test_nothing_secret_is_logged(ask, finish, rows, session_replicate, replicate, capfd):
    replicate.turn(answer="error", answer_to="look", answer_times=1)
    replicate.once(answer="lost")
    await finish(await ask())
    logged = "".join(capfd.readouterr())
    assert "job.submission_unconfirmed" in logged
    [row] = await rows()
    for secret in (session_replicate.options.token, row.callback_token, "/outputs/"):
        assert secret not in logged
