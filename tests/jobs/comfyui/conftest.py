"""The ComfyUI provider, and a stand-in that speaks ComfyUI's API."""

import asyncio
import base64
import hashlib
import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from mediakeep.files.receive import receiving
from mediakeep.jobs.providers import comfyui
from mediakeep.jobs.providers.base import (
    Order,
    RefusedByProvider,
    SourceFile,
)
from mediakeep.jobs.providers.comfyui import ComfyUI, progress
from mediakeep.settings import Settings
from tests.servers.comfyui import running_comfyui

DOCS = Path(__file__).parents[3] / "docs" / "comfyui.md"

JOB = "0b0e3c1e-0f2b-4b6e-9d2e-0f5a4c3b2a19"
OTHER = "6f1c8a52-7f0e-4b8e-9d55-0c4e1f6a2b3d"
ASSET = "http://localhost:8000/api/v2/assets/7d444840-9dc0-11d1-b245-5ffdce74fad2"

URL = "http://127.0.0.1:8188"

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

#: Long enough for a machine with other things to do; nothing ever waits for it to pass.
PATIENCE_SECONDS = 20


def unheard(_):
    """What nobody asks about."""


@pytest.fixture
async def comfy():
    async with running_comfyui() as running:
        yield running


@pytest.fixture
def sketch():
    """The template that the documentation prints."""
    return json.loads(re.search(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)[1])


@pytest.fixture
def folder(tmp_path, sketch):
    folder = tmp_path / "comfyui"
    folder.mkdir()
    (folder / "sketch.json").write_text(json.dumps(sketch))
    return folder


@pytest.fixture
def provide(tmp_path, folder):
    def provide(**given):
        return ComfyUI(SimpleNamespace(settings=Settings(data=tmp_path, **given)))

    return provide


@pytest.fixture
def provider(provide, comfy):
    return provide(comfyui_url=comfy.url)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(comfyui, "SECOND_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(comfyui, "HISTORY_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(progress, "LISTEN_SECONDS", 0.05)


@pytest.fixture
def patient(monkeypatch):
    """Looks last until the job has ended."""
    monkeypatch.setattr(progress, "LISTEN_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def order(tmp_path):
    """Makes an order; `ASSET` is an asset of the library's."""
    path = tmp_path / "content"
    path.write_bytes(PNG)

    @asynccontextmanager
    async def open_source(address):
        assert address == ASSET
        sha256 = hashlib.sha256(PNG).hexdigest()
        yield SourceFile(path=path, name="boat.png", media_type="image/png", size=len(PNG), sha256=sha256)

    def make(job_id=JOB, model_id="comfyui/sketch", **given):
        return Order(
            job_id=job_id,
            model_id=model_id,
            input={"prompt": "a ship", "image": ASSET} | given,
            sources=frozenset({ASSET}),
            open_source=open_source,
            webhook_url=None,
        )

    return make


@pytest.fixture
def fetch(provider, tmp_path):
    """Fetches an output; at most so many bytes are taken."""

    async def fetch(output, most=1 << 20):
        def check_size(size):
            if size > most:
                raise RefusedByProvider("too large")

        async with receiving(tmp_path, on_size=check_size, on_head=unheard) as receiver:
            await provider.fetch(output, receiver)
            return (await receiver.finish()).path.read_bytes()

    return fetch


@pytest.fixture
def look(provider, order):
    async def look(reference=JOB, report=unheard):
        return await asyncio.wait_for(provider.look(reference, order(), report=report), PATIENCE_SECONDS)

    return look


@pytest.fixture
def begun(comfy, sketch):
    """The job's prompt is running."""
    comfy.put(JOB, sketch["workflow"], {"client_id": JOB})
    comfy.begin(JOB)
    return comfy


@pytest.fixture
async def listener(begun, look, patient):
    """A look that certainly listens, and the shares that it was told since."""
    told = asyncio.Queue()
    looking = asyncio.create_task(look(report=told.put_nowait))
    await asyncio.wait_for(begun.is_heard.wait(), PATIENCE_SECONDS)
    await begun.tell(JOB, "execution_cached", nodes=["1"], prompt_id=JOB)
    assert await asyncio.wait_for(told.get(), PATIENCE_SECONDS) == 1 / 8
    yield SimpleNamespace(looking=looking, told=told)
    looking.cancel()
    await asyncio.wait({looking})
