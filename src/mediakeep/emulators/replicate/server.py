"""Running the stand-in on a port: alone in a process, or beside tests in a thread of theirs."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mediakeep.emulators.replicate.app import create_app
from mediakeep.emulators.replicate.hang_up import HANG_UP
from mediakeep.emulators.replicate.options import Options

#: How long requests under way may take to end: silent ones never do.
_GRACE_SECONDS: Final = 1


@dataclass(frozen=True, kw_only=True)
class Running:
    """`api_url` is what stands for https://api.replicate.com/v1."""

    url: str
    options: Options

    @property
    def api_url(self) -> str:
        return f"{self.url}/v1"


class _ClosableProtocol(HttpToolsProtocol):
    """Lets the application close a connection, which ASGI has no word for."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {HANG_UP: {"close": self.transport.close}}


def listen(host: str, port: int) -> socket.socket:
    """A socket for `serve`. Who connects from now on is answered as soon as that runs. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(options: Options, listener: socket.socket) -> None:
    """Serve until the process is told to end."""
    _server(options).run(sockets=[listener])


@contextmanager
def running(options: Options | None = None) -> Iterator[Running]:
    """The stand-in in a thread, on a free port of 127.0.0.1, until the block ends."""
    options = options or Options()
    with listen("127.0.0.1", 0) as listener:
        server = _server(options)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="replicate")
        thread.start()
        try:
            yield Running(url=address_of(listener), options=options)
        finally:
            # Until it has started, it does not notice that it should end.
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            server.should_exit = True
            thread.join()


def _server(options: Options) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            create_app(options),
            http=_ClosableProtocol,
            ws="none",
            lifespan="on",
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
