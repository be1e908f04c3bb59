"""Streams of real server processes: what one does another tells, and none keeps its server from stopping."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.streams import PATH, Parser

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.fixture(scope="module", params=["sqlite-disk", "postgres-s3"])
def installation(request, install):
    with install(request.param) as installation:
        yield installation


def start(installation, **settings):
    server = installation.serve(**settings)
    server.wait_until_ready()
    return server


class Stream:
    """A stream of a server's that has begun."""

    def __init__(self, stack, server, token, **headers):
        self._client = stack.enter_context(server.client(token))
        self._answer = stack.enter_context(self._client.stream("GET", PATH, headers=headers))
        assert self._answer.status_code == 200
        self.last_id = ""
        self._blocks = self._read()
        next(self._blocks)

    def _read(self):
        parser = Parser()
        for chunk in self._answer.iter_raw():
            for block in parser.feed(chunk):
                self.last_id = block.fields.get("id", self.last_id)
                yield block

    def event(self):
        return next(block for block in self._blocks if block.is_event)

    def end(self):
        """Read to the end of the answer, which is whole: half of one is an error."""
        return list(self._blocks)


def make(server, token, name):
    with server.client(token) as client:
        assert client.post("/api/v2/clients", json={"name": name}).status_code == 201


def test_what_one_server_does_another_tells_and_goes_on_telling(installation):
    first, second = start(installation), start(installation)
    token = first.register("first@example.com")
    with ExitStack() as stack:
        streams = [Stream(stack, server, token) for server in (first, second)]
        for number, server in enumerate((first, second, first)):
            make(server, token, str(number))
            assert [one.event().told["data"]["name"] for one in streams] == [str(number)] * 2
        last_id = streams[0].last_id
    make(first, token, "missed")
    second.kill()
    second = start(installation)
    with ExitStack() as stack:
        for server in (first, second):
            stream = Stream(stack, server, token, **{"Last-Event-ID": last_id})
            assert stream.event().told["data"]["name"] == "missed"


def test_the_reader_of_the_documentation_reads(installation):
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {"__name__": "example"}
    exec(compile(code, str(PAGE), "exec"), names)
    server = start(installation)
    token = server.register("third@example.com")
    with ExitStack() as stack:
        last_id = Stream(stack, server, token).last_id
    for name in ("a", "Ünï"):
        make(server, token, name)
    told = names["follow"](server.url, token, types="asset.*,client.*", last_id=last_id)
    first = next(told)
    assert (first["type"], first["data"]["name"]) == ("client.created", "a")
    assert next(told)["data"]["name"] == "Ünï"
    told.close()
    assert next(names["follow"](server.url, token, last_id=first["id"]))["data"]["name"] == "Ünï"
    with pytest.raises(httpx.HTTPStatusError):
        next(names["follow"](server.url, "wrong"))


def test_a_server_stops_at_once_however_many_listen(installation):
    server = start(installation, WORKERS="2")
    token = server.register("second@example.com")
    with ExitStack() as stack:
        streams = [Stream(stack, server, token) for _ in range(12)]  # some in each of its processes
        with ThreadPoolExecutor(13) as threads:
            stopping = threads.submit(server.stop)
            assert all(not any(block.is_event for block in one) for one in threads.map(Stream.end, streams))
            stopping.result()
    assert "exceeded" not in server.output
