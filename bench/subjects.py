"""Mediakeep and what it is compared with: how each is started, spoken to, and known to have done all its work."""

import grp
import json
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

from bench.clients import Buffers, Item, Protocol, exchange, multipart, read_http
from bench.processes import SubjectFailed, debian_binary, free_port, own_environment, started

#: What only `plain` needs; beside the environment, since one of its packages hides one of Mediakeep's.
PACKAGES = Path(".cache/bench/packages")

_LOOK_SECONDS = 0.004
_WORK_SECONDS = 300.0

# On SQLite's own clock and in the program's own form, so that neither is a matter of time zones.
_DUE = """
    SELECT count(*) FROM tasks
    WHERE status = 'queued' AND run_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
"""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What answers at `address`. `session` holds all its processes, `folder` all its data."""

    pid: int
    address: tuple[str, int]
    folder: Path

    @property
    def session(self) -> int:
        return self.pid


@dataclass(frozen=True, kw_only=True)
class Running(Subject):
    """A subject that takes items and works on them.

    `wait_until_done` returns once no work is left over, `check` raises unless so many items are there in full.
    """

    protocol: Protocol
    wait_until_done: Callable[[], None]
    check: Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Shelf(Subject):
    """A subject that items are read from by HTTP.

    `stock` puts items there and gives the path of each, once no work is left over; `headers` say who asks.
    """

    headers: Mapping[str, str]
    stock: Callable[[Sequence[Item]], list[str]]


@dataclass(frozen=True, kw_only=True)
class Library(Running, Shelf):
    """A subject that items are given to and read from."""


@contextmanager
def mediakeep(
    folder: Path,
    *,
    launcher: Sequence[str] = ("-m",),
    settings: Mapping[str, str] | None = None,
    cpu: int | None = None,
    prepare: Callable[[Path], None] | None = None,
) -> Iterator[Library]:
    """`mediakeep serve`: one process, no rate limit, everything else as it comes but for `settings`, by their variables.

    `launcher` is what Python is told before the program's name: `-m`, or a profiler's words. `prepare` is given the
    data folder, which holds one account, before the start. `cpu` is the only core that it may use.
    """
    port, data = free_port(), folder / "data"
    environment = {
        "MEDIAKEEP_DATA": str(data),
        "MEDIAKEEP_UPLOADS_PER_MINUTE": "0",
        "MEDIAKEEP_PORT": str(port),
        **(settings or {}),
    }
    key = _prepare_account(folder, environment)
    if prepare:
        prepare(data)
    headers = {"Authorization": f"Bearer {key}"}
    protocol = Protocol(request=multipart("/api/v2/upload-asset", headers), read_answer=_read_http)
    address, database = ("127.0.0.1", port), data / "mediakeep.db"

    def stock(items: Sequence[Item]) -> list[str]:
        answers = exchange(address, *(protocol.request(item) for item in items))
        _wait_for_tasks(database)
        return [f"/api/v2/assets/{json.loads(answer.body)['id']}" for answer in answers]

    command = [sys.executable, *launcher, "mediakeep", "serve"]
    with started(command, environment, folder, port, cpu=cpu) as pid:
        yield Library(
            pid=pid,
            address=address,
            folder=folder,
            protocol=protocol,
            wait_until_done=lambda: _wait_for_tasks(database),
            check=lambda number: _check_mediakeep(data, number),
            headers=headers,
            stock=stock,
        )


@contextmanager
def plain(folder: Path, *, cpu: int | None = None) -> Iterator[Library]:
    """The usual back end, `bench.references.plain`, under uvicorn with one worker."""
    port = free_port()
    address = ("127.0.0.1", port)
    protocol = Protocol(request=multipart("/assets", {}), read_answer=_read_http)

    def stock(items: Sequence[Item]) -> list[str]:
        answers = exchange(address, *(protocol.request(item) for item in items))
        return [f"/assets/{json.loads(answer.body)['id']}/content" for answer in answers]

    command = [sys.executable, "-m", "uvicorn", "bench.references.plain:app", "--port", str(port)]
    environment = {"PLAIN_FOLDER": str(folder), "PYTHONPATH": str(PACKAGES.absolute())}
    with started(command, environment, folder, port, cpu=cpu) as pid:
        yield Library(
            pid=pid,
            address=address,
            folder=folder,
            protocol=protocol,
            wait_until_done=_nothing,
            check=lambda number: _check_plain(folder, number),
            headers={},
            stock=stock,
        )


@contextmanager
def loop(folder: Path) -> Iterator[Running]:
    """The physical limit of ingest, `bench.references.loop`."""
    port, files = free_port(), folder / "files"
    files.mkdir()
    command = [sys.executable, "-m", "bench.references.loop", str(port), str(files)]
    with started(command, {}, folder, port) as pid:
        yield Running(
            pid=pid,
            address=("127.0.0.1", port),
            folder=folder,
            protocol=Protocol(request=_frame, read_answer=_read_byte),
            wait_until_done=_nothing,
            check=lambda number: _expect(len(list(files.iterdir())), number, "files"),
        )


@contextmanager
def nginx(folder: Path, *, cpu: int | None = None) -> Iterator[Shelf]:
    """The limit of delivery: Debian's nginx with one worker, and nothing that would slow it."""
    port, files = free_port(), folder / "files"
    files.mkdir()
    conf = Template((Path(__file__).parent / "references/nginx.conf").read_text())
    (folder / "nginx.conf").write_text(conf.substitute(port=port, user=_nginx_user()))

    def stock(items: Sequence[Item]) -> list[str]:
        for item in items:
            (files / item.name).write_bytes(b"".join(item.parts))
        return [f"/{item.name}" for item in items]

    command = [debian_binary("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with started(command, {}, folder, port, cpu=cpu) as pid:
        yield Shelf(pid=pid, address=("127.0.0.1", port), folder=folder, headers={}, stock=stock)


@contextmanager
def resize(folder: Path, *, way: str, quality: int) -> Iterator[Subject]:
    """A script that makes WebPs with the library named `way` (vips, pillow), as hard as we try, and does nothing else."""
    from mediakeep.media.picture import _WEBP_EFFORT

    port = free_port()
    arguments = [way, str(port), str(quality), str(_WEBP_EFFORT)]
    command = [sys.executable, "-m", "bench.references.resize", *arguments]
    with started(command, {"VIPS_CONCURRENCY": "1"}, folder, port) as pid:
        yield Subject(pid=pid, address=("127.0.0.1", port), folder=folder)


def _nothing() -> None:
    """All work is done when the last answer has come."""


# Mediakeep


def _prepare_account(folder: Path, environment: Mapping[str, str]) -> str:
    """An account in a new database, and the text of an API key for it. Made once, then copied."""
    template = folder.parent / "account"
    data, key = template / "data", template / "key.txt"
    if not key.is_file():
        template.mkdir()
        key.write_text(add_account({**environment, "MEDIAKEEP_DATA": str(data)}))
    shutil.copytree(data, environment["MEDIAKEEP_DATA"])
    return key.read_text()


def add_account(environment: Mapping[str, str]) -> str:
    """Add an account to a library, which is made where there is none; returns the text of an API key for it."""
    password = "correct horse battery\n"
    run_command(environment, "user", "add", "bench@example.com", "--password-stdin", given=password)
    return run_command(environment, "key", "create", "bench@example.com")


def run_command(environment: Mapping[str, str], *words: str, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mediakeep", *words],
        env=own_environment(environment),
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


def _nginx_user() -> str:
    """Who its worker is: whoever runs this, so that it can read the files. Only root may say so."""
    if os.geteuid():
        return ""
    return f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};"
