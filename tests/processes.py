"""Real processes of Mediakeep on one library: started, asked, stopped and killed as an operator would."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
from boto3.session import Session
from botocore.config import Config

from tests.servers.process import free_port
from tests.servers.s3 import S3Server

PASSWORD = "correct horse battery"
SECRET = "for tests only, at least 32 characters"

_STORED = ("files", "renditions")


class Process:
    """`mediakeep …` in a process group of its own, its output in a file."""

    def __init__(self, *arguments: str, folder: Path, settings: Mapping[str, str]) -> None:
        self.log = folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "mediakeep", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment(settings),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def members(self) -> list[int]:
        """Those of its own processes that still run, itself among them."""
        return members(self.pid)

    def wait_for(self, text: str, *, seconds: float = 30) -> None:
        """Return once the output contains `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert self.is_running, f"the process ended:\n{self.output}"
            assert time.monotonic() < deadline, f"the process did not say {text!r}:\n{self.output}"
            time.sleep(0.05)

    def stop(self) -> int:
        """End it as a service manager does; returns its exit code once nothing of it is left."""
        if self.is_running:
            self._popen.send_signal(signal.SIGTERM)
        return self._end()

    def kill(self) -> None:
        """End it as the kernel does when memory runs out: this one process, at once. Its children have to notice."""
        self._popen.kill()
        self._end()

    def _end(self) -> int:
        try:
            code = self._popen.wait(timeout=30)
            deadline = time.monotonic() + 15
            while left := self.members():
                assert time.monotonic() < deadline, f"processes {left} outlived {self.pid}:\n{self.output}"
                time.sleep(0.02)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
            raise
        return code


class Server(Process):
    """`mediakeep serve` on a port of 127.0.0.1: the settings' or a free one."""

    def __init__(self, *, folder: Path, settings: Mapping[str, str]) -> None:
        self.port = int(settings.get("PORT") or free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__("serve", "--port", str(self.port), folder=folder, settings=settings)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while not self._is_ready():
            assert self.is_running, f"the server ended:\n{self.output}"
            assert time.monotonic() < deadline, f"the server did not become ready:\n{self.output}"
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def client(self, token: str = "") -> httpx.Client:
        """A client of this process, logged in where there is a token or an API key."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=30,
            trust_env=False,
            verify=False,
            follow_redirects=False,
        )

    def register(self, email: str) -> str:
        """Make an account; returns its access token."""
        answer = httpx.post(
            f"{self.url}/api/v2/auth/register",
            json={"email": email, "password": PASSWORD},
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["access_token"])


class Installation:
    """One library and the processes that work on it. Knows what lies in it without asking Mediakeep."""

    def __init__(
        self, folder: Path, *, database_url: str = "", storage_url: str = "", s3: S3Server | None = None
    ):
        self.folder = folder
        self.data = folder / "DATA"
        self.settings = {
            "DATA": str(self.data),
            "LOG_FORMAT": "json",
            "REGISTRATION": "open",
            "LOGINS_PER_MINUTE": "0",
            "UPLOADS_PER_MINUTE": "0",
            "EMBEDDED_WORKER": "false",
            "DECODE_PROCESSES": "1",
        }
        self._s3, self._database_url = s3, database_url
        self._prefix = storage_url.rpartition("/")[2]
        if database_url:
            self.settings |= {"DATABASE_URL": database_url, "SECRET_KEY": SECRET}
        if s3:
            options = str(s3.options).replace("'", '"')
            self.settings |= {"STORAGE_URL": storage_url, "STORAGE_OPTIONS": options}
        self._processes: list[Process] = []
        if database_url:
            done = self.run("migrate")
            assert done.returncode == 0, done.stderr

    def serve(self, **settings: str) -> Server:
        """Start a server; it is ready some time later."""
        server = Server(folder=self.folder, settings=self.settings | settings)
        self._processes.append(server)
        return server

    def work(self, **settings: str) -> Process:
        """Start a worker; it runs tasks some time later."""
        worker = Process("worker", folder=self.folder, settings=self.settings | settings)
        self._processes.append(worker)
        return worker

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "mediakeep", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            cwd=self.folder,
            env=environment(self.settings | settings),
        )

    def stop(self) -> None:
        """Stop whatever still runs, all at once."""
        running, self._processes = self._processes, []
        with ThreadPoolExecutor(max(1, len(running))) as threads:
            list(threads.map(Process.stop, running))

    def sweep(self) -> None:
        """Clear away what crashes left: two sweeps, since what the first one finds the second one deletes."""
        for _ in range(2):
            done = self.run("gc", SWEEP_GRACE="0")
            assert done.returncode == 0, done.stderr

    def stored_keys(self) -> set[str]:
        """Everything that lies in the storage."""
        if self._s3:
            return set(_iter_objects(self._s3, self._prefix))
        return {
            path.relative_to(self.data).as_posix()
            for name in _STORED
            for path in (self.data / name).rglob("*")
            if path.is_file()
        }

    def scratch_files(self) -> list[str]:
        return sorted(path.name for path in (self.data / "tmp").rglob("*") if path.is_file())

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Rows of the database."""
        if not self._database_url:
            connection = sqlite3.connect(self.data / "mediakeep.db", timeout=20)
            try:
                return connection.execute(statement).fetchall()
            finally:
                connection.close()
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, _fetch(self._database_url, statement)).result()

    def keys_without_row(self) -> set[str]:
        """What lies in the storage although no file row accounts for it."""
        rows = self.query("SELECT key, public_id FROM files")
        known = {name for row in rows for name in row} | {"library/id"}
        # An original is named by its key, a rendition by a folder that has its file's id.
        return {key for key in self.stored_keys() if not known & {key, *key.split("/")}}


@dataclass(frozen=True, kw_only=True)
class User:
    """An account and its clients, one of each server."""

    email: str
    token: str
    first: httpx.Client
    second: httpx.Client


@dataclass(frozen=True, kw_only=True)
class TwoServers:
    """Two API processes and a worker on one library."""

    installation: Installation
    first: Server
    second: Server
    worker: Process

    @contextmanager
    def user(self, email: str) -> Iterator[User]:
        token = self.first.register(email)
        with self.first.client(token) as first, self.second.client(token) as second:
            yield User(email=email, token=token, first=first, second=second)


def start_two_servers(installation: Installation, **settings: str) -> TwoServers:
    """Start them and wait until they work."""
    servers = [installation.serve(**settings) for _ in range(2)]
    for server in servers:
        server.wait_until_ready()
    worker = installation.work(**settings)  # only now: the servers bring SQLite's schema up to date
    worker.wait_for("worker.started")
    return TwoServers(installation=installation, first=servers[0], second=servers[1], worker=worker)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that has these settings and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEDIAKEEP_")}
    return inherited | {f"MEDIAKEEP_{name}": value for name, value in settings.items()}


def members(group: int) -> list[int]:
    """The processes of a group that still run."""
    if not Path("/proc/self/stat").exists():
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return []
        return [group]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _, group_id = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group_id) == group and state != "Z":
                found.append(int(folder.name))
    return found


async def _fetch(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def _iter_objects(server: S3Server, prefix: str) -> Iterator[str]:
    options = server.options
    client = Session(
        options["access_key_id"], options["secret_access_key"], region_name=options["region"]
    ).client("s3", endpoint_url=server.endpoint, config=Config(s3={"addressing_style": "path"}, proxies={}))
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=server.bucket, Prefix=f"{prefix}/")
    for page in pages:
        for stored in page.get("Contents", []):
            yield stored["Key"].removeprefix(f"{prefix}/")
    client.close()
