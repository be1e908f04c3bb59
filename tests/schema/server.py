"""A server in a thread of the test's process, where password hashing is as cheap as the tests make it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from mediakeep.app import create_app
from mediakeep.settings import Settings
from tests.servers.process import free_port


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The address of a server without limits on logins and uploads, where anybody may register."""
    given = {"embedded_worker": False, "logins_per_minute": 0, "registration": "open", "decode_processes": 1}
    config = uvicorn.Config(
        create_app(settings.model_copy(update=given)),
        port=free_port(),
        http="httptools",
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        ws="none",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{config.port}"
    finally:
        server.should_exit = True
        thread.join()
