"""The application with a stand-in for Replicate, and helpers that ask models and let the jobs run."""

import asyncio
import base64
import io
from dataclasses import replace

import httpx
import pytest
from PIL import Image
from sqlalchemy import select, update

from mediakeep import features
from mediakeep.db import now_plus
from mediakeep.emulators.replicate import Options, running
from mediakeep.jobs import tasks
from mediakeep.jobs.models import Job
from mediakeep.jobs.providers import replicate as provider
from mediakeep.media.fork_server import fork_server
from mediakeep.tasks.models import Task
from mediakeep.tasks.worker import drain
from tests.samples import pictures

assert features.task_modules

FLUX = "black-forest-labs/flux-schnell"
MINIMAX = "minimax/video-01"
SVD = "stability-ai/stable-video-diffusion"
SVD_VERSION = "3f0457e4619daac51203dedb472816fd4af51f3149fa7a9e0b5ffcf1b8172438"
KEN_BURNS = "local/ken-burns"
SLIDESHOW = "local/slideshow"

#: Long enough for a machine with other things to do; nothing ever waits for it to pass.
PATIENCE_SECONDS = 30

NOWHERE = "00000000-0000-4000-8000-000000000000"

#: The smallest film there is.
TINY = {"duration": 1, "width": 64, "height": 64, "fps": 2}


def data_url(content: bytes | None = None, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content or pictures.png(16, 16)).decode()}"


def detailed_png(side: int) -> bytes:
    """A picture that does not get smaller by packing it."""
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 90).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def session_replicate():
    with running(Options(startup_seconds=0, latency_seconds=0, speed=1000)) as server:
        yield server


@pytest.fixture
def replicate(session_replicate):
    """A stand-in that nobody has used yet."""
    provider._kept.clear()
    with httpx.Client(base_url=session_replicate.url, trust_env=False, verify=False) as control:
        yield Control(control)
        control.post("/emulator/reset").raise_for_status()


class Control:
    """Turns the switches of the stand-in, and reads its log."""

    def __init__(self, client):
        self._client = client

    def turn(self, **switches):
        """For all requests from now on; switches not named are as at the start."""
        self._client.put("/emulator/options", json=switches).raise_for_status()

    def once(self, **switches):
        """For the next submission."""
        self._client.post("/emulator/next", json=switches).raise_for_status()

    def log(self, kind):
        return self._client.get("/emulator/log", params={"kind": kind}).json()

    def submissions(self):
        """The ids of all predictions that there are."""
        return [one["prediction"] for one in self.log("submit") if "prediction" in one]


@pytest.fixture
def library_settings(library_settings, session_replicate):
    given = {
        "replicate_api_token": session_replicate.options.token,
        "replicate_api_url": session_replicate.api_url,
        "replicate_webhook_secret": session_replicate.options.webhook_secret,
        "model_aliases": {"house/film": KEN_BURNS, "house/image": FLUX, "house/nonsense": "nonsense"},
        "replicate_models": (),
    }
    return type(library_settings)(**{**library_settings.model_dump(), **given})


@pytest.fixture(scope="session")
def films():
    """A fork server for all, which otherwise ends with each film."""
    fork_server.enter()
    yield
    fork_server.leave()


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Nothing is looked at again by itself: `work` does that. Cancelling is seen at once."""
    monkeypatch.setattr(tasks, "_SHORTEST_PAUSE", 600.0)
    monkeypatch.setattr(tasks, "_LONGEST_PAUSE", 600.0)
    monkeypatch.setattr(tasks, "_WATCH_SECONDS", 0.02)


@pytest.fixture
def library(app):
    return app.state.library


@pytest.fixture
def change_settings(app):
    """Changes settings under the running application."""

    def change(**settings):
        library = app.state.library
        changed = library.settings.model_copy(update=settings)
        app.state.library = replace(library, settings=changed)

    return change


@pytest.fixture
def ask(owner):
    """Asks a model, and gives the job as it was answered with."""

    async def ask(model_id=FLUX, *, client=None, prompt="a boat in the fog", headers=None, **body):
        body = {"model_id": model_id, "prompt": prompt, **body}
        answer = await (client or owner).post("/api/v2/generate", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()

    return ask


@pytest.fixture
def read(owner):
    """A job as it stands, by what it was when it was asked for."""

    async def read(job, client=None):
        answer = await (client or owner).get(f"/api/v2/jobs/{job['job_id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    return read


@pytest.fixture
def work(app):
    """Takes all that waits, whatever for, to where it waits again."""

    async def work():
        async with app.state.library.database.write() as session:
            await session.execute(update(Task).values(run_at=now_plus(-1)))
        return await drain(app.state.library)

    return work


@pytest.fixture
def finish(work, read):
    """Has a job end; gives it as it is then."""

    async def finish(job, client=None):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await work()
            while (shown := await read(job, client))["status"] in {"pending", "processing"}:
                await asyncio.sleep(0.02)
                await work()
        return shown

    return finish


@pytest.fixture
def until(read):
    """Waits, while a worker works, until a job has come to a status."""

    async def wait(job, status, client=None):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await read(job, client))["status"] != status:  # noqa: ASYNC110 the database tells nobody
                await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def rows(app):
    """All rows of jobs, oldest first."""

    async def read():
        async with app.state.library.database.read() as session:
            return list(await session.scalars(select(Job).order_by(Job.id)))

    return read


@pytest.fixture
def change(app):
    """Changes a job's row, to bring about what otherwise takes time or a crash."""

    async def change(job, **values):
        async with app.state.library.database.write() as session:
            await session.execute(update(Job).where(Job.public_id == job["job_id"]).values(**values))

    return change


@pytest.fixture
def asset(owner):
    """Uploads a picture; gives the asset."""

    async def upload(*, client=None, content=None, **data):
        files = {"file": ("a.png", content or pictures.png(48, 32), "image/png")}
        answer = await (client or owner).post("/api/v2/upload-asset", files=files, data=data)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload


@pytest.fixture
def image_asset(owner):
    """An image asset of a project, without a generation yet; gives its id."""

    async def make(client=None):
        client = client or owner
        project = (await client.post("/api/v1/projects", json={"name": "Forge"})).json()["id"]
        answer = await client.post(f"/api/v1/projects/{project}/assets", json={"name": "Portrait"})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    return make


@pytest.fixture
def keys(app):
    """The keys of all originals in the store."""

    async def read():
        return sorted([one.key async for one in app.state.library.store.iter_keys("files")])

    return read


def is_problem(answer, status, detail):
    return (answer.status_code, answer.headers["content-type"], answer.json()["detail"]) == (
        status,
        "application/problem+json",
        detail,
    )
