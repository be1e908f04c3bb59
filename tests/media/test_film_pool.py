import asyncio
import json
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import uvloop

from mediakeep.errors import Unavailable, UndecodableMedia
from mediakeep.media import film_pool, local_models
from mediakeep.media.film_pool import FilmPool
from mediakeep.media.fork_server import Context, fork_server
from mediakeep.media.pool import DecodePool
from tests.samples import hostile, pictures

MIB = 1 << 20
SMALL = {"image": "x", "duration": 1, "width": 64, "height": 64, "fps": 8}
# More than any test waits for.
LONG = {"image": "x", "duration": 60, "width": 640, "height": 360, "fps": 60}


@pytest.fixture(scope="module", autouse=True)
def warm():
    """A fork server for all, which otherwise ends with each film."""
    fork_server.enter()
    yield
    fork_server.leave()


@pytest.fixture
def pool():
    return FilmPool(memory_bytes=512 * MIB)


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "film.mp4"


@pytest.fixture
def make(pool, saved, limits, target) -> Callable[..., object]:
    """Makes a film of a photo; the small one where nothing is said."""

    async def render(film=SMALL, data: bytes = pictures.jpeg(), **wishes: object) -> None:
        if isinstance(film, dict):
            film = local_models.parse("local/ken-burns", film)
        await pool.render(film, [Path(saved(data))], **{"target": target, "limits": limits, **wishes})

    return render


@dataclass
class Odd:
    """A film whose rendering is a function of this file."""

    function: Callable[..., None]
    images: tuple[str, ...] = ("x",)
    width: int = 64
    height: int = 64
    frame_count: int = 1

    def rendering(self, pictures):
        return partial(self.function, pictures[0])


# Renderings: what runs in a film's process must be importable there.
def fail_oddly(picture, target, limits, report):
    report(0.5)
    raise RuntimeError("nobody expects this")


def take(picture, target, limits, report):
    np.ones(800 * MIB, np.uint8)


def end(picture, target, limits, report):
    Path(target).write_bytes(b"half")
    os._exit(3)


def sleep(picture, target, limits, report):
    Path(target).write_bytes(b"half")
    report(0.5)
    time.sleep(60)


def talk_nonsense(picture, target, limits, report):
    os.write(report._told.fileno(), Path(picture).read_bytes())
    time.sleep(60)


def look_around(picture, target, limits, report):
    found = {"niceness": os.nice(0), "environment": dict(os.environ)}
    Path(target).write_text(json.dumps(found))


def grow(picture, target, limits, report):
    with Path(target).open("wb") as file:
        file.truncate(1 << 30)


@pytest.fixture(autouse=True)
def others(monkeypatch):
    """Children that are there already: other tests' decode processes."""
    monkeypatch.setattr(f"{__name__}._others", {child.pid for child in multiprocessing.active_children()})


_others: set[int] = set()


def children() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid not in _others]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def started(target: Path) -> int:
    """The film's process, once it writes."""
    async with asyncio.timeout(10):
        while not os.path.exists(target):  # noqa: ASYNC240, ASYNC110, PTH110 nothing else tells
            await asyncio.sleep(0.01)
    return children()[0]


async def test_a_film_is_made(make, target):
    await make()
    with av.open(str(target)) as container:
        assert len(list(container.decode(video=0))) == 8
    assert target.stat().st_mode & 0o777 == 0o600
    assert children() == []


async def test_a_slideshow_is_made(pool, saved, limits, target):
    film = local_models.parse(
        "local/slideshow", {"images": ["x", "y"], "seconds_per_image": 1, "width": 64, "height": 64, "fps": 4}
    )
    path = Path(saved(pictures.jpeg()))
    await pool.render(film, [path, path], target, limits=limits)
    with av.open(str(target)) as container:
        assert len(list(container.decode(video=0))) == 8


async def test_progress_grows_from_nothing_to_one(make):
    told: list[float] = []
    await make(SMALL | {"duration": 5, "fps": 60}, on_progress=told.append)
    assert told == sorted(set(told))
    assert told[0] == 0.01
    assert told[-1] == 1
    assert len(told) == 100


async def test_what_listens_to_progress_may_fail(make, target):
    def fail(share: float) -> None:
        raise RuntimeError("the listener's own")

    with pytest.raises(RuntimeError, match="the listener's own"):
        await make(on_progress=fail)
    assert children() == []
    assert not target.exists()


async def test_a_refusal_arrives_as_itself_and_nothing_is_left(make, target):
    with pytest.raises(UndecodableMedia) as refusal:
        await make(data=hostile.png_bomb())
    assert refusal.value.detail == "The image has 2500000000 pixels (50000 × 50000); the limit is 100000000."
    assert not target.exists()
    await make()


async def test_a_film_that_cannot_be_written_can_be_tried_again(make, tmp_path):
    with pytest.raises(Unavailable) as refusal:
        await make(target=tmp_path / "missing" / "film.mp4")
    assert refusal.value.detail == "The film cannot be written: the disk may be full."
    assert refusal.value.headers["Retry-After"]


async def test_cancelling_ends_the_process_and_removes_the_file(make, target):
    job = asyncio.create_task(make(LONG))
    process = await started(target)
    start = time.monotonic()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert time.monotonic() - start < 3
    assert not is_running(process)
    assert not target.exists()
    await make()


async def test_cancelling_at_any_moment_leaves_nothing(make, target):
    for moment in range(12):
        job = asyncio.create_task(make(LONG))
        await asyncio.sleep(moment * 0.004)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert children() == []
        assert not target.exists()
    await make()


async def test_cancelling_what_is_just_done_leaves_nothing(make, target):
    def cancel(share: float) -> None:
        if share == 1:
            job.cancel()

    job = asyncio.create_task(make(on_progress=cancel))
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not target.exists()


async def test_cancelling_twice_leaves_nothing(make, target):
    job = asyncio.create_task(make(LONG))
    process = await started(target)
    job.cancel()
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await make()  # whose turn it is only when the other has ended
    assert not is_running(process)


async def test_a_film_that_takes_too_long_is_stopped(make, target, monkeypatch):
    monkeypatch.setattr(local_models, "timeout_seconds", lambda _: 0.5)
    with pytest.raises(UndecodableMedia) as refusal:
        await make(Odd(sleep))
    assert refusal.value.detail == "Making the film took longer than 0.5 s."
    assert children() == []
    assert not target.exists()
    monkeypatch.undo()
    await make()


async def test_a_death_costs_one_film(make, target, caplog):
    with pytest.raises(UndecodableMedia) as refusal:
        await make(Odd(end))
    assert refusal.value.detail == "The film could not be made: its process stopped."
    assert "a film's process died" in caplog.text
    assert not target.exists()
    job = asyncio.create_task(make(Odd(sleep)))
    os.kill(await started(target), signal.SIGKILL)
    with pytest.raises(UndecodableMedia):
        await job
    assert not target.exists()
    await make()


async def test_an_unexpected_error_costs_one_film(make, target, caplog):
    with pytest.raises(UndecodableMedia) as refusal:
        await make(Odd(fail_oddly))
    assert refusal.value.detail == "The film could not be made."
    (record,) = (one for one in caplog.records if one.levelname == "ERROR")
    assert "nobody expects this" in record.traceback
    await make()


@pytest.mark.parametrize(
    "nonsense",
    [b"{]\n", b"\xff\n", b"7\n{]\n", b"x" * 200_000, b"[" * 50_000 + b"\n", b'{"progress": "x"}\n{\n'],
    ids=["broken", "binary", "number", "endless", "deep", "odd"],
)
async def test_nonsense_is_the_end(nonsense, make):
    with pytest.raises(UndecodableMedia) as refusal:
        await make(Odd(talk_nonsense), nonsense)
    assert refusal.value.detail == "The film could not be made: its process stopped."


async def test_a_film_that_cannot_be_begun_can_be_tried_again(make, monkeypatch):
    def fail() -> None:
        raise OSError("too many open files")

    monkeypatch.setattr("mediakeep.media.fork_server._ensure_running", fail)
    with pytest.raises(Unavailable, match="cannot be begun"):
        await make()
    monkeypatch.undo()
    await make()


def test_what_has_ended_is_not_started():
    context = Context()
    told, teller = context.Pipe(duplex=False)
    process = context.Process(target=abs)
    child = film_pool._Child(process, teller, Path("/nothing"))
    child.end()
    child.start()
    assert process.pid is None
    told.close()


async def test_progress_that_goes_back_is_not_passed_on(make):
    told: list[float] = []
    shares = b"".join(b'{"progress": %s}\n' % share for share in (b"0.5", b"0.2", b"7.5", b"-1.5", b"0.6"))
    await make(Odd(talk_nonsense), shares + b'{"done": true}\n', on_progress=told.append)
    assert told == [0.5, 0.6, 1]


async def test_too_much_memory_is_refused(make):
    with pytest.raises(UndecodableMedia, match="more memory"):
        await make(Odd(take))


async def test_too_large_a_file_is_not_written(make, target):
    with pytest.raises(UndecodableMedia):
        await make(Odd(grow))
    assert not target.exists()


async def test_a_films_process_comes_last_and_knows_little(make, target, monkeypatch):
    monkeypatch.setenv("MEDIAKEEP_SECRET_KEY", "x" * 40)
    await make(Odd(look_around))
    found = json.loads(target.read_text())
    assert found["niceness"] == 19
    assert "MEDIAKEEP_SECRET_KEY" not in found["environment"]


def test_what_a_films_process_loads_does_not_parse_requests():
    code = "import sys, mediakeep.media.pool; print([name for name in sys.modules if 'pydantic' in name])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


async def test_a_fork_server_that_was_killed_starts_anew_without_secrets(make, target, monkeypatch):
    monkeypatch.setenv("MEDIAKEEP_SECRET_KEY", "x" * 40)
    os.kill(multiprocessing.forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    await make(Odd(look_around))
    assert "MEDIAKEEP_SECRET_KEY" not in json.loads(target.read_text())["environment"]
    assert os.environ["MEDIAKEEP_SECRET_KEY"]


async def test_one_film_is_made_at_a_time(make, tmp_path):
    told: list[str] = []

    def film(name: str):
        return make(SMALL | {"fps": 60}, target=tmp_path / name, on_progress=lambda _: told.append(name))

    await asyncio.gather(film("a"), film("b"))
    assert told == sorted(told)
    assert set(told) == {"a", "b"}


async def test_one_who_waits_may_leave(make, target, tmp_path):
    first = asyncio.create_task(make(SMALL | {"fps": 60}))
    await started(target)
    second = asyncio.create_task(make(SMALL, target=tmp_path / "second"))
    await asyncio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await first
    assert target.exists()


async def test_uploads_do_not_wait_for_films(make, target):
    decoders = DecodePool(processes=1, memory_bytes=512 * MIB)
    decoders.start()
    job = asyncio.create_task(make(LONG))
    try:
        await started(target)
        start = time.monotonic()
        assert await decoders.run(abs, -1, timeout_seconds=10) == 1
        assert time.monotonic() - start < 5
        assert not job.done()
    finally:
        decoders.close()
    assert not job.done()  # closing them does not wait for it either
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job


def test_it_works_under_uvloop(saved, limits, target):
    async def main() -> list[float]:
        told: list[float] = []
        pool = FilmPool(memory_bytes=512 * MIB)
        film = local_models.parse("local/ken-burns", SMALL)
        path = Path(saved(pictures.jpeg()))
        await pool.render(film, [path], target, limits=limits, on_progress=told.append)
        job = asyncio.create_task(
            pool.render(local_models.parse("local/ken-burns", LONG), [path], target, limits=limits)
        )
        await asyncio.sleep(0.3)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        return told

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main())[-1] == 1
    assert not target.exists()
    assert children() == []


# A shell that has the tests run in the background has them, and what they start, ignore SIGINT.
SERVER = """
import asyncio, multiprocessing, signal, sys
from pathlib import Path
from mediakeep.media import local_models
from mediakeep.media.film_pool import FilmPool
from mediakeep.media.limits import limits_from
from mediakeep.settings import Settings

async def main():
    source, target = map(Path, sys.argv[1:])
    film = local_models.parse("local/ken-burns", {"image": "x", "duration": 60, "fps": 60, "width": 640, "height": 360})
    job = asyncio.create_task(FilmPool(memory_bytes=512 << 20).render(film, [source], target, limits=limits_from(Settings())))
    while not target.exists():
        await asyncio.sleep(0.01)
    pids = [child.pid for child in multiprocessing.active_children()]
    print(*pids, multiprocessing.forkserver._forkserver._forkserver_pid, flush=True)
    await job

signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_server_that_ends_leaves_no_process(end, saved, target):
    arguments = [sys.executable, "-c", SERVER, saved(pictures.jpeg()), str(target)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        processes = [int(word) for word in server.stdout.readline().split()]
        server.send_signal(end)
    assert len(processes) == 2  # the film's, and the fork server
    deadline = time.monotonic() + 60  # a film comes last, also at noticing
    while any(is_running(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [process for process in processes if is_running(process)]
    assert target.exists() == (end == signal.SIGKILL)  # the sweep removes it


def test_the_refusals_that_are_known_are_those_a_film_raises():
    assert set(film_pool._REFUSALS) == {"undecodable-media", "unavailable"}
