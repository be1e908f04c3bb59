"""Memory stays flat, however much is uploaded at once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.samples import films

MIB = 1 << 20
LARGEST = 50 * MIB

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads /proc, which only Linux has"
)


@pytest.fixture(scope="module")
def two_servers(two_servers_alone):
    """Servers that have worked for others have grown already."""
    return two_servers_alone


@pytest.fixture
def growth(two_servers):
    """Forgets how much memory the first server process has had; returns what then tells how much it grew, bytes."""
    folder = Path(f"/proc/{two_servers.first.pid}")

    def figure(name):
        (line,) = [
            line for line in (folder / "status").read_text().splitlines() if line.startswith(f"{name}:")
        ]
        return int(line.split()[1]) * 1024

    def begin():
        (folder / "clear_refs").write_text("5")  # proc(5): resets VmHWM, the most there was
        before = figure("VmRSS")
        return lambda: figure("VmHWM") - before

    return begin


@pytest.fixture
def upload(user):
    """Uploads a file of exactly 50 MB, a film and random bytes, which is never in memory as a whole."""
    film = films.video("mp4", seconds=1.0)
    # A box that players pass over (ISO/IEC 14496-12 §8.1.2), so that the file is a whole one.
    rest = LARGEST - len(film)
    box = rest.to_bytes(4, "big") + b"free"
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="film.mp4"\r\n\r\n'
    end = b"\r\n--b--\r\n"
    length = len(head) + LARGEST + len(end)
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(length)}

    def body() -> Iterator[bytes]:
        yield head + film + box
        left = rest - len(box)
        while left:
            size = min(left, 256 << 10)
            yield os.urandom(size)
            left -= size
        yield end

    def upload(_number=0):
        return user.first.post("/api/v2/upload-asset", content=body(), headers=headers, timeout=100)

    return upload


def test_eight_large_uploads_at_once_take_less_than_a_hundred_megabytes(upload, growth):
    grown = growth()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(upload, range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8, answers[0].text
    assert {answer.json()["size"] for answer in answers} == {LARGEST}
    assert grown() < 100 * MIB


def test_large_downloads_take_less_than_fifty_megabytes(upload, user, growth):
    asset = upload().json()
    grown = growth()

    def download(_):
        with user.first.stream("GET", asset["url"]) as answer:
            return sum(len(chunk) for chunk in answer.iter_raw())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(download, range(4))) == [LARGEST] * 4
    assert grown() < 50 * MIB
