"""Mediakeep and what it is compared with: how each is started, spoken to, and known to have done all its work."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import tree
from bench.clients import Buffers, Item, Protocol, multipart, read_http

#: What only `plain` needs; beside the environment, since one of its packages hides one of Mediakeep's.
PACKAGES = Path(".cache/bench/packages")

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.004
_WORK_SECONDS = 300.0

# On SQLite's own clock and in the program's own form, so that neither is a matter of time zones.
_DUE = """
    SELECT count(*) FROM tasks
    WHERE status = 'queued' AND run_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
"""


class SubjectFailed(Exception):
    """A subject did not start, or did not do its work."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A subject that answers at `address`. `session` holds all its processes.

    `wait_until_done` returns once no work is left over, `check` raises unless so many items are there in full.
    """

    pid: int
    address: tuple[str, int]
    protocol: Protocol
    wait_until_done: Callable[[], None]
    check: Callable[[int], None]

    @property
    def session(self) -> int:
        return self.pid


#: Starts a subject with its data in an empty folder; ends it with the block.
Start = Callable[[Path], AbstractContextManager[Running]]


@contextmanager
def mediakeep(folder: Path, *, launcher: Sequence[str] = ("-m",)) -> Iterator[Running]:
    """`mediakeep serve`: one process, no rate limit, everything else as it comes.

    `launcher` is what Python is told before the program's name: `-m`, or a profiler's words.
    """
    port, data = _free_port(), folder / "data"
    environment = {
        "MEDIAKEEP_DATA": str(data),
        "MEDIAKEEP_UPLOADS_PER_MINUTE": "0",
        "MEDIAKEEP_PORT": str(port),
    }
    key = _prepare_account(folder, environment)
    command = [sys.executable, *launcher, "mediakeep", "serve"]
    with _started(command, environment, folder, port) as pid:
        database = data / "mediakeep.db"
        yield Running(
            pid=pid,
            address=("127.0.0.1", port),
            protocol=Protocol(
                request=multipart("/api/v2/upload-asset", {"Authorization": f"Bearer {key}"}),
                read_answer=_read_http,
            ),
            wait_until_done=lambda: _wait_for_tasks(database),
            check=lambda number: _check_mediakeep(data, number),
        )


@contextmanager
def plain(folder: Path) -> Iterator[Running]:
    """The usual back end, `bench.references.plain`, under uvicorn with one worker."""
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.references.plain:app", "--port", str(port)]
    environment = {"PLAIN_FOLDER": str(folder), "PYTHONPATH": str(PACKAGES.absolute())}
    with _started(command, environment, folder, port) as pid:
        yield Running(
            pid=pid,
            address=("127.0.0.1", port),
            protocol=Protocol(request=multipart("/assets", {}), read_answer=_read_http),
            wait_until_done=_nothing,
            check=lambda number: _check_plain(folder, number),
        )


@contextmanager
def loop(folder: Path) -> Iterator[Running]:
    """The physical limit, `bench.references.loop`."""
    port, files = _free_port(), folder / "files"
    files.mkdir()
    command = [sys.executable, "-m", "bench.references.loop", str(port), str(files)]
    with _started(command, {}, folder, port) as pid:
        yield Running(
            pid=pid,
            address=("127.0.0.1", port),
            protocol=Protocol(request=_frame, read_answer=_read_byte),
            wait_until_done=_nothing,
            check=lambda number: _expect(len(list(files.iterdir())), number, "files"),
        )


@contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, port: int
) -> Iterator[int]:
    """A process in a session of its own that listens on `port`; gives its id."""
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=_environment(environment),
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


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings that are meant for another library."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIAKEEP_")}
    return kept | dict(given)


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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SubjectFailed(f"{process.args} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SubjectFailed(f"nothing listens on {port}; see {log}")


def _nothing() -> None:
    """All work is done when the last answer has come."""


# Mediakeep


def _prepare_account(folder: Path, environment: Mapping[str, str]) -> str:
    """An account in a new database, and the text of an API key for it. Made once, then copied."""
    template = folder.parent / "account"
    data, key = template / "data", template / "key.txt"
    if not key.is_file():
        template.mkdir()
        settings = {**environment, "MEDIAKEEP_DATA": str(data)}
        _command(
            settings, "user", "add", "bench@example.com", "--password-stdin", given="correct horse battery\n"
        )
        key.write_text(_command(settings, "key", "create", "bench@example.com"))
    shutil.copytree(data, environment["MEDIAKEEP_DATA"])
    return key.read_text()


def _command(environment: Mapping[str, str], *words: str, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mediakeep", *words],
        env=_environment(environment),
        input=given,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SubjectFailed(f"mediakeep {words[0]} {words[1]}: {done.stderr[-2000:]}")
    return done.stdout.strip()


def _wait_for_tasks(database: Path) -> None:
    """Return when nothing in the queue is due: neither waiting nor under way, since a task is queued until it ends."""
    until = time.monotonic() + _WORK_SECONDS
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
        while connection.execute(_DUE).fetchone()[0]:
            if time.monotonic() > until:
                raise SubjectFailed("the task queue does not become empty")
            time.sleep(_LOOK_SECONDS)


def _check_mediakeep(data: Path, number: int) -> None:
    with closing(sqlite3.connect(f"file:{data / 'mediakeep.db'}?mode=ro", uri=True)) as connection:
        assets = connection.execute("SELECT count(*) FROM assets").fetchone()[0]
        keys = [key for (key,) in connection.execute("SELECT key FROM files")]
        failed = connection.execute(
            "SELECT name, last_error FROM tasks WHERE status NOT IN ('queued', 'done') OR last_error IS NOT NULL"
        ).fetchall()
    if failed:
        raise SubjectFailed(f"tasks have failed: {failed[:3]}")
    _expect(assets, number, "assets")
    _expect(sum((data / key).is_file() for key in keys), number, "files")
    pictures = [path for path in data.glob("renditions/**/*.jpg") if path.stat().st_size > 1000]
    _expect(len(pictures), number, "thumbnails")


# The references


def _check_plain(folder: Path, number: int) -> None:
    with closing(sqlite3.connect(f"file:{folder / 'plain.db'}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT stored_as FROM assets")]
    _expect(len(names), number, "assets")
    pictures = [name for name in names if (folder / f"{name}.thumbnail.jpg").stat().st_size > 1000]
    _expect(len(pictures), number, "thumbnails")


def _expect(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise SubjectFailed(f"there are {found} {what} instead of {expected}")


def _frame(item: Item) -> Buffers:
    format_name = {"image/jpeg": b"jpg ", "video/mp4": b"mp4 "}[item.media_type]
    return [item.size.to_bytes(8, "big") + format_name, *item.parts]


def _read_byte(connection: socket.socket) -> None:
    if connection.recv(1) != b"\1":
        raise ConnectionError("the loop closed the connection")


def _read_http(connection: socket.socket) -> None:
    read_http(connection)
