"""The program that turns an image into a film runs as it is printed; only the address and the token are filled in."""

import io
import json
import re
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import pytest
from PIL import Image

from mediakeep.emulators.replicate import Options, running
from tests.samples import pictures


@pytest.fixture(scope="module")
def replicate():
    with running(Options(startup_seconds=0.1, latency_seconds=0.5)) as replicate:
        yield replicate


@pytest.fixture(scope="module")
def connected_server(install, replicate):
    """A server whose Replicate is the emulator."""
    settings = {"REPLICATE_API_URL": replicate.api_url, "REPLICATE_API_TOKEN": replicate.options.token}
    yield from _serve(install, **settings)


@pytest.fixture(scope="module")
def lonely_server(install):
    """A server that knows no other, on which a local model stands for Replicate's."""
    yield from _serve(install, MODEL_ALIASES=json.dumps({"minimax/video-01": "local/ken-burns"}))


def _serve(install, **settings):
    with install("sqlite-disk") as installation:
        server = installation.serve(EMBEDDED_WORKER="true", **settings)
        server.wait_until_ready()
        yield server


@dataclass(frozen=True, kw_only=True)
class Film:
    codec: str
    pixel_format: str
    size: tuple[int, int]
    seconds: Fraction
    frames: int


@pytest.fixture
def generate(printed, python, tmp_path):
    """Runs the printed program against a server; returns the film's bytes and its job, once all of it is as it says."""

    def generate(server, *, below="", model_id="minimax/video-01"):
        token = server.register(f"{uuid.uuid4().hex}@example.com")
        (tmp_path / "source_image.jpg").write_bytes(pictures.jpeg(320, 240))
        code = printed("001", "Image-to-Video Workflow")
        for name, value in {
            "http://localhost:8000": server.url + below,
            "your_jwt_token": token,
            "minimax/video-01": model_id,
        }.items():
            assert code.count(name) == 1
            code = code.replace(name, value)
        uploaded, started, ready = python(code).splitlines()
        assert re.fullmatch(rf"Image uploaded: {server.url}/api/v2/assets/[0-9a-f-]{{36}}", uploaded)
        with server.client(token) as http, server.client() as nobody:
            job = http.get(f"/api/v2/jobs/{started.removeprefix('Video generation started: job ')}").json()
            assert ready == f"Video ready: {job['video_url']}"
            _check_listed(http, nobody, job)
            film = nobody.get(job["video_url"])
        assert (film.status_code, film.headers["content-type"]) == (200, "video/mp4")
        return film.content, job

    return generate


def _check_listed(http, nobody, job):
    """The film is an asset like those that were uploaded, with a thumbnail."""
    video, _image = http.get("/api/v2/assets").json()
    assert (video["id"], video["type"], video["url"]) == (job["asset_id"], "video", job["video_url"])
    thumbnail = Image.open(io.BytesIO(nobody.get(video["thumbnailUrl"]).content))
    assert thumbnail.format == "JPEG"
    assert thumbnail.width / thumbnail.height == pytest.approx(video["width"] / video["height"], rel=0.02)


def decode(content: bytes) -> Film:
    """What a film says of itself, and how many frames can really be seen."""
    with av.open(io.BytesIO(content), format="mp4") as container:
        (stream,) = container.streams
        frames = [(frame.width, frame.height, frame.format.name) for frame in container.decode(stream)]
        (shown,) = set(frames)
        return Film(
            codec=stream.codec_context.name,
            pixel_format=shown[2],
            size=shown[:2],
            seconds=stream.duration * stream.time_base,
            frames=len(frames),
        )


def iter_boxes(content: bytes) -> Iterator[str]:
    """The names of an MP4's outermost boxes, in their order (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at < len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        assert size >= 8  # a film of a few seconds has none of 64 bits
        yield name.decode()
        at += size


@pytest.mark.parametrize("below", ["", "/legacy"])
def test_replicate_makes_a_film_of_an_image(connected_server, generate, below):
    film, job = generate(connected_server, below=below)
    assert decode(film) == Film(
        codec="h264", pixel_format="yuv420p", size=(320, 180), seconds=Fraction(2), frames=20
    )
    assert (job["provider"], job["model"]) == ("replicate", "minimax/video-01")


@pytest.mark.parametrize(
    ("model_id", "below"),
    [("local/ken-burns", ""), ("minimax/video-01", ""), ("minimax/video-01", "/legacy")],
    ids=["by name", "by alias", "by alias, legacy"],
)
def test_a_local_model_makes_a_film_of_an_image(lonely_server, generate, model_id, below):
    film, job = generate(lonely_server, below=below, model_id=model_id)
    assert decode(film) == Film(
        codec="h264", pixel_format="yuv420p", size=(1280, 720), seconds=Fraction(5), frames=120
    )
    boxes = list(iter_boxes(film))
    assert boxes.index("moov") < boxes.index("mdat")  # so that browsers play it while it comes
    assert (job["provider"], job["model"], job["model_id"]) == ("local", "local/ken-burns", model_id)
