"""The README's tour runs as it stands, from its first block to its last, in a fresh folder against a fresh server."""

import io
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def server(install):
    with install("sqlite-disk") as installation:
        server = installation.serve(REGISTRATION="closed", EMBEDDED_WORKER="true")
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def tour(server, tmp_path_factory):
    """The folder in which the tour ran, and what it printed."""
    blocks = re.findall(r"^```sh tour\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    script = "\n".join(blocks)
    assert "http://localhost:8000" in script
    folder = tmp_path_factory.mktemp("tour")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("http://localhost:8000", server.url)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=folder,
        env=os.environ | {"NO_PROXY": "*", "no_proxy": "*"},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return folder, done.stdout


@pytest.fixture
def answer(tour):
    """Reads an answer that the tour kept."""
    return lambda name: json.loads((tour[0] / name).read_text())


def test_the_first_account_is_logged_in(answer):
    assert answer("account.json")["token_type"].lower() == "bearer"


def test_the_picture_is_described_and_given_back_as_it_was(tour, answer):
    folder, _ = tour
    asset = answer("asset.json")
    assert (asset["name"], asset["type"], asset["format"]) == ("My first picture", "image", "png")
    assert asset["tags"] == ["hello", "png"]
    content = (folder / "picture.png").read_bytes()
    assert Image.open(io.BytesIO(content)).size == (asset["width"], asset["height"])
    assert (folder / "copy.png").read_bytes() == (folder / "lent.png").read_bytes() == content
    assert (folder / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_the_sound_has_its_length_and_its_waveform(tour, answer):
    assert (answer("sound.json")["type"], answer("sound.json")["duration"]) == ("audio", 2)
    assert (tour[0] / "waveform.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_private_is_not_there_for_others(tour):
    assert "404\n" in tour[1]


def test_a_film_was_made_of_the_picture(tour, answer):
    job = answer("job.json")
    assert (job["status"], job["error_message"]) == ("completed", None)
    assert (tour[0] / "film.mp4").read_bytes()[4:8] == b"ftyp"


def test_in_the_end_the_picture_is_gone_and_the_others_are_left(server, tour, answer):
    assert f"Asset {answer('asset.json')['id']} deleted successfully" in tour[1]
    with server.client(answer("key.json")["key"]) as client:
        left = [asset["id"] for asset in client.get("/api/v2/assets").json()]
        assert left == [answer("job.json")["asset_id"], answer("sound.json")["id"]]


def test_the_tour_needs_nothing_but_curl_and_python():
    assert not re.search(r"\bjq\b", README.read_text())
