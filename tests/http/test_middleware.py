import asyncio

import httpx
import pytest

from mediakeep.errors import NotAuthenticated
from mediakeep.http import middleware
from mediakeep.http.middleware import EarlyAnswer, LimitBody, RequestLog


@pytest.fixture
def body():
    """A body in pieces; `body.sent` says how many were taken."""

    class Body:
        sent = 0

        async def __aiter__(self):
            for _ in range(100):
                self.sent += 1
                yield b"." * 1000

    return Body()


@pytest.fixture
def post():
    """Sends a body to an ASGI application; returns the answer."""

    async def post(app, content):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/", content=content)

    return post


async def refuse(scope, receive, send):
    """Answers before it has read anything."""
    await send({"type": "http.response.start", "status": 400, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


async def count(scope, receive, send):
    """Answers with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def fail(scope, receive, send):
    raise LookupError("the inside: /etc/passwd")


async def test_an_early_answer_reads_the_rest_and_closes(post, body):
    answer = await post(EarlyAnswer(refuse), body)
    assert (answer.status_code, answer.content, answer.headers["connection"]) == (400, b"no", "close")
    assert body.sent == 100


async def test_an_early_answer_reads_no_more_than_its_share(post, body):
    answer = await post(EarlyAnswer(refuse, max_bytes=5000), body)
    assert answer.content == b"no"
    assert body.sent == 5


async def test_an_early_answer_waits_no_longer_than_its_time(post):
    async def stalled():
        yield b"."
        await asyncio.sleep(60)
        yield b"."

    answer = await post(EarlyAnswer(refuse, seconds=0.05), stalled())
    assert answer.content == b"no"


async def test_an_answer_after_the_whole_body_keeps_the_connection(post, body):
    answer = await post(EarlyAnswer(count), body)
    assert answer.content == b"100000"
    assert "connection" not in answer.headers


async def test_a_body_within_its_limit_arrives_whole(post, body):
    assert (await post(LimitBody(count, max_bytes=100_000), body)).content == b"100000"


async def test_a_body_past_its_limit_is_refused_at_that_byte(post, body):
    answer = await post(LimitBody(count, max_bytes=9_999), body)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "The request body is too large. This address takes at most 9999 bytes."
    assert body.sent == 10


async def test_a_body_that_says_it_is_too_long_is_refused_unread(post):
    answer = await post(LimitBody(fail, max_bytes=10), b"." * 11)
    assert answer.status_code == 413


async def test_a_body_that_trickles_in_is_given_up(post):
    async def slow():
        for _ in range(100):
            yield b"."
            await asyncio.sleep(0.05)

    answer = await post(LimitBody(fail, max_bytes=1000, seconds=0.2), slow())
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    assert answer.json()["detail"] == "The request body did not arrive within 0.2 seconds."


async def test_a_route_that_streams_has_limits_of_its_own(post, body):
    assert (await post(LimitBody(count, max_bytes=10, streaming=("/",)), body)).content == b"100000"


@pytest.fixture
def known(monkeypatch):
    """Has everybody be known; gives the addresses of which it was asked."""
    asked = []

    async def authenticate(request):
        asked.append(request.url.path)

    monkeypatch.setattr(middleware, "authenticate", authenticate)
    return asked


async def test_some_addresses_take_larger_bodies_from_known_callers(post, body, known):
    app = LimitBody(count, max_bytes=1000, larger={"/": 100_000})
    assert (await post(app, b"." * 1000)).content == b"1000"
    assert known == []
    assert (await post(app, body)).content == b"100000"
    assert known == ["/"]
    answer = await post(app, b"." * 100_001)
    assert (answer.status_code, known) == (413, ["/"])
    assert answer.json()["detail"].endswith("at most 100000 bytes.")
    assert (await post(LimitBody(fail, max_bytes=1000, larger={"/other": 100_000}), body)).status_code == 413


async def test_a_large_body_of_somebody_unknown_is_refused_unread(post, body, monkeypatch):
    async def authenticate(request):
        raise NotAuthenticated

    monkeypatch.setattr(middleware, "authenticate", authenticate)
    answer = await post(LimitBody(fail, max_bytes=1000, larger={"/": 100_000}), body)
    assert (answer.status_code, answer.headers["www-authenticate"], body.sent) == (401, "Bearer", 0)


async def test_large_bodies_are_held_in_memory_a_few_at_a_time(post, known):
    held = most = 0

    async def hold(scope, receive, send):
        nonlocal held, most
        held += 1
        most = max(most, held)
        await asyncio.sleep(0.01)
        await count(scope, receive, send)
        held -= 1

    app = LimitBody(hold, max_bytes=10, larger={"/": 1000}, large_at_once=2)
    answers = await asyncio.gather(*(post(app, b"." * 100) for _ in range(5)))
    assert [answer.content for answer in answers] == [b"100"] * 5
    assert (len(known), most) == (5, 2)


async def test_a_fault_tells_nothing_of_the_inside(post):
    answer = await post(RequestLog(fail), b"")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "passwd" not in answer.text
    assert answer.headers["x-request-id"]
