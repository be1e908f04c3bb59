"""A server that answers as it is told, for what a real one does only now and then."""

import asyncio
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from multipart import MultipartParser, parse_options_header

from mediakeep.cli import main

KEY = "mk_of_tests"


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    detail: str = ""
    retry_after: str = ""
    #: Whether the upload counts although its answer is not that of a success, or is lost.
    takes: bool = False


#: The upload arrives, and the connection ends before the answer.
LOST = Answer(status=0, takes=True)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What arrived: the file, the form's other fields and the key of the request."""

    name: str
    content: bytes
    fields: dict[str, str]
    idempotency_key: str


@dataclass
class ScriptedServer:
    """Gives the answers in their order, then 201 with one asset for each Idempotency-Key."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    assets: dict[str, dict[str, object]] = field(default_factory=dict)
    greeting: Answer = Answer(status=200)
    #: Called while an upload is under way.
    meanwhile: Callable[[], object] = lambda: None
    #: Ends the server: nothing listens at its address any more.
    leave: Callable[[], object] = lambda: None

    def take(self, upload: Upload) -> tuple[Answer, dict[str, object]]:
        self.uploads.append(upload)
        answer = self.answers.pop(0) if self.answers else Answer(status=201, takes=True)
        asset = {"id": str(len(self.assets)), "name": upload.name, "url": f"{self.url}/{len(self.assets)}"}
        if answer.takes:
            asset = self.assets.setdefault(upload.idempotency_key, asset)
        return answer, asset


def _handler(script: ScriptedServer, lock: threading.Lock) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = self.headers["Authorization"] == f"Bearer {KEY}"
            if self.path != "/api/v2/auth/me":
                return self._answer(Answer(status=404), {})
            return self._answer(
                script.greeting if known else Answer(status=401), {"email": "you@example.com"}
            )

        def do_POST(self) -> None:
            assert self.path == "/api/v2/upload-asset"
            upload = self._read()
            script.meanwhile()
            with lock:
                answer, asset = script.take(upload)
            self._answer(answer, asset)

        def _read(self) -> Upload:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionAbortedError
            _, options = parse_options_header(self.headers["Content-Type"])
            parts = {part.name: part for part in MultipartParser(io.BytesIO(body), options["boundary"])}
            file = parts.pop("file")
            return Upload(
                name=file.filename or "",
                content=file.raw,
                fields={name: part.value for name, part in parts.items()},
                idempotency_key=self.headers["Idempotency-Key"],
            )

        def _answer(self, answer: Answer, document: dict[str, object]) -> None:
            if not answer.status:
                self.close_connection = True
                return
            body = json.dumps(document if answer.status < 300 else {"detail": answer.detail}).encode()
            self.send_response(answer.status)
            if answer.retry_after:
                self.send_header("Retry-After", answer.retry_after)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    script = ScriptedServer()
    server = _Server(("127.0.0.1", 0), _handler(script, threading.Lock()))
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.leave = server.socket.close
    yield script
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is slept between attempts, in seconds, without the time that it takes."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float, result: object = None) -> object:
        if seconds:
            slept.append(seconds)
        return await sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", at_once)
    return slept


@pytest.fixture
def upload(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Runs `mediakeep upload …`; returns its exit code and the lines of standard output and standard error."""
    monkeypatch.setenv("MEDIAKEEP_URL", scripted.url)
    monkeypatch.setenv("MEDIAKEEP_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(sys, "argv", ["mediakeep", "upload", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        output = capsys.readouterr()
        return int(end.value.code or 0), output.out.splitlines(), output.err.splitlines()

    return run
