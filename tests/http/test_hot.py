"""Answers that a connection sends by itself: only what is exactly the request that was answered before."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from mediakeep.http.hot import HotAnswers
from mediakeep.http.protocol import BoundedProtocol

BODY = b"a picture" * 100
ETAG = '"abc"'
WHOLE = [(b"content-type", b"image/png"), (b"content-length", b"900"), (b"etag", ETAG.encode())]
GET = b"GET /a.png?width=3 HTTP/1.1\r\nHost: localhost\r\n"


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data):
        self.written += bytes(data)

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self): ...

    def resume_reading(self): ...


def keep(hot, *, target=b"/a.png", query=b"width=3", body=BODY, seconds=60.0, method="GET"):
    scope = {"method": method, "path": target.decode(), "raw_path": target, "query_string": query}
    scope["route"] = SimpleNamespace(path="/{name}")
    hot.keep(scope, WHOLE, WHOLE[2:], body, ETAG, time.monotonic() + seconds)


@pytest.fixture
def hot():
    hot = HotAnswers(1 << 20, common=[("x-content-type-options", "nosniff")], any_origin=True)
    keep(hot)
    return hot


@pytest.fixture
async def connect(hot):
    """Makes a connection; `asked` lists the requests that came through to the application."""
    tasks = []

    def connect():
        asked = []

        async def app(scope, receive, send):
            asked.append(scope)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        config = Config(app, loop="asyncio", lifespan="off", log_config=None)
        state = ServerState()
        protocol = BoundedProtocol(config, state, {"hot": hot})
        transport = Transport()
        protocol.connection_made(transport)
        tasks.append(protocol)
        return SimpleNamespace(
            asked=asked, send=protocol.data_received, transport=transport, protocol=protocol, state=state
        )

    yield connect
    for protocol in tasks:
        protocol.connection_lost(None)


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_request_that_is_ready_never_comes_to_the_application(connect):
    connection = connect()
    connection.send(GET + b"\r\n")
    await settled()
    head, _, body = connection.transport.written.partition(b"\r\n\r\n")
    assert connection.asked == []
    assert body == BODY
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert {line.partition(b":")[0] for line in lines[1:]} == {
        *(b"content-type", b"content-length", b"etag"),
        *(b"x-content-type-options", b"date", b"x-request-id"),
    }
    assert not connection.transport.closed


async def test_requests_that_come_together_are_answered_one_after_the_other(connect):
    connection = connect()
    other = b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connection.send((GET + b"\r\n") * 3 + other + (GET + b"\r\n"))
    await settled()
    answers = connection.transport.written.split(b"HTTP/1.1 ")[1:]
    # Behind one that the application answers, the next is in its line too.
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"200", b"204", b"204"]
    assert len(connection.asked) == 2


async def test_a_request_may_come_in_pieces(connect):
    connection = connect()
    for byte in GET + b"X-Request-ID: mine\r\n\r\n":
        connection.send(bytes([byte]))
    assert connection.transport.written.startswith(b"HTTP/1.1 200 OK")
    assert b"x-request-id: mine\r\n" in connection.transport.written


async def test_who_has_the_bytes_is_not_sent_them_again(connect):
    connection = connect()
    connection.send(GET + b'If-None-Match: "abc"\r\n\r\n')
    assert connection.transport.written.startswith(b"HTTP/1.1 304 Not Modified")
    assert connection.transport.written.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        b"Range: bytes=0-1\r\n",
        b'If-None-Match: "other"\r\n',
        b'If-None-Match: "other", "abc"\r\n',
        b'If-Match: "abc"\r\n',
        b"If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"Content-Length: 0\r\n",
    ],
)
async def test_what_is_not_exactly_that_goes_the_ordinary_way(connect, lines):
    connection = connect()
    connection.send(GET + lines + b"\r\n")
    await settled()
    assert len(connection.asked) == 1


@pytest.mark.parametrize(
    "start",
    [
        b"HEAD /a.png?width=3 HTTP/1.1",
        b"DELETE /a.png?width=3 HTTP/1.1",
        b"GET /a.png?width=3 HTTP/1.0",
        b"GET /a.png?width=4 HTTP/1.1",
        b"GET /a.png HTTP/1.1",
        b"GET http://localhost/a.png?width=3 HTTP/1.1",
    ],
)
async def test_another_request_line_goes_the_ordinary_way(connect, start):
    connection = connect()
    connection.send(start + b"\r\nHost: localhost\r\n\r\n")
    await settled()
    assert len(connection.asked) == 1


async def test_a_page_of_another_origin_goes_the_ordinary_way_where_that_matters(connect, hot):
    hot.any_origin = False
    connection = connect()
    connection.send(GET + b"Origin: http://elsewhere.example\r\n\r\n")
    await settled()
    assert len(connection.asked) == 1


async def test_a_client_that_does_not_read_is_not_sent_more(connect):
    connection = connect()
    connection.protocol.pause_writing()
    connection.send(GET + b"\r\n")
    await settled()
    assert connection.transport.written == b""
    connection.protocol.resume_writing()
    await settled()


async def test_an_idle_connection_is_closed_after_the_last_answer_and_not_after_the_first(connect):
    connection = connect()
    connection.send((GET + b"\r\n") * 2)
    timer = connection.protocol.timeout_keep_alive_task
    connection.send(GET + b"\r\n")
    assert timer.cancelled()
    assert connection.protocol.timeout_keep_alive_task is not timer
    assert connection.protocol._timer is None  # nothing of a next head has come
    connection.send(b"GET /a")
    assert connection.protocol._timer is not None


def test_an_answer_is_good_for_its_time_only(hot):
    keep(hot, target=b"/old.png", seconds=-1)
    assert hot.find(b"/old.png?width=3") is None
    keep(hot, seconds=0.01)
    time.sleep(0.02)
    assert hot.find(b"/a.png?width=3") is None


def test_only_gets_are_kept(hot):
    keep(hot, target=b"/head.png", method="HEAD")
    assert hot.find(b"/head.png?width=3") is None


def test_answers_are_no_more_than_they_may_be():
    hot = HotAnswers(22_000, common=[], any_origin=True)  # ten answers with their heads and addresses
    for number in range(20):
        keep(hot, target=b"/%d.png" % number, body=bytes(100))
    kept = [number for number in range(20) if hot.find(b"/%d.png?width=3" % number)]
    assert kept == list(range(10, 20))
    keep(hot, target=b"/large.png", body=bytes(700))
    keep(hot, target=b"/" + b"l" * 1024)
    assert hot.find(b"/large.png?width=3") is None
    assert hot.find(b"/" + b"l" * 1024 + b"?width=3") is None


def test_what_has_changed_is_forgotten(hot):
    keep(hot, target=b"/b.png")
    hot.clear()
    assert hot.find(b"/a.png?width=3") is None
    for number in range(10):
        keep(hot, target=b"/%d.png" % number, body=bytes(30_000))
    assert all(
        hot.find(b"/%d.png?width=3" % number) for number in range(10)
    )  # what was there no longer counts
