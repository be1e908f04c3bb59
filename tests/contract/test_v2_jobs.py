"""Asking models and reading jobs over HTTP: every answer, every refusal."""

import asyncio
import base64
import json

import pytest
from sqlalchemy import update

from mediakeep.db import now_plus
from mediakeep.jobs.models import Job
from tests.samples import pictures

PATH = "/api/v2/generate"
NOWHERE = "00000000-0000-4000-8000-000000000000"
IMAGE = f"data:image/png;base64,{base64.b64encode(pictures.png(16, 16)).decode()}"
BODY = {"model_id": "local/ken-burns", "prompt": "slowly", "input": {"image": IMAGE, "duration": 1}}


@pytest.fixture
def library_settings(library_settings):
    return library_settings.model_copy(
        update={"model_aliases": {"minimax/video-01": "local/ken-burns", "broken": "nonsense"}}
    )


@pytest.fixture
def end(app):
    """Ends a job as a task does, with these values."""

    async def end(job, **values):
        async with app.state.library.database.write() as session:
            row = update(Job).where(Job.public_id == job["job_id"])
            await session.execute(row.values(finished_at=now_plus(), **values))

    return end


async def generate(client, headers=None, **changes):
    return await client.post(PATH, json={**BODY, **changes}, headers=headers)


def is_problem(answer, status, detail):
    return (answer.status_code, answer.headers["content-type"], answer.json()["detail"]) == (
        status,
        "application/problem+json",
        detail,
    )


async def test_what_is_asked_is_answered_with_the_job(owner):
    answer = await generate(owner)
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (
        202,
        f"http://localhost:8000/api/v2/jobs/{job['job_id']}",
    )
    assert job == {
        "job_id": job["job_id"],
        "status": "pending",
        "progress": 0.0,
        "provider": "local",
        "model_id": "local/ken-burns",
        "model": "local/ken-burns",
        "version": None,
        "prompt": "slowly",
        "input": {"image": f"{IMAGE[:40]}… ({len(IMAGE)} characters)", "duration": 1},
        "notes": ["local/ken-burns does not know the input 'prompt'; it was left out."],
        "video_url": None,
        "asset_id": None,
        "asset_ids": [],
        "output_urls": [],
        "generation_id": None,
        "error_message": None,
        "cost": None,
        "metrics": {},
        "webhook_url": None,
        "created_at": job["created_at"],
        "updated_at": job["created_at"],
        "started_at": None,
        "completed_at": None,
    }
    assert job["created_at"].endswith("Z")
    assert (await owner.get(answer.headers["location"])).json() == job
    assert (await owner.get("/api/v2/jobs")).json() == [job]


async def test_a_job_that_has_ended_shows_what_came_out(owner, end):
    job = (await generate(owner)).json()
    ids = [NOWHERE, NOWHERE.replace("8", "9")]
    await end(
        job,
        status="completed",
        outputs=ids,
        output_types=["image", "video"],
        metrics={"total": 1.5},
        cost=0.2,
    )
    done = (await owner.get(f"/api/v2/jobs/{job['job_id']}")).json()
    urls = [f"http://localhost:8000/api/v2/assets/{one}" for one in ids]
    assert (done["output_urls"], done["asset_ids"]) == (urls, ids)
    assert (done["video_url"], done["asset_id"]) == (urls[1], ids[1])
    assert (done["metrics"], done["cost"]) == ({"total": 1.5}, 0.2)
    assert done["completed_at"].endswith("Z")
    await end(job, status="failed", error_message="No faces, please.", outputs=[])
    failed = (await owner.get(f"/api/v2/jobs/{job['job_id']}")).json()
    assert (failed["status"], failed["error_message"], failed["video_url"]) == (
        "failed",
        "No faces, please.",
        None,
    )


async def test_jobs_are_listed_newest_first_in_pages(admin, owner, stranger, end):
    jobs = [(await generate(owner)).json()["job_id"] for _ in range(3)]
    theirs = (await generate(stranger)).json()["job_id"]
    await end({"job_id": jobs[0]}, status="failed")

    async def listed(client, query=""):
        answer = await client.get(f"/api/v2/jobs{query}")
        assert answer.status_code == 200, answer.text
        return [one["job_id"] for one in answer.json()], answer.headers

    assert (await listed(owner))[0] == jobs[::-1]
    page, headers = await listed(owner, "?limit=1&offset=1")
    assert (page, headers["x-total-count"]) == ([jobs[1]], "3")
    assert 'rel="next"' in headers["link"]
    assert (await listed(owner, "?status=failed"))[0] == [jobs[0]]
    assert (await listed(owner, "?status=pending&limit=100"))[0] == [jobs[2], jobs[1]]
    assert (await listed(admin))[0] == []
    assert (await listed(admin, "?all=true"))[0] == [theirs, *jobs[::-1]]
    assert (await owner.get("/api/v2/jobs?all=true")).status_code == 403
    for query in ("limit=0", "limit=101", "offset=-1", "status=done"):
        assert (await owner.get(f"/api/v2/jobs?{query}")).status_code == 422


async def test_somebody_elses_job_is_as_one_that_is_not_there(owner, stranger, admin):
    job = (await generate(owner)).json()["job_id"]
    for number in (job, NOWHERE, "nonsense", "a%00b"):
        client = stranger if number == job else owner
        assert is_problem(await client.get(f"/api/v2/jobs/{number}"), 404, "Job not found")
        assert is_problem(await client.post(f"/api/v2/jobs/{number}/cancel"), 404, "Job not found")
    assert (await admin.get(f"/api/v2/jobs/{job.upper()}")).status_code == 200


async def test_a_job_is_cancelled(owner):
    job = (await generate(owner)).json()["job_id"]
    answer = await owner.post(f"/api/v2/jobs/{job}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


# Idempotency-Key


async def test_the_same_key_and_request_give_the_same_answer_and_one_job(owner):
    answers = [await generate(owner, {"Idempotency-Key": "k1"}) for _ in range(2)]
    answers += await asyncio.gather(*(generate(owner, {"Idempotency-Key": "k1"}) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {202}
    assert (
        len({answer.text for answer in answers})
        == len({answer.headers["location"] for answer in answers})
        == 1
    )
    assert len((await owner.get("/api/v2/jobs")).json()) == 1


async def test_the_same_key_for_another_request_is_refused(owner, stranger):
    await generate(owner, {"Idempotency-Key": "k1"})
    other = await generate(owner, {"Idempotency-Key": "k1"}, prompt="quickly")
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert (await generate(stranger, {"Idempotency-Key": "k1"}, prompt="quickly")).status_code == 202
    assert (await generate(owner, {"Idempotency-Key": ""})).status_code == 422


async def test_a_request_that_was_refused_may_be_sent_again(owner):
    refused = await generate(owner, {"Idempotency-Key": "k1"}, clientId=NOWHERE)
    assert is_problem(refused, 404, "Client not found")
    assert (await generate(owner, {"Idempotency-Key": "k1"})).status_code == 202


# What is wrong


async def test_a_model_that_is_none_is_refused(owner):
    for model, detail in {
        "nonsense": "model_id is owner/name or owner/name:version, comfyui/… or local/…; "
        "GET /api/v2/models lists what there is.",
        "local/nothing": "There is no local model of this name; there are local/ken-burns, local/slideshow.",
        "owner/name": "Replicate is not set up on this server (MEDIAKEEP_REPLICATE_API_TOKEN); "
        "a local model needs nothing.",
        "owner/name:5": "",
        "../..": "",
        "owner/name/more": "",
        "broken": "",
    }.items():
        answer = await generate(owner, model_id=model)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "model_id")
        assert not detail or answer.json()["detail"] == detail


async def test_inputs_that_do_not_fit_are_named(owner):
    async def errors(model="local/ken-burns", **given):
        answer = await generate(owner, model_id=model, input=given)
        assert answer.status_code == 422, answer.text
        return {one["field"]: one["reason"] for one in answer.json()["errors"]}

    assert await errors() == {"input.image": "it is required."}
    assert await errors(image=5, duration="x", fps=2.5, direction="sideways") == {
        "input.image": "5 is not of type 'string'.",
        "input.duration": "'x' is not of type 'number'.",
        "input.fps": "2.5 is not of type 'integer'.",
        "input.direction": (await errors(image=IMAGE, direction="sideways"))["input.direction"],
    }
    assert list(await errors(image=IMAGE, width=65)) == ["input.width"]
    too_long = await generate(
        owner, input={"image": IMAGE, "duration": 60, "fps": 60, "width": 1920, "height": 1920}
    )
    assert too_long.json()["detail"].startswith("input: The film would have ")
    assert list(await errors("local/slideshow", images=[])) == ["input.images"]
    assert list(await errors("local/slideshow", images=[IMAGE, 5])) == ["input.images.1"]


async def test_what_is_no_request_is_refused(owner):
    for body in (
        {},
        [],
        {"model_id": ""},
        {**BODY, "model_id": "x" * 256},
        {**BODY, "model_id": "local/ken\0burns"},
        {**BODY, "input": []},
        {**BODY, "input": {"image": "a\0b"}},
        {**BODY, "input": {"a\0b": 1}},
        {**BODY, "prompt": "a\0b"},
        {**BODY, "prompt": "x" * 20_001},
        {**BODY, "prompt": 5},
        {**BODY, "visibility": "secret"},
        {**BODY, "clientId": "x" * 101},
        {**BODY, "input": {"image": IMAGE, "x": "y" * (256 << 10)}},
    ):
        answer = await owner.post(PATH, json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json()["errors"]
    assert (await owner.get("/api/v2/jobs")).json() == []


@pytest.mark.parametrize(
    "given",
    [
        '{"image": NaN}',
        '{"image": 1e400}',
        '{"image": "\\ud800"}',
        '{"\\ud800": 1}',
        '{"image": 1%s}' % ("0" * 4200),
        '{"image": 1%s}' % ("0" * 5000),
        '{"a": ' * 40 + "1" + "}" * 40,
        '{"a": ' * 900 + "1" + "}" * 900,
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "{",
    ],
    ids=[
        "NaN",
        "infinity",
        "surrogate",
        "surrogate name",
        "digits",
        "more digits",
        "40",
        "900",
        "100000",
        "open",
    ],
)
async def test_json_that_nobody_means_is_refused(owner, given):
    body = f'{{"model_id": "local/ken-burns", "input": {given}}}'
    for headers in ({}, {"Idempotency-Key": "k"}):
        answer = await owner.post(PATH, content=body, headers={"Content-Type": "application/json", **headers})
        assert answer.status_code in {400, 422}, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    surrogate = '{"model_id": "local/ken-burns", "prompt": "\\udc00", "input": {"image": "data:,"}}'
    answer = await owner.post(PATH, content=surrogate, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_things_of_others_are_not_found(owner, stranger):
    client = (await stranger.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    campaign = (await stranger.post("/api/v2/campaigns", json={"name": "Spring"})).json()["id"]
    persona = (await stranger.post("/personas", json={"name": "Ada"})).json()["id"]
    project = (await stranger.post("/api/v1/projects", json={"name": "Forge"})).json()["id"]
    made = await stranger.post(f"/api/v1/projects/{project}/assets", json={"name": "Portrait"})
    for name, theirs, nobodys, detail in (
        ("clientId", client, NOWHERE, "Client not found"),
        ("campaignId", campaign, NOWHERE, "Campaign not found"),
        ("personaId", persona, 999_999, None),
        ("projectId", project, NOWHERE, "Project not found"),
        ("assetId", made.json()["id"], NOWHERE, "Asset not found"),
    ):
        answers = [await generate(owner, **{name: one}) for one in (theirs, nobodys)]
        assert [answer.status_code for answer in answers] == [404, 404], name
        assert detail is None or {answer.json()["detail"] for answer in answers} == {detail}


async def test_an_input_that_is_not_the_askers_to_see_is_as_one_that_is_not_there(owner, stranger, admin):
    files = {"file": ("a.png", pictures.png(), "image/png")}
    private = await stranger.post("/api/v2/upload-asset", files=files, data={"visibility": "private"})
    persona = (await stranger.post("/personas", json={"name": "Ada"})).json()["id"]
    media = (await stranger.post(f"/media/upload/{persona}", files=files)).json()["id"]
    theirs = [
        private.json()["url"],
        private.json()["url"].replace("localhost", "127.0.0.1"),
        private.json()["url"].replace("http://localhost", "https://somebody@LOCALHOST"),
        private.json()["url"].replace("/api/v2", "/legacy/api/v2"),
        f"http://localhost:8000/api/v1/files/images/{private.json()['id']}",
        f"http://localhost:8000/media/download/{media}",
    ]
    nobodys = [
        f"http://localhost:8000/api/v2/assets/{NOWHERE}",
        f"http://localhost:8000/api/v1/files/images/{NOWHERE}.png",
        "http://localhost:8000/media/download/999999",
        "http://localhost:8000/media/download/999999999999999999",
    ]
    refused = [await generate(client, input={"image": one}) for one in theirs for client in (owner, admin)]
    refused += [await generate(owner, input={"image": one}) for one in nobodys]
    assert {
        (answer.status_code, answer.json()["detail"], json.dumps(answer.json()["errors"]))
        for answer in refused
    } == {(422, "Asset not found", '[{"field": "input.image", "reason": "Asset not found"}]')}
    assert (await generate(stranger, input={"image": theirs[0]})).status_code == 202


async def test_an_address_of_this_server_that_is_no_file_is_refused(owner):
    for way in (
        "/api/v2/assets",
        "/docs",
        f"/api/v2/assets/{NOWHERE}/thumbnail",
        "/api/v2/assets/../auth/me",
    ):
        answer = await generate(owner, input={"image": f"http://localhost:8000{way}"})
        assert is_problem(answer, 422, "This is an address of this server, but not that of an asset's file.")
    told = await generate(
        owner, input={"image": IMAGE, "prompt": "http://localhost:8000/docs is what I mean"}
    )
    assert told.status_code == 202


async def test_no_more_assets_than_a_job_takes(owner):
    public = await owner.post("/api/v2/upload-asset", files={"file": ("a.png", pictures.png(), "image/png")})
    urls = [f"{public.json()['url']}?{number}" for number in range(101)]
    answer = await generate(owner, model_id="local/slideshow", input={"images": urls})
    assert is_problem(answer, 422, "A job has at most 100 assets as inputs.")


async def test_addresses_that_webhooks_may_not_go_to_are_refused(owner):
    for url in ("http://127.0.0.1/hook", "http://[::1]/", "ftp://receiver.example", "nonsense", "x" * 2049):
        answer = await generate(owner, webhook_url=url)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "webhook_url")
    job = (await generate(owner, webhook_url="https://receiver.example/hook")).json()
    assert job["webhook_url"] == "https://receiver.example/hook"


# Models


async def test_models_are_listed_with_their_schemas_and_aliases(owner):
    models = (await owner.get("/api/v2/models")).json()
    assert [(one["model_id"], one["alias_of"]) for one in models] == [
        ("minimax/video-01", "local/ken-burns"),
        ("local/ken-burns", None),
        ("local/slideshow", None),
    ]
    shown = models[1]
    assert shown["input_schema"]["required"] == ["image"]
    assert shown["input_schema"]["properties"]["duration"]["default"] == 5
    assert shown["input_schema"]["properties"]["direction"]["enum"]
    assert (shown["provider"], shown["title"], shown["version"]) == ("local", "Ken Burns", None)
    assert (await owner.get("/api/v2/models/local/ken-burns")).json() == shown
    assert (await owner.get("/api/v2/models/minimax/video-01")).json() == models[0]


async def test_models_that_are_none_are_not_found(owner):
    assert (await owner.get("/api/v2/models/local/nothing")).status_code == 404
    assert (await owner.get("/api/v2/models/owner/name")).status_code == 422
    assert (await owner.get("/api/v2/models/nonsense")).status_code == 422
    assert (await owner.get(f"/api/v2/models/{'x' * 1000}")).status_code == 422
