import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import uvloop

from mediakeep.errors import TooLarge, Unavailable, UndecodableMedia
from mediakeep.media.pool import DecodePool, Priority, decode_process_count
from mediakeep.media.probe import probe
from mediakeep.settings import Settings
from tests.samples import pictures

MIB = 1 << 20


@pytest.fixture
def pool():
    running = DecodePool(processes=1, memory_bytes=512 * MIB, max_waiting_renditions=2)
    running.start()
    yield running
    running.close()


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="reads /proc, which only Linux has"
)


# Jobs: what runs in a decode process must be importable there.
def refuse():
    raise TooLarge("Too large, says the decoder.")


def fail_oddly():
    class Local(Exception):  # cannot be pickled
        pass

    raise Local("nobody expects this")


def take(size: int):
    return len(np.ones(size, np.uint8))


def look_around():
    try:
        folder = str(Path.cwd())
    except FileNotFoundError:
        folder = ""
    return dict(os.environ), folder


def write_file(path: str):
    Path(path).write_bytes(b"x")


def number(value: int):
    return value


async def next_job_succeeds(pool: DecodePool) -> bool:
    return await pool.run(number, 5, timeout_seconds=10) == 5


async def test_a_job_answers(pool):
    assert await pool.run(number, 7, timeout_seconds=10) == 7


async def test_a_probe_runs_in_a_decode_process(pool, saved, limits):
    facts = await pool.run(probe, saved(pictures.jpeg()), "jpg", limits, timeout_seconds=10)
    assert facts == probe(saved(pictures.jpeg()), "jpg", limits)


async def test_a_refusal_arrives_as_itself(pool):
    with pytest.raises(TooLarge, match="says the decoder"):
        await pool.run(refuse, timeout_seconds=10)


async def test_a_job_that_takes_too_long_is_stopped(pool):
    start = time.monotonic()
    with pytest.raises(UndecodableMedia) as refusal:
        await pool.run(time.sleep, 30, timeout_seconds=0.3)
    assert time.monotonic() - start < 3
    assert refusal.value.detail == "Decoding took longer than 0.3 s."
    assert await next_job_succeeds(pool)


@pytest.mark.parametrize("end", [os.abort, os._exit])
async def test_a_crash_costs_one_job(end, pool):
    with pytest.raises(UndecodableMedia) as refusal:
        await pool.run(end, *([3] if end is os._exit else []), timeout_seconds=10)
    assert refusal.value.detail == "The file could not be decoded: the decoder stopped."
    assert await next_job_succeeds(pool)


async def test_too_much_memory_costs_one_job(pool):
    assert await pool.run(take, 100 * MIB, timeout_seconds=10) == 100 * MIB
    with pytest.raises(UndecodableMedia, match="more memory"):
        await pool.run(take, 800 * MIB, timeout_seconds=10)
    assert await next_job_succeeds(pool)


async def test_an_unexpected_error_costs_one_job(pool, caplog):
    with pytest.raises(UndecodableMedia) as refusal:
        await pool.run(fail_oddly, timeout_seconds=10)
    assert refusal.value.detail == "The file could not be decoded."
    assert "nobody expects this" in caplog.text
    assert await next_job_succeeds(pool)


async def test_processes_killed_while_idle_are_replaced(pool):
    os.kill(await pool.run(os.getpid, timeout_seconds=10), signal.SIGKILL)
    await asyncio.sleep(0.3)
    assert await next_job_succeeds(pool)


async def test_uploads_go_before_renditions_before_models(pool):
    order = []

    async def job(priority: Priority):
        await pool.run(number, 1, timeout_seconds=10, priority=priority)
        order.append(priority)

    first = asyncio.create_task(pool.run(time.sleep, 0.3, timeout_seconds=10))
    await asyncio.sleep(0)
    rest = [
        asyncio.create_task(job(priority))
        for priority in (Priority.MODEL, Priority.RENDITION, Priority.UPLOAD)
    ]
    await asyncio.gather(first, *rest)
    assert order == [Priority.UPLOAD, Priority.RENDITION, Priority.MODEL]


async def test_too_many_waiting_renditions_are_turned_away(pool):
    first = asyncio.create_task(pool.run(time.sleep, 0.3, timeout_seconds=10))
    await asyncio.sleep(0)
    waiting = [
        asyncio.create_task(pool.run(number, 1, timeout_seconds=10, priority=Priority.RENDITION))
        for _ in range(2)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refusal:
        await pool.run(number, 1, timeout_seconds=10, priority=Priority.RENDITION)
    assert refusal.value.headers["Retry-After"]
    assert await pool.run(number, 2, timeout_seconds=10) == 2  # an upload still waits its turn
    await asyncio.gather(first, *waiting)


async def test_cancelling_the_caller_stops_the_job(pool):
    job = asyncio.create_task(pool.run(time.sleep, 60, timeout_seconds=60))
    await asyncio.sleep(0.3)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    start = time.monotonic()
    assert await next_job_succeeds(pool)
    assert time.monotonic() - start < 5


async def test_cancelling_one_who_waits_takes_nobodys_turn(pool):
    first = asyncio.create_task(pool.run(time.sleep, 0.3, timeout_seconds=10))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.run(number, 1, timeout_seconds=10))
    behind = asyncio.create_task(pool.run(number, 2, timeout_seconds=10))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await behind == 2
    await first
    assert await next_job_succeeds(pool)


async def test_a_decode_process_knows_no_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIAKEEP_SECRET_KEY", "x" * 40)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    pool = DecodePool(processes=1, memory_bytes=512 * MIB)
    pool.start()
    try:
        environment, folder = await pool.run(look_around, timeout_seconds=10)
        assert os.environ["AWS_SECRET_ACCESS_KEY"] == "y"
        # Python and libraries put some in of their own accord; those of the server are gone.
        assert not [
            name for name in environment if name.startswith(("MEDIAKEEP_", "AWS_", "PYTEST_", "HOME"))
        ]
        assert environment["VIPS_BLOCK_UNTRUSTED"] == "1"
        assert folder == ""
        with pytest.raises(UndecodableMedia):
            await pool.run(write_file, str(tmp_path / "left"), timeout_seconds=10)
    finally:
        pool.close()


def test_a_decode_process_loads_no_settings():
    code = "import sys, mediakeep.media.pool; print([name for name in sys.modules if 'settings' in name])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


async def test_closing_answers_those_who_wait():
    pool = DecodePool(processes=1, memory_bytes=512 * MIB)
    pool.start()
    jobs = [asyncio.create_task(pool.run(time.sleep, 60, timeout_seconds=60)) for _ in range(2)]
    await asyncio.sleep(0.2)
    pool.close()
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    with pytest.raises(Unavailable):
        await pool.run(number, 1, timeout_seconds=1)


@needs_proc
def test_closing_leaves_no_process():
    """In a process of its own: other tests' decode processes keep the fork server of this one."""
    ended = subprocess.run([sys.executable, "-c", CLOSING], capture_output=True, text=True, check=True)
    process, fork_server = map(int, ended.stdout.split())
    assert not is_running(process)
    assert not is_running(fork_server)


CLOSING = """
import asyncio, os, time
from mediakeep.media.pool import DecodePool

async def main():
    pool = DecodePool(processes=2, memory_bytes=512 << 20)
    pool.start()
    pids = [await pool.run(ask, timeout_seconds=10) for ask in (os.getpid, os.getppid)]
    pool.close()
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        raise SystemExit(f"{pid} is left")
    print(*pids)

asyncio.run(main())
"""


async def test_one_pools_close_leaves_the_others_processes():
    first, second = (DecodePool(processes=1, memory_bytes=512 * MIB) for _ in range(2))
    first.start()
    second.start()
    first.close()
    try:
        assert await next_job_succeeds(second)
    finally:
        second.close()


def test_it_works_under_uvloop():
    async def main() -> bool:
        pool = DecodePool(processes=1, memory_bytes=512 * MIB)
        pool.start()
        try:
            return await next_job_succeeds(pool)
        finally:
            pool.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main())


SERVER = """
import asyncio, os, time
from mediakeep.media.pool import DecodePool
async def main():
    pool = DecodePool(processes=2, memory_bytes=512 << 20)
    pool.start()
    pids = {await pool.run(os.getppid, timeout_seconds=9), await pool.run(os.getpid, timeout_seconds=9)}
    pids |= {process.pid for process in __import__("multiprocessing").active_children()}
    busy = asyncio.create_task(pool.run(time.sleep, 300, timeout_seconds=300))
    await asyncio.sleep(0.2)
    print(*pids, flush=True)
    await busy
asyncio.run(main())
"""


@needs_proc
def test_a_server_killed_outright_leaves_no_process():
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        children = [int(word) for word in server.stdout.readline().split()]
        server.kill()
    assert len(children) == 3  # the fork server, one idle, one busy
    deadline = time.monotonic() + 10
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [child for child in children if is_running(child)]


def test_the_cores_are_shared_out():
    assert decode_process_count(Settings(decode_processes=3)) == 3
    assert decode_process_count(Settings(workers=64)) == 1


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
