"""`mediakeep upload` as a process, and with a real server."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.conftest import KEY
from tests.processes import environment
from tests.samples import papers, pictures

#: Becomes the program that its arguments name. A shell has the jobs in its background ignore SIGINT, and whatever they
#: start inherits that: the tests themselves may be such a job.
_LISTENING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.fixture
def start(tmp_path):
    """Starts `mediakeep upload …` in the folder `tmp_path`, as a program of its own."""
    started = []

    def start(*arguments, url, key=KEY, stderr=subprocess.PIPE, **options):
        process = subprocess.Popen(
            [sys.executable, "-c", _LISTENING, sys.executable, "-m", "mediakeep", "upload", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=tmp_path,
            env=environment({"URL": url, "API_KEY": key}) | {"NO_PROXY": "*", "TERM": "xterm"},
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def interrupted():
    """Waits for the first upload, and holds its answer back until it is let go."""
    arrived, go = threading.Event(), threading.Event()

    def meanwhile():
        arrived.set()
        go.wait(30)

    meanwhile.arrived = arrived
    yield meanwhile
    go.set()


def test_control_c_ends_it_in_one_line(start, scripted, interrupted, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"content")
    scripted.meanwhile = interrupted
    process = start("a.png", "b.png", url=scripted.url)
    assert interrupted.arrived.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "Stopped. Uploaded 0 of 2 files (0 bytes).\n")


def test_a_reader_that_goes_away_ends_it_without_a_traceback(start, scripted, interrupted, tmp_path):
    (tmp_path / "a.png").write_bytes(b"content")
    scripted.meanwhile = interrupted.arrived.set
    process = start("a.png", url=scripted.url)
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(30) == 1
    assert "Traceback" not in err


def test_a_terminal_shows_bars_and_keeps_standard_output_clean(start, scripted, interrupted, tmp_path):
    (tmp_path / "a.png").write_bytes(b"content")
    (tmp_path / "b.png").write_bytes(b"content")
    scripted.meanwhile = lambda: threading.Event().wait(0.3)
    screen, terminal = pty.openpty()
    try:
        process = start("a.png", "b.png", "--json", url=scripted.url, stderr=terminal)
        os.close(terminal)
        shown = _read_all(screen)
        lines = process.stdout.read().splitlines()
    finally:
        os.close(screen)
    assert process.wait(30) == 0
    assert {json.loads(line)["name"] for line in lines} == {"a.png", "b.png"}
    assert "a.png" in shown
    assert "━" in shown
    assert shown.rstrip().endswith("Uploaded 2 of 2 files (14 bytes).")


def _read_all(screen):
    read = b""
    with suppress(OSError):  # the end of a terminal, on Linux
        while chunk := os.read(screen, 4096):
            read += chunk
    return read.decode()


def test_memory_stays_flat_however_large_a_file_is(start, scripted, tmp_path):
    small, large = tmp_path / "small.mov", tmp_path / "large.mov"
    small.write_bytes(b"content")
    with large.open("wb") as file:
        file.truncate(128 << 20)
    with _swallower() as url:
        taken = [_peak_bytes(start(path.name, url=url)) for path in (small, large)]
    assert taken[1] < taken[0] + (32 << 20)


def _peak_bytes(process):
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.stderr.read()
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _swallower():
    """A server that takes any upload without keeping it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_swallow, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _swallow(listener):
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                while length := _head(stream):
                    while length > 0:
                        length -= len(stream.read1(min(length, 1 << 20)))
                    connection.sendall(
                        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
                        b'{"url":""}'
                    )


def _head(stream):
    """The length of the next request's body, -1 where it has none; 0 at the end."""
    lines = []
    while (line := stream.readline().strip().lower()) or not lines:
        if not line:
            return 0
        lines.append(line)
    return int(dict(one.partition(b":")[::2] for one in lines).get(b"content-length", -1))


@pytest.fixture(scope="module")
def server(install):
    with install("sqlite-disk") as installation:
        server = installation.serve()
        server.wait_until_ready()
        server.register("you@example.com")
        server.key = installation.run("key", "create", "you@example.com").stdout.strip()
        server.reader_key = installation.run(
            "key", "create", "you@example.com", "--scope", "read"
        ).stdout.strip()
        yield server


@pytest.fixture
def library(server):
    """A client with which to look at what arrived; what is there afterwards is deleted."""
    with server.client(server.key) as client:
        yield client
        for asset in client.get("/api/v2/assets", params={"limit": 100}).json():
            client.delete(f"/api/v2/assets/{asset['id']}")


def test_a_folder_goes_up_to_a_real_server(start, server, library, tmp_path):
    (tmp_path / "in").mkdir()
    contents = {
        "photo.jpg": pictures.jpeg(80, 60),
        'ünï "çödé".png': pictures.png(40, 30),
        "paper.pdf": papers.pdf(2),
        "notes.txt": b"nothing for a media library",
    }
    for name, content in contents.items():
        (tmp_path / "in" / name).write_bytes(content)
    client = library.post("/api/v2/clients", json={"name": "Acme"}).json()
    options = ("--client", client["id"], "--tag", "one, two", "--private")
    process = start("in", *options, "--json", url=server.url, key=server.key)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 1, err
    assert err.splitlines()[0].startswith("in/notes.txt: Invalid file type: text/plain. Allowed: ")
    assert err.splitlines()[1].startswith("Uploaded 3 of 4 files (")
    assets = {asset["name"]: asset for asset in map(json.loads, out.splitlines())}
    assert assets.keys() == contents.keys() - {"notes.txt"}
    for name, asset in assets.items():
        assert (asset["clientId"], asset["tags"], asset["visibility"]) == (
            client["id"],
            ["one, two"],
            "private",
        )
        assert library.get(asset["url"]).content == contents[name]
    assert {asset["id"] for asset in library.get("/api/v2/assets").json()} == {
        one["id"] for one in assets.values()
    }


def test_an_answer_that_is_lost_on_its_way_makes_no_second_asset(start, server, library, tmp_path):
    (tmp_path / "a.png").write_bytes(pictures.png(50, 40))
    with _losing_answers(library, times=2) as (url, statuses):
        process = start("a.png", url=url, key=server.key)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.count("; trying again in ") == 2
    assert statuses == [201, 201, 201]
    assert len(library.get("/api/v2/assets").json()) == 1


@contextmanager
def _losing_answers(server, *, times):
    """A proxy before a server that ends the connection instead of passing on the first answers to uploads."""
    statuses = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._pass_on(server.get(self.path))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept = {name: self.headers[name] for name in ("Content-Type", "Idempotency-Key")}
            answer = server.post(self.path, content=body, headers=kept)
            statuses.append(answer.status_code)
            if len(statuses) > times:
                self._pass_on(answer)

        def _pass_on(self, answer):
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}", statuses
        proxy.shutdown()
        thread.join()


def test_a_key_that_may_only_read_is_told_at_once(start, server, tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(pictures.png(50, 40))
    process = start(".", "-j", "1", url=server.url, key=server.reader_key)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()) == (
        1,
        ["Uploaded 0 of 3 files (0 bytes).", "mediakeep: This API key may not write."],
    )
