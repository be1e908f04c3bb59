"""Starting a program in a session of its own, and ending it with all that it has started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from bench import tree

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class SubjectFailed(Exception):
    """A subject did not start, or did not do its work."""


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, port: int, *, cpu: int | None = None
) -> Iterator[int]:
    """A process in a session of its own that listens on `port`; gives its id.

    It and all that it starts run on `cpu` alone, unless that is None.
    """
    log = folder / "log.txt"
    with log.open("wb") as output, pinned(cpu):
        process = subprocess.Popen(
            command,
            env=own_environment(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        _wait_for_port(process, port, log)
        yield process.pid
    except Exception as error:
        error.add_note(f"The end of its log:\n{log.read_text(errors='replace')[-3000:]}")
        raise
    finally:
        _end(process)


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """What this thread starts within the block runs on `cpu` alone, and so do its descendants; None is any."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def server_and_client_cpu() -> tuple[int, int]:
    """Two different cores: one for the subject, one for who asks it."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise SubjectFailed("this needs two cores, one for the server and one for its clients")
    return cpus[0], cpus[-1]


def own_environment(given: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings that are meant for another library."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIAKEEP_")}
    return kept | dict(given)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@cache
def debian_binary(name: str) -> str:
    """The path of a program of Debian's: the machine's own, or unpacked below .cache."""
    script = Path(__file__).parents[1] / "tools" / "debian-package"
    done = subprocess.run([script, name], text=True, capture_output=True, check=False)
    if done.returncode:
        raise SubjectFailed(done.stderr.strip())
    return done.stdout.strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    # A KeyboardInterrupt lets a profiler around the program write down what it has found.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in tree.processes(process.pid):
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(left.pid, signal.SIGKILL)
            os.waitpid(left.pid, 0)


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SubjectFailed(f"{process.args!r} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SubjectFailed(f"nothing listens on {port}; see {log}")
