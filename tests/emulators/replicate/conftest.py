"""The stand-in on a real port, as at the start for each test, and a receiver of its webhooks."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import httpx
import pytest
from PIL import Image

from mediakeep.emulators.replicate import Options, Running, running

#: Long enough for a machine with other things to do; nothing ever waits for it to pass.
PATIENCE_SECONDS = 20

#: Reading the certificates of the world takes longer than most tests.
PLAIN: dict[str, Any] = {"trust_env": False, "verify": False, "timeout": PATIENCE_SECONDS}

_T = TypeVar("_T")

ENDED = {"succeeded", "failed", "canceled", "aborted"}


@pytest.fixture(scope="session")
def replicate() -> Iterator[Running]:
    with running(Options(startup_seconds=0, latency_seconds=0, speed=1000)) as server:
        yield server


@pytest.fixture
def anybody(replicate: Running) -> Iterator[httpx.Client]:
    """A client without the token, at the server's root."""
    with httpx.Client(base_url=replicate.url, **PLAIN) as client:
        yield client


@pytest.fixture
def api(replicate: Running, anybody: httpx.Client) -> Iterator[httpx.Client]:
    """A client with the token, of a stand-in that nobody has used yet."""
    anybody.post("/emulator/reset").raise_for_status()
    headers = {"Authorization": f"Bearer {replicate.options.token}"}
    with httpx.Client(base_url=replicate.api_url, headers=headers, **PLAIN) as client:
        yield client


@pytest.fixture
def turn(api: httpx.Client, anybody: httpx.Client) -> Callable[..., None]:
    """Turns switches."""

    def turn(**switches: object) -> None:
        anybody.put("/emulator/options", json=switches).raise_for_status()

    return turn


@pytest.fixture
def log(anybody: httpx.Client) -> Callable[[str], list[dict[str, Any]]]:
    """The log's entries of one kind."""
    return lambda kind: anybody.get("/emulator/log", params={"kind": kind}).json()


@pytest.fixture
def submit(api: httpx.Client) -> Callable[..., httpx.Response]:
    """Submits a video, or what `input` and `model` say; further names go into the body."""

    def submit(
        *,
        model: str = "minimax/video-01",
        input: dict[str, Any] | None = None,  # noqa: A002  the API's name
        headers: dict[str, str] | None = None,
        **body: object,
    ) -> httpx.Response:
        document = {"input": {"prompt": "a boat"} if input is None else input, **body}
        return api.post(f"/models/{model}/predictions", json=document, headers=headers)

    return submit


@pytest.fixture
def finish(api: httpx.Client) -> Callable[[httpx.Response], dict[str, Any]]:
    """Waits for the end of what was submitted; returns the prediction."""

    def finish(submitted: httpx.Response) -> dict[str, Any]:
        assert submitted.status_code in {201, 202}, submitted.text
        path = f"/predictions/{submitted.json()['id']}"
        return wait_for(lambda: _ended(api.get(path).json()))

    return finish


def _ended(prediction: dict[str, Any]) -> dict[str, Any] | None:
    return prediction if prediction["status"] in ENDED else None


def wait_for(look: Callable[[], _T | None]) -> _T:
    """What `look` sees once it sees something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)
    return seen


@dataclass(frozen=True, kw_only=True)
class Delivery:
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers webhooks with the statuses in their order, then with 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    #: What a GET is answered with.
    page: bytes = b""
    page_status: int = 200

    def wait(self, count: int) -> list[Delivery]:
        """The deliveries, once there are so many."""
        return wait_for(lambda: self.deliveries if len(self.deliveries) >= count else None)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver))
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            receiver.deliveries.append(Delivery(headers=headers, body=body))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", receiver.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(receiver.page_status)
            self.send_header("Content-Length", str(len(receiver.page)))
            self.end_headers()
            self.wfile.write(receiver.page)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="session")
def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 18), "teal").save(buffer, "PNG")
    return buffer.getvalue()
